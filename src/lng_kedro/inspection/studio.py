"""A Label Studio server for this project alone: on loopback, without telemetry."""

import ctypes
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

HOST = "127.0.0.1"
START_S = 600
"""Seconds until a server that does not answer is given up; the first start makes the database."""

IMPORTED_AT_ONCE = 500
TITLE = "Inspection"
"""How titles of this project's projects begin."""

_KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "SYSTEMROOT")
_PR_SET_PDEATHSIG = 1
_NOWHERE = "http://127.0.0.1:9"
"""A proxy that is none: whatever Label Studio would fetch from elsewhere fails at once."""


class StudioError(Exception):
    """Label Studio is not installed, does not start or refuses something; the message says what to do."""


@dataclass(frozen=True)
class Login:
    """The one user of the server.

    Attributes:
        user: e-mail address.
        password: to log in with in a browser.
        token: of the API.
    """

    user: str
    password: str
    token: str


@dataclass(frozen=True)
class StudioFolder:
    """Where a server keeps what people did, and finds photos.

    Attributes:
        root: the folder; nobody else may read it.
    """

    root: Path

    @property
    def originals(self) -> Path:
        """Links to photos, each named by its SHA-256."""
        return self.root / "originals"

    @property
    def taxonomies(self) -> Path:
        """What people could choose from in each project, by the digest in its title."""
        return self.root / "taxonomies"

    @property
    def served(self) -> Path:
        """All that the server can give away: one folder of photos in this one."""
        return self.root / "served"

    @property
    def photos(self) -> Path:
        """Photos as browsers show them, below `served`."""
        return self.served / "photos"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.root / "server.log"

    def login(self) -> Login:
        """The user, made up at first."""
        file = self.root / "login.json"
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not file.is_file():
            made = {
                "user": "reviewer@localhost.local",
                "password": secrets.token_urlsafe(12),
                "token": secrets.token_hex(20),
            }
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
                json.dump(made, opened)
        return Login(**json.loads(file.read_text()))


@dataclass(frozen=True)
class Studio:
    """A running server.

    Attributes:
        url: where it is.
        login: its user.
        process: its own.
    """

    url: str
    login: Login
    process: "subprocess.Popen[bytes]"

    def ask(self, method: str, path: str, content: Any = None) -> Any:
        """What the API answers.

        Raises:
            StudioError: it refuses, or nothing answers.
        """
        body = None if content is None else json.dumps(content).encode()
        headers = {"Authorization": f"Token {self.login.token}", "Content-Type": "application/json"}
        request = Request(self.url + path, body, headers, method=method)  # noqa: S310  our own URL
        try:
            # No proxy stands between this process and its own server.
            with build_opener(ProxyHandler({})).open(request, timeout=START_S) as answer:
                text = answer.read()
        except HTTPError as error:
            raise StudioError(
                f"Label Studio: {method} {path}: {error.code} {error.read()[:500]!r}"
            ) from error
        except (URLError, OSError) as error:
            raise StudioError(f"Label Studio does not answer at {self.url}: {error}") from error
        return json.loads(text) if text else None

    def projects(self) -> list[dict[str, Any]]:
        """This project's projects there, the oldest first."""
        found = self.ask("GET", "/api/projects/?page_size=10000")["results"]
        return sorted((p for p in found if p["title"].startswith(TITLE)), key=lambda p: int(p["id"]))

    def project(self, title: str, config: str, photos: Path) -> int:
        """Id of the project of that title, made where there is none yet.

        Args:
            title: of the project.
            config: labelling configuration.
            photos: the folder below the document root that it may show.
        """
        for known in self.projects():
            if known["title"] == title:
                return int(known["id"])
        settings = {
            "title": title,
            "label_config": config,
            "sampling": "Sequential sampling",
            "show_collab_predictions": True,
        }
        made = int(self.ask("POST", "/api/projects/", settings)["id"])
        storage = {"project": made, "path": str(photos.resolve()), "title": "photos", "use_blob_urls": True}
        self.ask("POST", "/api/storages/localfiles/", storage)
        return made

    def replace_untouched(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
        """Gives a project these tasks, in their order, but for photos that somebody has worked on already.

        Tasks that nobody has touched are removed; what anybody did stays.

        Returns:
            How many tasks are open, and how many photos have been worked on.
        """
        there = self.exported(project)
        touched = {t["data"].get("sha256") for t in there if _is_touched(t)}
        untouched = [t for t in there if not _is_touched(t)]
        wanted = [t for t in tasks if t["data"]["sha256"] not in touched]
        # What their data say makes tasks others: photo, report's time.
        if [t["data"] for t in sorted(untouched, key=lambda t: int(t["id"]))] != [t["data"] for t in wanted]:
            for start in range(0, len(wanted), IMPORTED_AT_ONCE):
                self.ask("POST", f"/api/projects/{project}/import", wanted[start : start + IMPORTED_AT_ONCE])
            # Afterwards: SQLite gives the number of the last row again once that is gone, and what an old
            # window then submits would be of another photo.
            if untouched:
                chosen = {"selectedItems": {"all": False, "included": [t["id"] for t in untouched]}}
                self.ask("POST", f"/api/dm/actions?id=delete_tasks&project={project}", chosen)
        return len(wanted), len(touched)

    def exported(self, project: int) -> list[dict[str, Any]]:
        """All tasks of a project, with all annotations and drafts."""
        path = f"/api/projects/{project}/export?exportType=JSON&download_all_tasks=true"
        tasks: list[dict[str, Any]] = self.ask("GET", path)
        return tasks


def _is_touched(task: Mapping[str, Any]) -> bool:
    return bool(task["annotations"] or task["drafts"])


@contextmanager
def running(folder: StudioFolder, command: Path, port: int | None = None) -> Iterator[Studio]:
    """Runs a server until the block ends.

    Args:
        folder: where it keeps everything.
        command: ``label-studio`` in its virtual environment.
        port: on loopback; None for any that is free.

    Raises:
        StudioError: it is not installed, the port is taken, or it does not start.
    """
    if not command.is_file():
        install = f"make {command.parents[1]}/.installed"
        raise StudioError(f"Label Studio is not installed at {command}: `{install}`")
    chosen = _port(port)
    login = folder.login()
    folder.photos.mkdir(parents=True, exist_ok=True)
    arguments = ["start", "--no-browser", "--internal-host", HOST, "--port", str(chosen)]
    with folder.log.open("wb") as said:
        process = subprocess.Popen(  # noqa: S603  the command is the project's own
            [str(command.absolute()), *arguments, "--enable-legacy-api-token"],
            env=_environment(folder, login),
            cwd=folder.root,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            preexec_fn=_end_with_this_process if sys.platform == "linux" else None,
        )
    studio = Studio(f"http://{HOST}:{chosen}", login, process)
    try:
        _wait(studio, folder.log)
        yield studio
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end_with_this_process() -> None:
    """Called in the server's process: the kernel ends it where ours is killed and cannot."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _environment(folder: StudioFolder, login: Login) -> dict[str, str]:
    """All that the server is told; nothing that this process inherited changes what it does."""
    root = folder.root.resolve()
    own = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(root / "server"),
        "HOME": str(root),
        "LABEL_STUDIO_USERNAME": login.user,
        "LABEL_STUDIO_PASSWORD": login.password,
        "LABEL_STUDIO_USER_TOKEN": login.token,
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(folder.served.resolve()),
        "ALLOWED_HOSTS": f"{HOST},localhost",
        "CORS_ALLOW_ALL_ORIGINS": "false",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "NO_PROXY": f"{HOST},localhost",
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), _NOWHERE),
    }
    return {name: os.environ[name] for name in _KEPT if name in os.environ} | own


def _port(wanted: int | None) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted or 0))
        except OSError as error:
            said = f"Port {wanted} is taken: stop what uses it, or name another with --port"
            raise StudioError(said) from error
        return int(probe.getsockname()[1])


def _wait(studio: Studio, log: Path) -> None:
    """Returns once the server knows its user."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if studio.process.poll() is not None:
            break
        try:
            studio.ask("GET", "/api/current-user/whoami")
        except StudioError:
            time.sleep(0.5)
        else:
            return
    end = log.read_text(errors="replace")[-2000:]
    raise StudioError(f"Label Studio did not start; {log} ends with:\n{end}")

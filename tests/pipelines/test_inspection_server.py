"""The command of the quality engineer where a server holds the model."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from lng_kedro.geometry import Frame
from lng_kedro.inspection.journal import Reports
from lng_kedro.inspection.record import PhotoReport
from lng_kedro.vlm.adapter import DIALOGUE
from lng_kedro.vlm.dialogue import Dialogue
from tests.inspection.serve import Served
from tests.inspection.stand_in import completion, stand_in
from tests.project import ROOT, copy_project, kedro, prepare_store
from tests.raw import scene, write

MODEL = str(ROOT / "models/tiny_qwen2_5_vl")
NAMES = [f"{letter}.jpg" for letter in "abcdefgh"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, taxonomy) -> Iterator[Path]:
    target = copy_project(tmp_path_factory.mktemp("inspection") / "project")
    (target / "models").symlink_to(ROOT / "models")
    prepare_store(target / "build/test")
    write(target / "new", {name: scene(number) for number, name in enumerate(NAMES)})
    (target / "asked").mkdir()
    dialogue = Dialogue(taxonomy=taxonomy, frame=Frame(128, 128), reasoning=False)
    (target / "asked" / DIALOGUE).write_text(dialogue.model_dump_json())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(target)
        yield target


def command(url: str, reports: str, *more: str) -> list[str]:
    """Asks about the photos of the project; the folder `asked` says how, and holds no adapter."""
    engine = [f"kind=server,inspection.engine.url={url}", f"model={MODEL}", "schema_as=none", *more]
    params = [
        "photos=new",
        "adapter=asked",
        f"reports={reports}",
        *(f"inspection.engine.{e}" for e in engine),
    ]
    return ["run", "--env", "test", "--pipelines", "inspection", "--params", ",".join(params)]


def run(project: Path, *arguments: str) -> tuple[int, str]:
    result = kedro(project, *arguments)
    assert "Traceback" not in result.output, result.output
    return result.exit_code, result.output


def lines(project: Path, reports: str) -> list[PhotoReport]:
    """Each line of the journal."""
    return list(map(PhotoReport.model_validate_json, (project / reports / "reports.jsonl").open("rb")))


def after(project: Path, reports: str, count: int, what) -> Thread:
    """Does something when the journal has so many lines."""

    def wait() -> None:
        journal = project / reports / "reports.jsonl"
        while not journal.is_file() or journal.read_bytes().count(b"\n") < count:
            time.sleep(0.01)
        what()

    thread = Thread(target=wait, daemon=True)
    thread.start()
    return thread


class TestAServerThatDies:
    @pytest.fixture(scope="class")
    def server(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
        served = Served(tmp_path_factory.mktemp("server"))
        served.start()
        yield served
        served.kill()

    @pytest.fixture(scope="class")
    def own(self, project: Path) -> dict[str, str]:
        """What the model says in this process."""
        params = "photos=new,adapter=null,reports=own,inspection.constrained=false"
        code, said = run(project, "run", "--env", "test", "--pipelines", "inspection", "--params", params)
        assert code == 0, said
        return {report.photo: report.text for report in Reports(project / "own/reports.jsonl")}

    def test_and_comes_back_is_waited_for(self, project: Path, server: Served, own: dict[str, str]) -> None:
        def restart() -> None:
            server.kill()
            server.start()

        restarting = after(project, "back", 2, restart)
        code, said = run(project, *command(server.url, "back", "retries=20", "parallel=2"))
        restarting.join()
        assert code == 0, said
        found = lines(project, "back")
        assert [report.photo for report in found] == NAMES
        assert {report.photo: report.text for report in found} == own
        assert {report.made_by.engine for report in found} == {server.url}

    def test_and_does_not_is_told_and_the_same_command_goes_on(
        self, project: Path, server: Served, own: dict[str, str]
    ) -> None:
        killing = after(project, "gone", 2, server.kill)
        code, said = run(project, *command(server.url, "gone", "retries=0", "parallel=2"))
        killing.join()
        assert code == 1
        assert f"Error: Nothing answers at {server.url} after 1 tries" in said
        assert "The same command goes on from here." in said
        kept = lines(project, "gone")
        assert 2 <= len(kept) < len(NAMES)
        server.start()
        code, said = run(project, *command(server.url, "gone", "retries=0", "parallel=2"))
        assert code == 0, said
        assert f"New in this command: {len(NAMES) - len(kept)}." in said
        found = lines(project, "gone")
        assert [report.photo for report in found] == NAMES
        assert {report.photo: report.text for report in found} == own
        assert [report for report in found if report in kept] == kept


def test_ctrl_c_does_not_wait_for_an_answer(project: Path) -> None:
    asked, release = Event(), Event()

    def reply(body: dict) -> dict:
        if body["max_tokens"] > 1:  # no check, a photo
            asked.set()
            release.wait(300)
        return completion("[]")

    kedro_command = [sys.executable, "-m", "kedro", *command("URL", "stopped", "timeout_s=600")]
    with stand_in(reply, models=[MODEL]) as server:
        arguments = [part.replace("URL", server.url) for part in kedro_command]
        process = subprocess.Popen(
            arguments,
            cwd=project,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # Where the tests are a shell's background job they ignore it, and so would the command.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert asked.wait(180)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=100)[0].decode()
        assert not release.is_set()
        release.set()
    assert process.returncode == 1
    assert "Interrupted after 0 of 8 photos. The same command goes on from there." in " ".join(said.split())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["api_key_variable=NO_KEY"], "the environment holds no NO_KEY"),
        (["url=10.0.0.7"], "'10.0.0.7' is no URL such as http://127.0.0.1:8000/v1"),
    ],
)
def test_what_cannot_work_is_refused_at_once(project: Path, more: list[str], message: str) -> None:
    code, said = run(project, *command("http://127.0.0.1:1/v1", "refused", *more))
    assert code == 1
    assert message in said


def test_nothing_says_how_a_bare_model_is_asked(project: Path) -> None:
    arguments = [
        part.replace("adapter=asked", "adapter=null") for part in command("http://127.0.0.1:1", "bare")
    ]
    code, said = run(project, *arguments)
    assert code == 1
    assert "Nothing says how the server's model is asked: --params adapter=PATH" in said


def test_what_is_no_adapter_is_not_loaded_in_process(project: Path) -> None:
    params = "photos=new,adapter=asked,reports=refused"
    code, said = run(project, "run", "--env", "test", "--pipelines", "inspection", "--params", params)
    assert code == 1
    assert "asked holds no adapter" in said

"""`transformers serve` on this machine, which can be killed and started again."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest


class Served:
    """A server in another process; it loads the folder that a request names as its model."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._log = folder / "serve.log"
        self._home = folder / "home"
        self._process = None

    def start(self, wait: float = 120) -> None:
        """Returns when it takes requests."""
        command = [
            *(str(Path(sys.executable).parent / "transformers"), "serve"),
            *("--host", "127.0.0.1", "--port", str(self.port)),
            # As in process: the tiny model's entry says 32bit, and its weights are stored in 16.
            *("--device", "cpu", "--dtype", "float32"),
        ]
        offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(self._home), "OMP_NUM_THREADS": "1"}
        with self._log.open("a") as log:
            self._process = subprocess.Popen(command, env=os.environ | offline, stdout=log, stderr=log)
        end = time.monotonic() + wait
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"transformers serve did not start:\n{self.log()}")
            time.sleep(0.2)

    def kill(self) -> None:
        """As kill -9 does."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def log(self) -> str:
        """The end of what it said."""
        return self._log.read_text()[-4000:]

    def _is_ready(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as reply:
                return reply.status == 200
        except (URLError, ConnectionError):
            return False

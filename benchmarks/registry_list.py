"""Claim: listing the pipelines costs little beyond Kedro and its plugins themselves (no torch is imported).

Peer: the same command in an empty Kedro project with the same plugins installed. Prints seconds, ratio.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUNS = 5


def seconds(folder: Path) -> float:
    command = [sys.executable, "-m", "kedro", "registry", "list"]
    times = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def empty_project(folder: Path) -> Path:
    (folder / "src" / "empty").mkdir(parents=True)
    (folder / "conf" / "base").mkdir(parents=True)
    (folder / "conf" / "local").mkdir()
    (folder / "pyproject.toml").write_text(
        '[tool.kedro]\npackage_name = "empty"\nproject_name = "empty"\nkedro_init_version = "1.7.0"\n'
    )
    (folder / ".telemetry").write_text("consent: false\n")
    (folder / "src" / "empty" / "__init__.py").touch()
    (folder / "src" / "empty" / "settings.py").touch()
    (folder / "src" / "empty" / "pipeline_registry.py").write_text(
        "from kedro.pipeline import Pipeline\n\n\ndef register_pipelines():\n"
        '    return {"__default__": Pipeline([])}\n'
    )
    return folder


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        peer = seconds(empty_project(Path(folder)))
    ours = seconds(ROOT)
    print(
        f"kedro registry list: {ours:.2f} s here, {peer:.2f} s in an empty project, ratio {ours / peer:.2f}"
    )


if __name__ == "__main__":
    main()

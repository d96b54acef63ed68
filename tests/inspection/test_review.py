"""What Label Studio is given of reports; a real server is in test_studio.py."""

import io
import struct
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from PIL import Image

from lng_kedro.imaging import photo_header
from lng_kedro.inspection.review import corrections, offer
from lng_kedro.inspection.studio import StudioFolder
from tests.inspection.reports import finding, report, turned
from tests.raw import scene

PLAIN = scene(1, 400, 300)


class Studio:
    """Takes what a server would."""

    def project(self, title, config, photos):
        self.title = title
        return 1

    def replace_untouched(self, project, tasks):
        self.tasks = tasks
        return len(tasks), 0


KILLED = """
import sys
from pathlib import Path
from lng_kedro.inspection.studio import StudioFolder, running
with running(StudioFolder(Path(sys.argv[1])), Path(sys.argv[1]) / "label-studio"):
    pass
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with the one that started it")
def test_the_server_ends_with_a_command_that_is_killed(tmp_path):
    server = tmp_path / "label-studio"
    server.write_text("#!/bin/sh\nexec sleep 600\n")
    server.chmod(0o700)
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)]) as command:
        process = psutil.Process(command.pid)
        while not (started := [child for child in process.children() if child.name() == "sleep"]):
            assert command.poll() is None
            time.sleep(0.05)
        command.kill()
    gone, _ = psutil.wait_procs(started, timeout=30)
    assert gone == started


@pytest.fixture
def place(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    return SimpleNamespace(photos=photos, folder=StudioFolder(tmp_path / "studio"), studio=Studio())


def offered(place, taxonomy, **contents):
    """Names the photos reported, and what was said, after an inspection of these photos."""
    reports = []
    for name, content in contents.items():
        (place.photos / f"{name}.jpg").write_bytes(content)
        reports.append(report(f"{name}.jpg", content, finding()))
    return reports, lambda: offer(place.studio, place.folder, reports, place.photos, taxonomy)[1]


def with_app1(content):
    return PLAIN[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + PLAIN[2:]


def exif(kind, value):
    entry = struct.pack("<HHI", 0x112, kind, 1) + value[:4] + bytes(4) + value[4:]
    return with_app1(b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry)


XMP = (
    b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF "
    b"xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'><rdf:Description "
    b"xmlns:tiff='http://ns.adobe.com/tiff/1.0/' tiff:Orientation=\"3\"/></rdf:RDF></x:xmpmeta>"
)


@pytest.mark.parametrize(
    "photo",
    [
        turned(PLAIN, 3),
        with_app1(XMP),
        exif(4, struct.pack("<I", 3)),
        exif(5, struct.pack("<III", 26, 3, 1)),
        exif(11, struct.pack("<f", 3)),
    ],
    ids=["EXIF", "XMP", "long", "ratio", "float"],
)
def test_a_photo_that_lies_turned_is_shown_upright_however_it_says_so(photo, place, taxonomy):
    assert photo_header(photo).orientation == 3
    offered(place, taxonomy, turned=photo)[1]()
    shown = (place.folder.photos / f"{report('', photo).sha256}.jpg").read_bytes()
    # Nothing in it tells a browser to turn it again.
    assert photo_header(shown).orientation == 1 and b"Exif" not in shown and b"xap" not in shown
    stored, upright = (np.asarray(Image.open(io.BytesIO(b)).convert("RGB"), int) for b in (photo, shown))
    assert np.abs(upright - stored[::-1, ::-1]).mean() < 2 < np.abs(upright - stored).mean()


def test_what_a_link_showed_before_is_shown_upright_too(place, taxonomy):
    photo = turned(PLAIN, 3)
    (report_of,), again = offered(place, taxonomy, a=photo)
    place.folder.photos.mkdir(parents=True)
    shown = place.folder.photos / f"{report_of.sha256}.jpg"
    shown.symlink_to(place.photos / "a.jpg")
    again()
    assert not shown.is_symlink() and photo_header(shown.read_bytes()).orientation == 1


def test_only_the_photo_that_was_reported_is_shown(place, taxonomy):
    (a, b), again = offered(place, taxonomy, a=PLAIN, b=scene(2, 400, 300))
    assert again().startswith("2 photos")
    (place.photos / "b.jpg").write_bytes(scene(3, 400, 300))
    said = again()
    assert said.startswith("1 photos") and "another photo than was inspected, or cannot be read 1" in said
    # Somebody may have worked on it: where it was shown, the other photo must not be.
    assert [path.stem for path in place.folder.photos.iterdir()] == [a.sha256]
    assert (place.folder.originals / b.sha256).is_symlink()


def test_a_photo_that_is_away_for_a_while_is_shown_when_it_is_back(place, taxonomy):
    (away,), again = offered(place, taxonomy, a=PLAIN)
    again()
    (place.photos / "a.jpg").rename(place.photos / "b.jpg")
    assert again().startswith("0 photos")
    (place.photos / "b.jpg").rename(place.photos / "a.jpg")
    assert (place.folder.photos / f"{away.sha256}.jpg").read_bytes() == PLAIN


def test_each_project_keeps_its_taxonomy(place, taxonomy):
    _, again = offered(place, taxonomy, a=PLAIN)
    again()
    first = place.studio.tasks[0]
    fewer = type(taxonomy)(**taxonomy.model_dump() | {"labels": taxonomy.labels[:-1]})
    offer(place.studio, place.folder, [], place.photos, fewer)
    known = corrections([first], place.folder).taxonomies
    assert len(known) == 2 and place.studio.title.rpartition(" ")[2] in known
    assert known[first["data"]["taxonomy"]].label_names == taxonomy.label_names

"""The round trip through a real Label Studio: reports in, corrections out, label files for the raw reader."""

import json
import signal
import socket
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pandas as pd
import psutil
import pytest
from playwright.sync_api import expect

from lng_kedro.aihub.folder import AIHubFolder, stem
from lng_kedro.aihub.labels import LabelReader
from lng_kedro.geometry import upright_box
from lng_kedro.inspection.review import fetch, offer
from lng_kedro.inspection.studio import StudioError, StudioFolder, running
from lng_kedro.pipelines.reviewed.nodes import take_corrections
from tests.inspection.reports import FIELDS, finding, report, turned
from tests.project import ROOT, copy_project, kedro, prepare_store
from tests.raw import scene

COMMAND = Path(__file__).parents[2] / ".venv/label-studio/bin/label-studio"
HOSTILE = "line <b>3</b>/'\"><img src=x onerror=alert(1)>.jpg"
PHOTOS = {
    "sure.jpg": scene(1, 400, 300),
    "unsure.jpg": scene(2, 640, 480),
    "turned.jpg": turned(scene(3, 400, 300), 6),
    HOSTILE: scene(4, 300, 200, "PNG"),
    "flat.jpg": scene(5, 320, 240, "TIFF"),
    "nothing.jpg": scene(6, 320, 240),
    "browser.jpg": turned(scene(8, 400, 300), 8),
    "gone.jpg": scene(7, 320, 240),
}
THIRD = 100 / 3


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inspected")
    for name, content in PHOTOS.items():
        if name != "gone.jpg":
            (folder / name).parent.mkdir(exist_ok=True, parents=True)
            (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def reports():
    third = finding("scratch", (THIRD, 10.25, 199.99, 77.125), 0.81, part="Cable Tie")
    return [
        report("sure.jpg", PHOTOS["sure.jpg"], third, finding("welding", score=0.9, quality="Good")),
        report("unsure.jpg", PHOTOS["unsure.jpg"], finding(score=0.12), finding(score=None, bbox=None)),
        report(
            "turned.jpg", PHOTOS["turned.jpg"], finding("bolt fastening", (10.1, 20.2, 133.3, 244.4), 0.4)
        ),
        report(HOSTILE, PHOTOS[HOSTILE], finding(score=0.3)),
        report("flat.jpg", PHOTOS["flat.jpg"], finding("foam spray", (3, 4, 300, 200), 0.7)),
        report("nothing.jpg", PHOTOS["nothing.jpg"]),
        report("browser.jpg", PHOTOS["browser.jpg"], finding("cutting", (30.3, 40.4, 130, 240.7), 0.6)),
        report("gone.jpg", PHOTOS["gone.jpg"], finding()),
        report(
            "late.jpg", PHOTOS["sure.jpg"], error={"reason": "engine", "detail": "timed out"}, sha256=None
        ),
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return StudioFolder(tmp_path_factory.mktemp("studio") / "01_raw/label_studio")


@pytest.fixture(scope="module")
def studio(folder):
    with running(folder, COMMAND) as studio:
        yield studio


@pytest.fixture(scope="module")
def offered(studio, folder, reports, photos, taxonomy):
    return offer(studio, folder, reports, photos, taxonomy)


@pytest.fixture(scope="module")
def tasks(studio, offered):
    """Tasks by their photos, as the API gives them."""
    (project,) = studio.projects()
    found = studio.ask("GET", f"/api/tasks?project={project['id']}&page_size=100&fields=all")["tasks"]
    return {task["data"]["photo"]: task for task in found}


def submit(studio, task, result, **other):
    return studio.ask("POST", f"/api/tasks/{task['id']}/annotations/", {"result": result, **other})


def predicted(task):
    return json.loads(json.dumps(task["predictions"][0]["result"]))


def read_back(folder, taxonomy):
    """Rows of the raw reader for every label file, by the digest in its name."""
    raw, reader = AIHubFolder(folder), LabelReader(taxonomy)
    listing = raw.listing()
    assert {stem(p) for p in listing.photos} == {stem(p) for p in listing.labels}
    assert listing.problems == []
    found = {}
    for label in listing.labels:
        rows, refused = reader.read(label, raw.read(label), has_photo=True)
        assert refused == []
        found[stem(label).rpartition("_")[2]] = rows
    return found


def digest(photo):
    return sha256(PHOTOS[photo]).hexdigest()[:32]


def listening(port):
    connections = psutil.net_connections("inet")
    return {c.laddr.ip for c in connections if c.status == "LISTEN" and c.laddr.port == port}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_it_listens_on_loopback_only(studio):
    assert listening(int(studio.url.rpartition(":")[2])) == {"127.0.0.1"}


def test_nothing_is_told_to_anybody(studio, folder):
    page = urlopen(studio.url + "/user/login/").read().decode()
    assert "sentry-cdn" not in page and "googletagmanager" not in page
    with pytest.raises(HTTPError, match="404"):  # its tips would come from elsewhere
        urlopen(studio.url + "/heidi-tips")
    assert oct((folder.root / "login.json").stat().st_mode)[-3:] == "600"
    assert oct(folder.root.stat().st_mode)[-3:] == "700"


def test_the_worst_come_first_and_what_cannot_be_shown_is_said(tasks, offered):
    order = sorted(tasks, key=lambda photo: tasks[photo]["id"])
    assert order == [
        "unsure.jpg",
        HOSTILE,
        "turned.jpg",
        "browser.jpg",
        "flat.jpg",
        "sure.jpg",
        "nothing.jpg",
    ]
    _, said = offered
    assert said.startswith("7 photos to look at") and "0 worked on" in said
    assert "is not in the folder of photos any more 1" in said
    assert "could not be read when it was inspected 1" in said
    assert "not drawn: crack at None" in tasks["unsure.jpg"]["data"]["says"]


def test_only_photos_of_reports_are_served(studio, folder, tasks, photos):
    token = {"Authorization": f"Token {studio.login.token}"}

    def get(path, headers=token):
        return urlopen(Request(studio.url + path, headers=headers)).read()

    assert get(tasks["sure.jpg"]["data"]["image"]) == PHOTOS["sure.jpg"]
    assert get(tasks["flat.jpg"]["data"]["image"]).startswith(b"\xff\xd8")  # a browser knows no TIFF
    (photos / "secret.txt").write_text("x")
    for path in (
        "photos/../../login.json",
        "../login.json",
        f"../../{photos.name}/secret.txt",
        "photos/x.jpg",
    ):
        with pytest.raises(HTTPError):
            get(f"/data/local-files/?d={path}")
    with pytest.raises(HTTPError, match=r"401|403"):
        get(tasks["sure.jpg"]["data"]["image"], {})


def test_predictions_hold_every_box_field_and_score(tasks, reports):
    results = predicted(tasks["sure.jpg"])
    assert len(results) == 2 * (1 + len(FIELDS))
    label = results[0]
    assert label["score"] == 0.81 and label["value"]["rectanglelabels"] == ["scratch"]
    assert label["value"]["x"] == pytest.approx(THIRD / 400 * 100, abs=1e-9)
    assert {r["from_name"]: r["value"]["choices"] for r in results[1:6]} == {
        **{name: [value] for name, value in FIELDS.items()},
        "part": ["Cable Tie"],
    }
    assert tasks["sure.jpg"]["predictions"][0]["score"] == 0.81


def test_a_person_finds_all_filled_in_and_submits_it_in_a_browser(
    studio, folder, tasks, offered, browser, taxonomy, tmp_path
):
    project, _ = offered
    asked = []
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.on("request", lambda request: asked.append(request.url))
    page.set_default_timeout(60_000)
    page.goto(studio.url + "/user/login/")
    page.fill("input[name=email]", studio.login.user)
    page.fill("input[name=password]", studio.login.password)
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "login" not in url)
    page.goto(f"{studio.url}/projects/{project}/data?task={tasks['browser.jpg']['id']}")
    page.locator("[class*=outliner-item]").get_by_text("cutting").click()
    checked = page.locator(".lsf-choices input[type=radio]:checked")
    expect(checked).to_have_count(len(FIELDS), timeout=60_000)
    assert checked.evaluate_all("inputs => inputs.map(i => i.name)") == list(FIELDS.values())
    page.get_by_test_id("bottombar-submit-button").click()
    page.get_by_test_id("bottombar-update-button").wait_for()
    page.close()
    assert [url for url in asked if not url.startswith((studio.url, f"blob:{studio.url}", "data:"))] == []

    take_corrections(fetch(studio, folder), AIHubFolder(tmp_path))
    ((cut,),) = read_back(tmp_path, taxonomy).values()
    assert {name: cut[name] for name in FIELDS} == FIELDS
    # The browser turned the photo as its EXIF says.
    upright = upright_box([cut[k] for k in "xywh"], 400, 300, 8)
    assert upright == pytest.approx((30.3, 40.4, 99.7, 200.3), abs=1e-9)


def test_corrections_become_label_files_to_the_pixel(studio, folder, tasks, taxonomy, tmp_path):
    # As it was; a box moved and a field changed; all wrong; one that the raw format cannot say; one skipped.
    submit(studio, tasks["sure.jpg"], predicted(tasks["sure.jpg"]))
    moved = predicted(tasks["turned.jpg"])
    moved[0]["value"] |= {"x": 10.0, "y": 25.0, "width": 30.0, "height": 12.5}
    (quality,) = (r for r in moved if r["from_name"] == "quality")
    quality["value"]["choices"] = ["Good"]
    submit(studio, tasks["turned.jpg"], moved)
    submit(studio, tasks["unsure.jpg"], [])
    impossible = predicted(tasks[HOSTILE])
    impossible[-1]["value"]["choices"] = ["Good"]
    submit(studio, tasks[HOSTILE], impossible)
    submit(studio, tasks["flat.jpg"], [], was_cancelled=True)

    quarantine = take_corrections(fetch(studio, folder), AIHubFolder(tmp_path))
    rows = read_back(tmp_path, taxonomy)
    assert rows.keys() == {digest(p) for p in ("sure.jpg", "turned.jpg", "unsure.jpg", "browser.jpg")}
    first, second = rows[digest("sure.jpg")]
    assert (first["label"], first["quality"], first["part"]) == ("scratch", "Defective", "Cable Tie")
    assert [first[k] for k in "xywh"] == pytest.approx([THIRD, 10.25, 199.99 - THIRD, 66.875], abs=1e-9)
    assert (second["label"], second["category_id"], second["quality"]) == ("welding", 1101, "Good")
    assert {first[k] for k in FIELDS} == {*FIELDS.values(), "Cable Tie"} - {"Joint"}
    (bolt,) = rows[digest("turned.jpg")]
    # The upright photo is 300 x 400, stored 400 x 300.
    assert (bolt["width"], bolt["height"], bolt["category_id"]) == (400, 300, 3101)
    stored = [bolt[k] for k in "xywh"]
    assert upright_box(stored, 400, 300, 6) == pytest.approx((30, 100, 90, 50), abs=1e-9)
    (empty,) = rows[digest("unsure.jpg")]
    assert empty["label"] is None and empty["category_id"] == 2101
    for photo in ("sure.jpg", "turned.jpg", "unsure.jpg"):
        (file,) = (p for p in tmp_path.iterdir() if digest(photo) in p.name and p.suffix != ".json")
        assert file.read_bytes() == PHOTOS[photo]
    assert quarantine[["file", "reason"]].to_numpy().tolist() == [
        ["flat.jpg", "skipped"],
        [HOSTILE, "contradiction"],
    ]
    assert "crack cannot be Good" in quarantine["detail"][1]


def test_what_was_worked_on_is_not_offered_again(studio, folder, reports, photos, taxonomy, tasks):
    newer = [r.model_copy(update={"time": r.time.replace(hour=13)}) for r in reports]
    _, said = offer(studio, folder, newer, photos, taxonomy)
    assert said.startswith("1 photos to look at") and "; 6 worked on" in said
    assert len(studio.projects()) == 1
    found = fetch(studio, folder).tasks
    assert sum(bool(t["annotations"]) for t in found) == 6 and len(found) == 7
    # A number that was given again would be of another photo in a window that is still open.
    (anew,) = (t["id"] for t in found if not t["annotations"])
    assert anew > max(t["id"] for t in tasks.values())


def test_a_later_correction_replaces_the_label_whatever_its_name(studio, folder, tasks, taxonomy, tmp_path):
    take_corrections(fetch(studio, folder), AIHubFolder(tmp_path))
    (before,) = tmp_path.glob(f"3101_14_{digest('turned.jpg')}.json")
    untouched = next(tmp_path.glob(f"*_{digest('sure.jpg')}.json")).stat().st_mtime_ns
    (task,) = (t for t in fetch(studio, folder).tasks if t["data"]["photo"] == "turned.jpg")
    (annotation,) = task["annotations"]
    changed = annotation["result"]
    changed[0]["value"]["rectanglelabels"] = ["crack"]
    (quality,) = (r for r in changed if r["from_name"] == "quality")
    quality["value"]["choices"] = ["Defective"]
    studio.ask("PATCH", f"/api/annotations/{annotation['id']}/", {"result": changed})
    take_corrections(fetch(studio, folder), AIHubFolder(tmp_path))
    assert not before.exists()
    assert {p.name for p in tmp_path.glob(f"*_{digest('turned.jpg')}.*")} == {
        f"2102_14_{digest('turned.jpg')}.{suffix}" for suffix in ("jpg", "json")
    }
    assert next(tmp_path.glob(f"*_{digest('sure.jpg')}.json")).stat().st_mtime_ns == untouched


@pytest.fixture
def project(tmp_path):
    """A project whose virtual environment is this one's."""
    copied = copy_project(tmp_path / "project")
    (copied / ".venv").symlink_to(ROOT / ".venv")
    return copied


def test_two_commands_offer_reports_and_take_what_was_submitted(
    studio, folder, reports, photos, taxonomy, project
):
    data = folder.root.parents[1]
    prepare_store(data)
    stored = data / "08_reporting/tiny_qwen2_5_vl/inspection/reports.jsonl"
    stored.parent.mkdir(parents=True)
    stored.write_text("".join(r.model_dump_json() + "\n" for r in reports), encoding="utf-8")
    stored.with_name("photos.json").write_text(json.dumps({"photos": str(photos)}))
    stored.with_name("taxonomy.json").write_text(taxonomy.model_dump_json())
    port = free_port()
    command = ["-m", "kedro", "review", "--env", "test", "--params", f"data_dir={data}", "--port", str(port)]
    with subprocess.Popen(
        [sys.executable, *command], cwd=project, stdout=subprocess.PIPE, text=True
    ) as process:
        said = "".join(
            iter(
                process.stdout.readline,
                "Ctrl-C ends it. `kedro run --pipelines reviewed` takes what was submitted.\n",
            )
        )
        assert f"http://127.0.0.1:{port}/projects/" in said and studio.login.password in said
        assert "; 6 worked on" in said
        assert listening(port) == {"127.0.0.1"}
        again = [sys.executable, *command[:-1], str(free_port())]
        second = subprocess.run(again, cwd=project, capture_output=True, text=True)
        assert second.returncode == 1 and "Another review is open" in second.stderr
        process.send_signal(signal.SIGTERM)
        assert "Label Studio has ended" in process.stdout.read()
    assert process.returncode == 0 and listening(port) == set()

    done = kedro(project, "run", "--env", "test", "--pipelines", "reviewed", "--params", f"data_dir={data}")
    assert done.exit_code == 0, done.output
    assert len(read_back(data / "01_raw/reviewed", taxonomy)) == 4
    quarantine = pd.read_csv(data / "02_intermediate/reviewed_quarantine.csv")
    assert list(quarantine["reason"]) == ["skipped", "contradiction"]


def test_commands_say_what_has_to_be_run_first(project, tmp_path):
    prepare_store(tmp_path)
    for command in (["review"], ["run", "--pipelines", "reviewed"]):
        done = kedro(project, *command, "--env", "test", "--params", f"data_dir={tmp_path}")
        assert done.exit_code == 1
        assert ("kedro run --pipelines inspection" if command == ["review"] else "make review") in done.output
    place = tmp_path / "08_reporting/tiny_qwen2_5_vl/inspection"
    place.mkdir(parents=True)
    (place / "reports.jsonl").touch()  # a first inspection that was killed as it began
    done = kedro(project, "review", "--env", "test", "--params", f"data_dir={tmp_path}")
    assert "kedro run --pipelines inspection" in done.output and "starts" not in done.output


def test_a_port_that_is_taken_is_said(studio, tmp_path):
    port = int(studio.url.rpartition(":")[2])
    with (
        pytest.raises(StudioError, match=f"Port {port} is taken"),
        running(StudioFolder(tmp_path / "other"), COMMAND, port),
    ):
        pass


def test_without_an_installation_it_says_how(tmp_path):
    with (
        pytest.raises(StudioError, match=r"not installed at .*: `make "),
        running(StudioFolder(tmp_path), tmp_path / "label-studio/bin/label-studio"),
    ):
        pass

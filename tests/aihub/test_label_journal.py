"""Labels that were read are read again when anything that decides what they say has changed."""

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import lng_kedro
from lng_kedro.aihub import label_journal
from lng_kedro.aihub.folder import AIHubFolder
from lng_kedro.aihub.index import index_labels
from lng_kedro.aihub.label_journal import LabelJournal, Labels, key_of
from lng_kedro.aihub.labels import LabelReader
from lng_kedro.compute import Processes
from lng_kedro.taxonomy import Taxonomy
from tests.raw import annotation, encoded, label, write

LABEL, OTHER = (
    encoded(label(annotation(bbox=(10, 20, 30, 40)))),
    encoded(label(annotation(bbox=(11, 20, 30, 40)))),
)
NEGATIVE = encoded(label())


@pytest.fixture
def raw(tmp_path: Path) -> AIHubFolder:
    """A photo in zips, two in a folder, one of them without objects, and a label that nothing is made of."""
    root = tmp_path / "raw"
    write(root / "TS.zip", {"2102_12_a.jpg": b"a"})
    write(root / "TL.zip", {"2102_12_a.json": LABEL})
    write(root / "plain", {"2102_12_b.jpg": b"b", "2102_12_b.json": LABEL})
    write(root / "plain", {"2101_12_c.jpg": b"c", "2101_12_c.json": NEGATIVE, "2102_12_d.json": b"{"})
    return AIHubFolder(root)


def labels_of(raw: AIHubFolder, taxonomy: Taxonomy) -> Labels:
    return index_labels(raw, LabelReader(taxonomy), Processes(engine="processes", workers=1))


def test_what_was_read_comes_back_as_it_was(raw: AIHubFolder, taxonomy: Taxonomy, tmp_path: Path) -> None:
    journal, labels = LabelJournal(tmp_path / "deep/journal"), labels_of(raw, taxonomy)
    assert journal.read("key") is None
    journal.keep("key", labels)
    found = LabelJournal(tmp_path / "deep/journal").read("key")
    assert found is not None
    assert len(found[0]) == 3
    assert list(found[1]["reason"]) == ["json"]
    for table, expected in zip(found, labels, strict=True):
        pd.testing.assert_frame_equal(table, expected)
    assert journal.read("other") is None
    (journal.folder / "cut off.part").touch()
    journal.keep("other", labels)
    assert journal.read("key") is None  # the last reading alone is kept
    assert len(list(journal.folder.iterdir())) == 2


def set_back(path: Path, content: bytes) -> None:
    """Another text of the same size, which tells of the time of the first."""
    status = path.stat()
    assert status.st_size == len(content)
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def link_more(root: Path) -> None:
    write(root.parent / "elsewhere", {"2102_12_d.jpg": b"d"})
    (root / "more").symlink_to(root.parent / "elsewhere")


CHANGES: dict[str, Callable[[Path], object]] = {
    "a label": lambda root: (root / "plain/2102_12_b.json").write_bytes(OTHER + b" "),
    "a label, its time set back": lambda root: set_back(root / "plain/2102_12_b.json", OTHER),
    "a label in a zip": lambda root: write(root / "TL.zip", {"2102_12_a.json": OTHER}),
    "a label more": lambda root: write(root / "new", {"2102_12_d.json": LABEL}),
    "a label less": lambda root: (root / "plain/2102_12_d.json").unlink(),
    "a label of another name": lambda root: (root / "TL.zip").rename(root / "TL_2.zip"),
    "a photo more": lambda root: write(root / "plain", {"2102_12_d.jpg": b""}),
    "a photo less": lambda root: (root / "plain/2102_12_b.jpg").unlink(),
    "a photo in a zip": lambda root: write(root / "TS.zip", {"2102_12_a.jpg": b"a", "2102_12_d.jpg": b"d"}),
    "a folder linked": lambda root: link_more(root),
    "a file whose name is none": lambda root: Path(os.fsdecode(bytes(root) + b"/\xb1\xd5.json")).write_bytes(
        LABEL
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_of_the_files_is_noticed(
    raw: AIHubFolder, taxonomy: Taxonomy, change: Callable[[Path], object]
) -> None:
    before = key_of(raw, LabelReader(taxonomy))
    assert key_of(AIHubFolder(raw.root), LabelReader(taxonomy)) == before
    change(raw.root)
    assert key_of(raw, LabelReader(taxonomy)) != before


def test_other_pixels_change_no_label(raw: AIHubFolder, taxonomy: Taxonomy) -> None:
    before = key_of(raw, LabelReader(taxonomy))
    (raw.root / "plain/2102_12_b.jpg").write_bytes(b"other")
    assert key_of(raw, LabelReader(taxonomy)) == before


def test_other_settings_another_taxonomy_and_another_folder_are_noticed(
    raw: AIHubFolder, taxonomy: Taxonomy, tmp_path: Path
) -> None:
    field = taxonomy.fields["part"].model_copy(update={"keys": (*taxonomy.fields["part"].keys, "component")})
    spelled = taxonomy.model_copy(update={"fields": taxonomy.fields | {"part": field}})
    (tmp_path / "copy").symlink_to(raw.root)
    (tmp_path / "other").mkdir()
    readers = [LabelReader(taxonomy), LabelReader(spelled)]
    readers += [LabelReader(taxonomy, skip_boxless=True), LabelReader(taxonomy, clip_boxes=True)]
    keys = [key_of(raw, reader) for reader in readers]
    keys.append(key_of(AIHubFolder(tmp_path / "other"), readers[0]))
    assert len(set(keys)) == len(keys)
    assert key_of(AIHubFolder(tmp_path / "copy"), readers[0]) == keys[0]  # the same folder


def test_another_version_of_this_package_reads_again(
    raw: AIHubFolder, taxonomy: Taxonomy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = key_of(raw, LabelReader(taxonomy))
    package = tmp_path / "package"
    for file in Path(lng_kedro.__file__).parent.rglob("*.py"):
        write(package, {str(file.relative_to(Path(lng_kedro.__file__).parent)): file.read_bytes()})
    monkeypatch.setattr(label_journal.lng_kedro, "__file__", str(package / "__init__.py"))
    assert key_of(raw, LabelReader(taxonomy)) == before
    with (package / "aihub/labels.py").open("a") as file:
        file.write("# changed")
    assert key_of(raw, LabelReader(taxonomy)) != before


def test_what_could_not_be_read_is_not_kept(raw: AIHubFolder, taxonomy: Taxonomy, tmp_path: Path) -> None:
    (raw.root / "plain/2102_12_e.json").symlink_to(tmp_path / "gone.json")
    journal, labels = LabelJournal(tmp_path / "journal"), labels_of(raw, taxonomy)
    assert "unreadable" in set(labels[1]["reason"])
    journal.keep("key", labels)
    assert journal.read("key") is None


@pytest.mark.parametrize("left", [b"", b"PAR1 half"])
def test_what_a_power_cut_left_is_nothing(
    raw: AIHubFolder, taxonomy: Taxonomy, tmp_path: Path, left: bytes
) -> None:
    journal, labels = LabelJournal(tmp_path / "journal"), labels_of(raw, taxonomy)
    for name in ("manifest", "quarantine"):
        journal.keep("key", labels)
        assert journal.read("key") is not None
        (file,) = journal.folder.glob(f"*{name}*")
        file.write_bytes(left)
        assert journal.read("key") is None

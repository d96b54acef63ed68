"""Claim: two processes index the dataset's 188,631 label files in zips in at most 60 s and 1.5 GiB.

The peer, measured in the same run, is the plain loop of zipfile and json.loads over the same label files: it
reads them and keeps nothing. Photos need only names here, so that they have one byte each.

    python benchmarks/indexing.py [--files 188631] [--zips 60] [--deflated] [--merged]
"""

import argparse
import json
import tempfile
import threading
import time
import uuid
import zipfile
from contextlib import contextmanager
from pathlib import Path

import psutil

from lng_kedro.aihub.folder import AIHubFolder
from lng_kedro.aihub.index import index_labels
from lng_kedro.aihub.labels import LabelReader
from lng_kedro.compute import Processes
from lng_kedro.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy(Path(__file__).parents[1] / "conf/base/parameters/taxonomy.yml")
DATA = Path("3.개방데이터/1.데이터/Training")
VALUES = {"tank_type": "C형", "location": "내부", "sub_location": "바닥", "part": "도장"}
OBJECTS = 2
POLYGON = [float(k % 1000) for k in range(60)]


def make_zips(root: Path, files: int, zips: int, compression: int, merged: bool) -> None:
    """Label files of about two kilobytes, as many as photos, in the dataset's folders."""
    ids = sorted(TAXONOMY.by_id)
    for number in range(zips):
        name = f"표면처리_균열{number}_도장.zip"
        photos, labels = (
            root / DATA / f"{kind}_{name}" for kind in ("01.원천데이터/TS", "02.라벨링데이터/TL")
        )
        for path in (photos, labels):
            path.parent.mkdir(parents=True, exist_ok=True)
        stems = [f"{ids[k % len(ids)]}_12_{uuid.UUID(int=k)}" for k in range(number, files, zips)]
        with zipfile.ZipFile(photos, "w") as archive:
            for stem in stems:
                archive.writestr(f"{stem}.jpg", b"0")
        contents = [label(stem, k) for k, stem in enumerate(stems)]
        with zipfile.ZipFile(labels, "w", compression) as archive:
            if merged:
                whole = {key: [o for c in contents for o in c[key]] for key in ("images", "annotations")}
                archive.writestr("labels.json", json.dumps(whole, ensure_ascii=False))
            else:
                for stem, content in zip(stems, contents, strict=True):
                    archive.writestr(f"{stem}.json", json.dumps(content, ensure_ascii=False, indent=1))


def label(stem: str, number: int) -> dict:
    image = {"id": number, "file_name": f"{stem}.jpg", "width": 1920, "height": 1080}
    found = {
        "image_id": number,
        "category_id": int(stem[:4]),
        "bbox": [100.5, 200.25, 300, 400],
        "segmentation": [POLYGON],
        "area": 120000,
        "attributes": VALUES | {"quality": TAXONOMY.by_id[int(stem[:4])][1]},
    }
    return {"images": [image], "annotations": [found] * OBJECTS}


def plain_loop(root: Path) -> int:
    """Reads and parses every label file, and does nothing with it."""
    read = 0
    for path in sorted(root.rglob("TL_*.zip")):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                json.loads(archive.read(name))
                read += 1
    return read


@contextmanager
def peak_memory():
    """Most memory that this process and its children held at a moment, in GiB (shared pages once)."""
    peak, stop = [0.0], threading.Event()

    def watch() -> None:
        me = psutil.Process()
        while not stop.wait(0.2):
            held = 0
            for process in (me, *me.children(recursive=True)):
                try:
                    held += process.memory_full_info().pss
                except psutil.Error:
                    continue  # it has ended
            peak[0] = max(peak[0], held / 2**30)

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield peak
    stop.set()
    watcher.join()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=188_631)
    parser.add_argument("--zips", type=int, default=60)
    parser.add_argument("--deflated", action="store_true", help="labels compressed instead of stored")
    parser.add_argument("--merged", action="store_true", help="one COCO file a zip instead of one a photo")
    parser.add_argument("--n-jobs", type=int, default=2)
    args = parser.parse_args()
    compression = zipfile.ZIP_DEFLATED if args.deflated else zipfile.ZIP_STORED
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_zips(root, args.files, args.zips, compression, args.merged)
        start = time.perf_counter()
        read = plain_loop(root)
        peer = time.perf_counter() - start
        start = time.perf_counter()
        with peak_memory() as peak:
            compute = Processes(engine="processes", workers=args.n_jobs)
            manifest, quarantine = index_labels(AIHubFolder(root), LabelReader(TAXONOMY), compute)
        ours = time.perf_counter() - start
    assert len(quarantine) == 0
    assert len(manifest) == args.files * OBJECTS
    print(f"{args.files} photos, {len(manifest)} objects in {read} label files of {args.zips} zips")
    print(f"indexed by {args.n_jobs} processes {ours:6.1f} s, {args.files / ours:,.0f} photos a second")
    print(f"  peak memory of all    {peak[0]:6.2f} GiB")
    print(f"plain loop, one process {peer:6.1f} s; it takes {peer / ours:.2f} of our time")


if __name__ == "__main__":
    main()

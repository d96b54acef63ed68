"""What a run made of its data, counted by hand."""

from hashlib import sha256

import numpy as np
import pandas as pd
import pytest

from lng_kedro import data_summary as summary
from lng_kedro.data_summary import NOTHING, Tables
from lng_kedro.plots import box_sizes


def quarantine(*rows):
    return pd.DataFrame(rows, columns=["file", "reason", "detail"], dtype=str)


def tables(labels, photos):
    none = pd.DataFrame()
    return Tables(none, none, none, labels, photos)


def manifest(*rows):
    """Rows of (photo_id, label, w, h, box_source) in photos of 1000 x 500."""
    frame = pd.DataFrame(rows, columns=["photo_id", "label", "w", "h", "box_source"])
    return frame.assign(width=1000, height=500, clipped=False)


def objects(*rows):
    """Rows of (photo_id, label, corners, box_source, clipped)."""
    return pd.DataFrame(
        [(photo_id, label, *box, source, cut) for photo_id, label, box, source, cut in rows],
        columns=["photo_id", "label", "x_min", "y_min", "x_max", "y_max", "box_source", "clipped"],
    )


def test_counts_join_the_pools_of_a_label(taxonomy):
    split_counts = pd.DataFrame(
        [
            ("1102", "welding", "sft", 7, 7, 9),
            ("1102", "welding", "test", 2, 1, 1),
            ("1101", "welding", "sft", 3, 2, 4),
            ("1101", "welding", "test", 0, 0, 0),
            ("2102", "crack", "sft", 10, 10, 11),
            ("2102", "crack", "test", 2, 0, 0),
            ("2101", None, "sft", 1, 1, 0),
            ("2101", None, "test", 0, 0, 0),
        ],
        columns=["pool", "label", "split", "wanted", "got", "objects"],
    )
    found = summary.counts(split_counts, taxonomy).set_index(["label", "split"])
    columns = ["wanted", "wanted_good", "wanted_defective", "got", "got_good", "got_defective"]
    assert found.loc[("welding", "sft"), columns].tolist() == [10, 3, 7, 9, 2, 7]
    assert found.loc[("welding", "sft"), ["objects", "objects_good", "objects_defective"]].tolist() == [
        13,
        4,
        9,
    ]
    assert found.loc[("crack", "test"), columns].tolist() == [2, 0, 2, 0, 0, 0]
    # What shows nothing is of neither quality.
    assert found.loc[(NOTHING, "sft"), columns].tolist() == [1, 0, 0, 1, 0, 0]


def test_reasons_are_counted_and_explained():
    labels = quarantine(("a", "json", "x"), ("b", "box", "1"), ("b", "box", "2"), ("c", "duplicate", ""))
    found = summary.reasons(tables(labels, quarantine(("d", "truncated", "y"))))
    assert found[["read", "reason", "count", "share", "left_out"]].to_numpy().tolist() == [
        ["labels", "box", 2, 0.5, False],
        ["labels", "json", 1, 0.25, False],
        ["labels", "duplicate", 1, 0.25, True],
        ["photos", "truncated", 1, 1.0, False],
    ]
    assert found["meaning"][1] == "a label file is no JSON object"
    assert summary.examples(labels, "box", 1) == [("b", "1")]


def test_a_reason_that_nobody_explained_is_an_error():
    with pytest.raises(KeyError, match="bad luck"):
        summary.reasons(tables(quarantine(("a", "bad luck", "")), quarantine()))


def test_a_file_is_rejected_once_however_often_it_is_named():
    labels = quarantine(
        ("a", "box", "1"),
        ("a", "box", "2"),
        ("a", "boxless", ""),
        ("b", "boxless", ""),
        ("c", "duplicate", ""),
    )
    photos = quarantine(("d", "near_duplicate", ""), ("e", "empty", ""))
    assert summary.n_rejected(tables(labels, photos)) == (2, 3)
    assert summary.n_rejected(tables(quarantine(), quarantine())) == (0, 0)
    in_vain = [("labels.json", "label_without_photo", f"no photo has the name {name}") for name in "xyy"]
    assert summary.n_rejected(tables(quarantine(*in_vain), quarantine())) == (2, 0)


def test_areas_are_the_same_in_the_raw_photo_and_in_the_processed_frame():
    found = summary.boxes(
        manifest(("p", "crack", 100, 50, "label"), ("q", None, np.nan, np.nan, None)),
        objects(("p", "crack", (0, 0, 51.2, 51.2), "label", False)),
    )
    assert found["manifest"]["area"].tolist() == [pytest.approx(0.01)]
    assert found["chosen"]["area"].tolist() == [pytest.approx(0.01)]


def test_area_classes_begin_at_their_edge_and_leave_whole_photos_out():
    frame = pd.DataFrame({"area": [0.0009, 0.001, 0.1 - 1e-12, 0.3, 1.0, 1.0], "box_source": "label"})
    frame.loc[5, "box_source"] = "image"
    assert summary.area_classes(frame).to_dict() == {
        "below 0.1 %": 1,
        "0.1 to 0.3 %": 1,
        "0.3 to 1 %": 0,
        "1 to 3 %": 0,
        "3 to 10 %": 0,
        "10 to 30 %": 1,
        "30 % and more": 2,
    }


def test_the_table_of_boxes():
    chosen = summary.boxes(
        manifest(),
        objects(
            ("p", "crack", (0, 0, 31, 32), "label", False),  # small
            ("p", "crack", (0, 0, 32, 32), "segmentation", True),  # medium
            ("p", "crack", (0, 0, 96, 96), "label", True),  # large
            ("q", "foam spray", (0, 0, 512, 512), "image", False),
        ),
    )["chosen"]
    found = summary.box_table(chosen, ["crack", "foam spray", "cutting"]).set_index("label")
    numbers = found.drop(columns="median").astype(int)
    assert list(numbers.columns) == [
        *("objects", "small", "medium", "large", "label_box", "segmentation", "image", "clipped")
    ]
    assert numbers.loc["crack"].tolist() == [3, 1, 1, 1, 2, 1, 0, 2]
    assert numbers.loc["foam spray"].tolist() == [1, 0, 0, 0, 0, 0, 1, 0]
    assert numbers.loc["cutting"].tolist() == [0] * 8
    assert numbers.loc["all"].tolist() == [4, 1, 1, 1, 2, 1, 1, 2]
    assert found.loc["crack", "median"] == pytest.approx(32**2 / 512**2)
    assert np.isnan(found.loc["foam spray", "median"])


def test_photos_are_counted_by_their_objects():
    split = pd.DataFrame({"photo_id": ["none", "one", "seven"]})
    many = pd.DataFrame({"photo_id": ["one", *["seven"] * 7, "not chosen"]})
    assert summary.objects_a_photo(split, many).to_dict() == {0: 1, 1: 1, 2: 0, 3: 0, 4: 0, 5: 1}


def test_shares_of_values(taxonomy):
    fields = {"location": "Inside", "sub_location": "Floor", "part": "Joint", "quality": "Good"}
    frame = pd.DataFrame([{**fields, "label": "crack", "tank_type": t} for t in "BCCC"])
    found = summary.field_shares(frame, taxonomy)
    assert list(found.index) == ["all", *taxonomy.label_names]
    assert found.loc["crack", "tank_type"].to_dict() == {"B": 0.25, "C": 0.75}
    assert found.loc["all", "location"].to_dict() == {"Outer wall": 0, "Inside": 1, "Outside": 0}
    assert found.loc["cutting"].isna().all()


def test_filled_values_are_counted_by_field_and_rule():
    whole = pd.DataFrame({"filled": ["quality:id,part:zip", "quality:id", "", "part:name"]})
    found = summary.filled({"manifest": whole, "chosen": whole.head(2)})
    assert found.to_dict("split")["data"] == [
        ["quality", "id", 2, 2],
        ["part", "name", 1, 0],
        ["part", "zip", 1, 1],
    ]
    none = pd.DataFrame({"filled": [""]})
    assert summary.filled({"manifest": none, "chosen": none.head(0)}).empty


def test_rare_sizes_of_photos_are_counted_together():
    photos = pd.DataFrame({"width": [1920, 1920, 1920, 3024, 3024, 1, 2], "height": 1000})
    found = summary.photo_sizes(photos, 2)
    assert found.to_dict() == {"1920 x 1000": 3, "3024 x 1000": 2, "others (2)": 2}
    assert summary.photo_sizes(photos, 4).sum() == 7


def test_turned_photos_whose_size_does_not_tell_what_their_label_means():
    rows = [(1, 9, 9), (1, 9, 8), (3, 9, 8), (2, 9, 9), (6, 9, 9), (6, 9, 8), (8, 8, 9)]
    split = pd.DataFrame(rows, columns=["orientation", "stored_width", "stored_height"])
    assert summary.taken_as_stored(split) == 3


def flipped(dhash, bits):
    return f"{int(dhash, 16) ^ (2**bits - 1):064x}"


def test_groups_that_look_alike_and_what_must_not_be():
    one, two, three = (sha256(text).hexdigest() for text in (b"1", b"2", b"3"))
    split = pd.DataFrame(
        {
            "photo_id": ["a", "b", "c", "d", "e", "f"],
            "split": ["sft", "sft", "sft", "grpo", "grpo", "test"],
            "dhash": [one, flipped(one, 8), one, two, two, three],
            "near_duplicate_of": [None, "a", "a", None, "d", None],
        }
    )
    assert summary.duplicates(split, 8) == summary.Duplicates(groups=2, photos=5, largest=3, across=0)
    assert summary.duplicates(split.head(0), 8) == summary.Duplicates(0, 0, 0, 0)
    # What the choice says of its groups does not count: f is b but for a bit, and 9 bits from a and c.
    split.loc[5, "dhash"] = flipped(one, 9)
    assert summary.duplicates(split, 8).across == 2
    assert summary.duplicates(split, 9).across == 4
    split.loc[3, "dhash"] = flipped(one, 9)
    assert summary.duplicates(split, 0).across == 2


def test_the_plot_of_box_sizes_has_a_colour_a_label():
    chosen = summary.boxes(manifest(), objects(("p", "crack", (0, 0, 64, 64), "label", False)))["chosen"]
    figure = box_sizes(chosen, ["welding", "crack"])
    assert [(bar.name, sum(bar.y)) for bar in figure.data] == [("welding", 0), ("crack", 1)]
    assert dict(zip(figure.data[1].x, figure.data[1].y, strict=True))["1 to 3 %"] == 1


def test_what_became_of_corrected_photos():
    manifest = pd.DataFrame(
        [
            ("a", "reviewed://a.json"),
            ("a", "reviewed://a.json"),
            ("b", "reviewed://b.json"),
            ("c", "reviewed://c.json"),
            ("d", "reviewed://d.json"),
            ("e", "reviewed/e.json"),
        ],
        columns=["photo_id", "label_file"],
    )
    split = pd.DataFrame([("a", "sft"), ("b", "grpo"), ("e", "test")], columns=["photo_id", "split"])
    labels = quarantine(
        ("reviewed://x.json", "box", ""),
        ("reviewed://x.json", "json", ""),
        ("reviewed://y.json", "duplicate", ""),
        ("z.json", "box", ""),
    )
    photos = quarantine(("reviewed://c.jpg", "no_place", ""), ("reviewed://d.jpg", "truncated", ""))
    found = summary.corrections(Tables(manifest, split, pd.DataFrame(), labels, photos))
    assert found == (4, {"sft": 1, "grpo": 1, "test": 0}, 2, 1, 1)

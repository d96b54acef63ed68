"""The balanced split."""

from collections import Counter
from typing import Any

import pandas as pd
import pytest

from lng_kedro.aihub.split import balanced_split
from lng_kedro.taxonomy import Taxonomy

PER_LABEL = {"sft": 10, "grpo": 5, "test": 2}
SETTINGS = {"per_label": PER_LABEL, "good_share": 0.3, "negative_share": 0.1, "seed": 1}


def photos_of(taxonomy: Taxonomy, n: int) -> pd.DataFrame:
    """`n` photos of each id, the even ones with two objects."""
    ids = [*taxonomy.by_id, *taxonomy.negative_ids]
    rows = [
        {
            "photo_id": f"{i}_{k:03}",
            "photo_category_id": i,
            "label": taxonomy.by_id.get(i, (None,))[0],
        }
        for i in ids
        for k in range(n)
        for _ in range(2 - k % 2)
    ]
    return pd.DataFrame(rows).astype({"label": "str"})


def drawn(manifest: pd.DataFrame, taxonomy: Taxonomy, **changes: Any) -> pd.DataFrame:
    return balanced_split(manifest, taxonomy, **SETTINGS | changes)


def test_counts_of_every_label_and_split(taxonomy: Taxonomy) -> None:
    split = drawn(photos_of(taxonomy, 40), taxonomy)
    labelled = split[split["photo_label"].notna()]
    assert labelled.groupby(["photo_label", "split"]).size().to_dict() == {
        (name, part): n for name in taxonomy.label_names for part, n in PER_LABEL.items()
    }
    # 15 labels x (10, 5, 2) x 0.1, rounded to even.
    negatives = split[split["photo_label"].isna()]
    assert Counter(negatives["split"]) == {"sft": 15, "grpo": 8, "test": 3}
    assert negatives["photo_id"].str.startswith("2101_").all()


def test_share_of_good_photos_where_the_label_has_any(taxonomy: Taxonomy) -> None:
    split = drawn(photos_of(taxonomy, 40), taxonomy)
    ids = split["photo_id"].str[:4].astype(int)
    for label in taxonomy.labels:
        good = split[ids == label.good_id]
        # 0.3 of 10, of 5 (1.5, rounded to even) and of 2 (0.6).
        assert Counter(good["split"]) == ({"sft": 3, "grpo": 2, "test": 1} if label.good_id else {})
        assert set(good["photo_label"]) <= {label.name}


def test_a_photo_is_in_one_split_only(taxonomy: Taxonomy) -> None:
    manifest = photos_of(taxonomy, 17)
    split = drawn(manifest, taxonomy, good_share=0, negative_share=0)
    assert len(split) == 15 * 17
    assert split["photo_id"].is_unique
    assert set(split["photo_id"]) <= set(manifest["photo_id"])


def test_the_order_of_rows_does_not_matter(taxonomy: Taxonomy) -> None:
    manifest = photos_of(taxonomy, 40)
    shuffled = manifest.sample(frac=1, random_state=3)
    pd.testing.assert_frame_equal(drawn(manifest, taxonomy), drawn(shuffled, taxonomy))


def test_photos_of_another_label_do_not_change_a_labels_draw(taxonomy: Taxonomy) -> None:
    manifest = photos_of(taxonomy, 40)
    fewer = manifest[(manifest["photo_category_id"] != 2102) | (manifest["photo_id"] < "2102_020")]
    first, second = drawn(manifest, taxonomy), drawn(fewer, taxonomy)
    assert set(first[first["photo_label"] == "scratch"]["photo_id"]) == set(
        second[second["photo_label"] == "scratch"]["photo_id"]
    )


def test_the_seed_changes_the_draw(taxonomy: Taxonomy) -> None:
    manifest = photos_of(taxonomy, 40)
    sft = [
        set(s[s["split"] == "sft"]["photo_id"])
        for s in (drawn(manifest, taxonomy, seed=i) for i in (1, 1, 2))
    ]
    assert sft[0] == sft[1]
    assert sft[0] != sft[2]


def test_a_negative_shows_nothing(taxonomy: Taxonomy) -> None:
    manifest = photos_of(taxonomy, 40)
    crack = {"photo_id": "2101_000", "photo_category_id": 2101, "label": "crack"}
    manifest = pd.concat([manifest[manifest["photo_id"] != "2101_000"], pd.DataFrame([crack])])
    needed = {"per_label": {"sft": 40, "grpo": 0, "test": 0}, "good_share": 0, "negative_share": 39 / 600}
    assert "2101_000" not in set(drawn(manifest, taxonomy, **needed)["photo_id"])
    with pytest.raises(ValueError, match=r"nothing to report \(id 2101\): 39 of 40"):
        drawn(manifest, taxonomy, **needed | {"negative_share": 40 / 600})


def test_just_enough_is_enough_and_a_shortage_lists_every_short_label(taxonomy: Taxonomy) -> None:
    # Of 17 photos a label, 6 (3 + 2 + 1) of good items where there are any; 26 negatives.
    enough = photos_of(taxonomy, 26)
    needed = dict.fromkeys(taxonomy.by_id, 17) | {o.defective_id: 11 for o in taxonomy.labels if o.good_id}
    needed |= {o.good_id: 6 for o in taxonomy.labels if o.good_id} | {2101: 26}
    rank = enough["photo_id"].str[5:].astype(int)
    enough = enough[rank < enough["photo_category_id"].map(needed)]
    assert len(drawn(enough, taxonomy)) == 15 * 17 + 26

    short = enough[~enough["photo_id"].isin(["2102_000", "1101_000", "1101_001"])]
    short = short[short["photo_category_id"] != 2101]
    with pytest.raises(ValueError, match="Too few photos") as caught:
        drawn(short, taxonomy)
    message = str(caught.value)
    assert "crack (id 2102): 16 of 17" in message
    assert "welding (id 1101): 4 of 6" in message
    assert "nothing to report (id 2101): 0 of 26" in message
    assert message.count("(id ") == 3
    assert "data_processing.yml" in message


def test_nothing_asked_for_nothing_drawn(taxonomy: Taxonomy) -> None:
    split = drawn(photos_of(taxonomy, 1), taxonomy, per_label={"sft": 0, "grpo": 0, "test": 0})
    assert split.empty
    assert list(split.columns) == ["photo_id", "split", "photo_label"]

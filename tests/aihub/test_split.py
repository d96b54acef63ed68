"""Pools, and the order in which their photos are taken."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lng_kedro.aihub.split import SPLITS, Pool, check_enough, draw, pools_of, proportional, shares, usable
from lng_kedro.quarantine import Rejected
from lng_kedro.taxonomy import Taxonomy

PER_LABEL = {"sft": 10, "grpo": 5, "test": 2}


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


def pools(taxonomy: Taxonomy, per_label=PER_LABEL, good_share=0.3, negative_share=0.1) -> list[Pool]:
    return pools_of(taxonomy, per_label, good_share, negative_share)


class TestPools:
    def test_photos_wanted_of_each(self, taxonomy: Taxonomy) -> None:
        wanted = {pool.name: dict(pool.wanted) for pool in pools(taxonomy)}
        assert wanted["2102"] == PER_LABEL  # a crack has no good id
        # 0.3 of 10, of 5 (1.5, rounded to even) and of 2 (0.6).
        assert wanted["1101"] == {"sft": 3, "grpo": 2, "test": 1}
        assert wanted["1102"] == {"sft": 7, "grpo": 3, "test": 1}
        # 15 labels x (10, 5, 2) x 0.1, rounded to even.
        assert wanted["2101"] == {"sft": 15, "grpo": 8, "test": 3}

    def test_one_for_each_label_and_quality_and_one_for_negatives(self, taxonomy: Taxonomy) -> None:
        found = pools(taxonomy)
        assert len(found) == 15 + 7 + 1
        assert {pool.label for pool in found} == {*taxonomy.label_names, None}
        assert {i for pool in found for i in pool.ids} == {*taxonomy.by_id, *taxonomy.negative_ids}


class TestDraw:
    def test_the_order_is_numpys_permutation_of_the_sorted_names(self, taxonomy: Taxonomy) -> None:
        """Published results hang on it."""
        found = draw(photos_of(taxonomy, 40), pools(taxonomy), seed=1)
        for pool, ids in (("2102", [2102]), ("1101", [1101]), ("2101", [2101])):
            order = np.random.default_rng([1, *ids]).permutation(40)
            part = found[found["pool"] == pool]
            assert list(part["photo_id"]) == [f"{pool}_{k:03}" for k in order]
            assert list(part["rank"]) == list(range(40))

    def test_corrected_photos_come_first_and_those_they_displace_last(self, taxonomy: Taxonomy) -> None:
        """Of 17 places 15 are for training: each of three corrected photos takes the place of one photo."""
        manifest = photos_of(taxonomy, 40)
        mine = ["2102_003", "2102_017", "2102_036", "1102_000"]
        others = manifest[~manifest["photo_id"].isin(mine)]
        before = {
            pool: list(part["photo_id"])
            for pool, part in draw(others, pools(taxonomy), seed=1).groupby("pool")
        }
        found = draw(manifest, pools(taxonomy), 1, mine)
        for pool, part in found.groupby("pool"):
            names, n = list(part["photo_id"]), sum(name.startswith(pool) for name in mine)
            assert sorted(names[:n]) == [name for name in mine if name.startswith(pool)]
            assert names[n:] == before[pool][n:] + before[pool][:n]
            assert list(part["rank"]) == list(range(len(names)))

    def test_more_corrected_photos_than_training_takes_leave_the_test_as_it_was(
        self, taxonomy: Taxonomy
    ) -> None:
        manifest = photos_of(taxonomy, 40).query("photo_category_id == 2102")
        mine = [f"2102_{k:03}" for k in range(18)]
        (alone,), (found,) = (
            [part["photo_id"].tolist() for _, part in draw(m, pools(taxonomy), 1, mine).groupby("pool")]
            for m in (manifest[~manifest["photo_id"].isin(mine)], manifest)
        )
        assert sorted(found[:18]) == mine
        assert found[18:] == alone[15:] + alone[:15]

    def test_the_seed_draws_corrected_photos_too(self, taxonomy: Taxonomy) -> None:
        manifest = photos_of(taxonomy, 40)
        mine = [f"2102_{k:03}" for k in range(20)]
        first, second = (
            draw(manifest, pools(taxonomy), seed, mine).query("pool == '2102'")["photo_id"].tolist()[:20]
            for seed in (1, 2)
        )
        assert first != second
        assert sorted(first) == sorted(second) == mine

    def test_labels_of_photos(self, taxonomy: Taxonomy) -> None:
        found = draw(photos_of(taxonomy, 2), pools(taxonomy), seed=1)
        of_pool = found.groupby("pool")["photo_label"].agg(lambda labels: set(labels.dropna()))
        assert of_pool["1101"] == of_pool["1102"] == {"welding"}
        assert of_pool["2101"] == set()
        assert len(found) == 2 * 23

    def test_photos_of_another_label_do_not_change_a_labels_draw(self, taxonomy: Taxonomy) -> None:
        manifest = photos_of(taxonomy, 40)
        fewer = manifest[(manifest["photo_category_id"] != 2102) | (manifest["photo_id"] < "2102_020")]
        first, second = (draw(m, pools(taxonomy), 1).query("pool != '2102'") for m in (manifest, fewer))
        assert list(first["photo_id"]) == list(second["photo_id"])

    def test_the_seed_changes_the_draw(self, taxonomy: Taxonomy) -> None:
        manifest = photos_of(taxonomy, 40)
        first, second = (draw(manifest, pools(taxonomy), seed)["photo_id"] for seed in (1, 2))
        assert list(first) != list(second)
        assert set(first) == set(second)

    def test_a_negative_shows_nothing(self, taxonomy: Taxonomy) -> None:
        manifest = photos_of(taxonomy, 40)
        crack = {"photo_id": "2101_000", "photo_category_id": 2101, "label": "crack"}
        manifest = pd.concat([manifest[manifest["photo_id"] != "2101_000"], pd.DataFrame([crack])])
        found = draw(manifest, pools(taxonomy), 1)
        assert set(found.query("pool == '2101'")["photo_id"]) == {f"2101_{k:03}" for k in range(1, 40)}

    @settings(max_examples=50, deadline=None)
    @given(
        rows=st.lists(st.tuples(st.sampled_from([1101, 1102, 2101, 2102]), st.integers(0, 30)), max_size=60),
        seed=st.integers(0, 2**32),
        data=st.data(),
    )
    def test_every_photo_once_whatever_the_order_of_rows(self, taxonomy, rows, seed, data) -> None:
        manifest = pd.DataFrame(
            [(f"{i}_{k}", i, taxonomy.by_id.get(i, (None,))[0]) for i, k in rows],
            columns=["photo_id", "photo_category_id", "label"],
        ).astype({"photo_id": "str", "label": "str"})
        found = draw(manifest, pools(taxonomy), seed)
        assert sorted(found["photo_id"]) == sorted(set(manifest["photo_id"]))
        for pool, part in found.groupby("pool"):
            assert list(part["rank"]) == list(range(len(part)))
            assert part["photo_id"].str.startswith(pool).all()
        shuffled = manifest.iloc[data.draw(st.permutations(range(len(manifest))))]
        pd.testing.assert_frame_equal(found, draw(shuffled, pools(taxonomy), seed))


class TestProportional:
    @pytest.mark.parametrize(
        ("total", "expected"),
        [
            (17, {"sft": 10, "grpo": 5, "test": 2}),
            (16, {"sft": 9, "grpo": 5, "test": 2}),  # 9.41, 4.71, 1.88
            (3, {"sft": 2, "grpo": 1, "test": 0}),  # 1.76, 0.88, 0.35
            (0, {"sft": 0, "grpo": 0, "test": 0}),
        ],
    )
    def test_largest_remainders_by_hand(self, total, expected) -> None:
        assert proportional(total, PER_LABEL) == expected

    def test_of_equal_remainders_the_first_counts(self) -> None:
        assert proportional(5, dict.fromkeys(SPLITS, 9)) == {"sft": 2, "grpo": 2, "test": 1}

    @given(st.integers(0, 99), st.tuples(*[st.integers(1, 50)] * 3))
    def test_no_split_is_off_by_one_photo(self, total, counts) -> None:
        wanted = dict(zip(SPLITS, counts, strict=True))
        shares = proportional(total, wanted)
        assert sum(shares.values()) == total
        assert all(abs(shares[s] - total * n / sum(counts)) < 1 for s, n in wanted.items())


class TestShares:
    @pytest.mark.parametrize(
        ("corrected", "others", "expected"),
        [
            (0, 16, {"sft": 9, "grpo": 5, "test": 2}),  # as without corrected ones
            (14, 2, {"sft": 9, "grpo": 5, "test": 2}),
            (15, 1, {"sft": 10, "grpo": 5, "test": 1}),
            (6, 0, {"sft": 4, "grpo": 2, "test": 0}),  # none of them is for the test
            (1, 0, {"sft": 1, "grpo": 0, "test": 0}),
        ],
    )
    def test_what_the_test_gets_is_not_corrected(self, corrected, others, expected) -> None:
        assert shares(corrected, others, PER_LABEL) == expected

    @given(st.integers(0, 60), st.integers(0, 60), st.tuples(*[st.integers(1, 50)] * 3))
    def test_all_are_divided_and_no_split_gets_more_than_it_wants(self, corrected, others, counts) -> None:
        wanted = dict(zip(SPLITS, counts, strict=True))
        corrected = min(corrected, wanted["sft"] + wanted["grpo"])
        others = min(others, sum(counts) - corrected)
        found = shares(corrected, others, wanted)
        assert sum(found.values()) == corrected + others
        assert found["test"] <= others
        assert all(found[s] <= wanted[s] for s in SPLITS)


class TestUsable:
    def test_corrected_photos_count_as_far_as_training_takes_them(self, taxonomy: Taxonomy) -> None:
        few = pools(taxonomy, {"sft": 2, "grpo": 1, "test": 1}, good_share=0, negative_share=0)
        manifest = photos_of(taxonomy, 4)
        mine = [f"2102_{k:03}" for k in range(4)] + ["2202_000", "2101_000"]
        found = usable(draw(manifest, few, 1, mine), few, mine)
        assert (found["2102"], found["2202"], found["2302"], found["2101"]) == (3, 4, 4, 3)
        with pytest.raises(ValueError, match=r"split: crack \(id 2102\): 3 of 4\. Lower"):
            check_enough(few, found)


class TestCheckEnough:
    def test_just_enough_is_enough(self, taxonomy: Taxonomy) -> None:
        check_enough(pools(taxonomy), {pool.name: pool.needed for pool in pools(taxonomy)})

    def test_every_short_label_is_listed_with_what_it_lacks(self, taxonomy: Taxonomy) -> None:
        found = {pool.name: pool.needed for pool in pools(taxonomy)} | {"2102": 16, "1101": 4}
        del found["2101"]
        with pytest.raises(ValueError, match="Too few photos") as caught:
            check_enough(pools(taxonomy), found)
        message = str(caught.value)
        assert "crack (id 2102): 16 of 17" in message
        assert "welding (id 1101): 4 of 6" in message
        assert "nothing to report (id 2101): 0 of 26" in message
        assert message.count("(id ") == 3
        assert "data_processing.yml" in message
        assert "left out" not in message

    def test_photos_that_were_left_out_are_counted(self, taxonomy: Taxonomy) -> None:
        refused = [Rejected(reason, "") for reason in ("truncated", "duplicate", "truncated")]
        with pytest.raises(ValueError, match=r"3 were left out \(truncated 2, duplicate 1\)"):
            check_enough(pools(taxonomy), {}, refused)

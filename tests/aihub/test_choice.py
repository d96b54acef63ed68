"""Which photos are taken once they have been seen."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lng_kedro.aihub.choice import Choice, choose, choose_all
from lng_kedro.aihub.split import SPLITS, Pool, proportional
from lng_kedro.photo_journal import Outcome, PhotoFacts
from lng_kedro.quarantine import Rejected

BITS = 4
BROKEN = Rejected("truncated", "ends early")


def pool(name: str = "1", sft: int = 2, grpo: int = 2, test: int = 1) -> Pool:
    return Pool(f"label {name}", (int(name),), {"sft": sft, "grpo": grpo, "test": test})


def facts(look: str, content: str | None = None) -> PhotoFacts:
    """A photo that looks like nothing but those of the same name; `look` + `~` is 3 bits away from `look`."""
    rng = np.random.default_rng(list(look.rstrip("~").encode()))
    bits = int.from_bytes(rng.bytes(32)) ^ (7 if look.endswith("~") else 0)
    return PhotoFacts(10, 10, 1, content or look, f"{bits:064x}", 1)


class Seen:
    """Answers of a look; photos that are not named look like nothing else."""

    def __init__(self, outcomes: Mapping[str, Outcome] | None = None) -> None:
        self.outcomes = outcomes or {}
        self.asked: list[str] = []

    def __call__(self, photo_ids: Sequence[str]) -> list[Outcome]:
        self.asked += photo_ids
        return [self.outcomes.get(i, facts(i)) for i in photo_ids]


def splits(choice: Choice) -> dict[str, str]:
    return {photo_id: photo.split for photo_id, photo in choice.taken.items()}


def test_places_are_dealt_in_the_order_drawn_and_no_photo_more_is_looked_at() -> None:
    seen = Seen()
    choice = choose({"1": list("edcbaf")}, [pool()], seen, BITS)
    assert splits(choice) == {"e": "sft", "d": "sft", "c": "grpo", "b": "grpo", "a": "test"}
    assert seen.asked == list("edcba")


def test_the_next_takes_the_place_of_one_that_is_refused_and_no_other_moves() -> None:
    seen = Seen({"b": BROKEN, "d": BROKEN, "f": BROKEN})
    choice = choose({"1": list("abcdefghi")}, [pool(), pool("2", 0, 0, 0)], seen, BITS)
    assert splits(choice) == {"a": "sft", "c": "grpo", "e": "test", "g": "sft", "h": "grpo"}
    assert choice.refused == {"b": BROKEN, "d": BROKEN, "f": BROKEN}
    assert seen.asked == list("abcdefgh")


def test_an_exhausted_pool_falls_short_and_the_others_are_full() -> None:
    choice = choose({"1": list("abc"), "2": list("uvwxy")}, [pool("1"), pool("2")], Seen({"a": BROKEN}), BITS)
    assert choice.found == Counter({"1": 2, "2": 5})


def test_the_same_content_is_taken_once_across_labels_too() -> None:
    drawn = {"1": list("abcdef"), "2": list("uvwxyz")}
    choice = choose(drawn, [pool("1"), pool("2")], Seen({"u": facts("a"), "c": facts("a")}), BITS)
    assert {i: (r.reason, r.detail) for i, r in choice.refused.items()} == {
        "c": ("duplicate", "the same content as a"),
        "u": ("duplicate", "the same content as a"),
    }
    assert splits(choice)["f"] == "grpo"
    assert splits(choice)["z"] == "sft"


def test_a_twin_goes_where_the_first_is_while_there_is_room() -> None:
    # u, drawn for SFT, looks like e of the test split: it goes there, and y, drawn for it, takes u's place.
    drawn = {"1": list("abcde"), "2": list("uvwxy")}
    choice = choose(drawn, [pool("1"), pool("2")], Seen({"u": facts("e~")}), BITS)
    assert splits(choice)["e"] == splits(choice)["u"] == "test"
    assert splits(choice)["y"] == "sft"
    assert Counter(splits(choice).values()) == {"sft": 4, "grpo": 4, "test": 2}
    assert choice.taken["u"].near_duplicate_of == "e"
    assert choice.taken["e"].near_duplicate_of is None


def test_a_twin_of_a_full_split_makes_room_for_the_next() -> None:
    choice = choose({"1": list("abcdef")}, [pool()], Seen({"c": facts("b~")}), BITS)
    (refused,) = choice.refused.items()
    assert (refused[0], refused[1].reason) == ("c", "near_duplicate")
    assert refused[1].detail == "looks like b, which is in sft"
    assert splits(choice)["f"] == "grpo"


def test_farther_away_is_no_twin() -> None:
    choice = choose({"1": list("abcde")}, [pool()], Seen({"c": facts("b~")}), near_bits=2)
    assert splits(choice)["c"] == "grpo"


def test_a_group_is_named_by_its_first_photo() -> None:
    # Of b and c either is 3 bits from a, and 6 from each other: c looks like b's group by a alone.
    base = int(facts("a").dhash, 16)
    looks = {"a": base, "b": base ^ 0b111, "c": base ^ 0b111000, "d": base ^ 0b111111}
    outcomes = {i: PhotoFacts(1, 1, 1, i, f"{bits:064x}", 1) for i, bits in looks.items()}
    choice = choose({"1": list("abcde")}, [pool(sft=5, grpo=0, test=0)], Seen(outcomes), BITS)
    assert [choice.taken[i].near_duplicate_of for i in "abcde"] == [None, "a", "a", "a", None]


def test_one_that_looks_like_photos_of_two_splits_is_in_neither() -> None:
    base = int(facts("a").dhash, 16)
    looks = {"a": base, "c": base ^ 0b111111, "e": base ^ 0b111}
    outcomes = {i: PhotoFacts(1, 1, 1, i, f"{bits:064x}", 1) for i, bits in looks.items()}
    choice = choose({"1": list("abcdef")}, [pool()], Seen(outcomes), BITS)
    assert choice.refused["e"].detail == "looks like a, which is in sft and grpo"
    assert splits(choice)["f"] == "test"


def test_take_all_divides_what_there_is() -> None:
    # Of 10 photos 3 are broken; 2 : 2 : 1 of 7 is 2.8, 2.8 and 1.4.
    drawn = {"1": list("abcdefghij"), "2": list("uvwxy")}
    seen = Seen(dict.fromkeys("aej", BROKEN))
    pools = [pool("1", sft=8, grpo=8, test=4), pool("2")]
    choice = choose_all(drawn, pools, seen, BITS)
    assert Counter(p.split for p in choice.taken.values() if p.pool.name == "1") == {
        "sft": 3,
        "grpo": 3,
        "test": 1,
    }
    assert choice.found == Counter({"1": 7, "2": 5})
    assert set(choice.refused) == set("aej")


@settings(max_examples=100, deadline=None)
@given(
    looks=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3), st.booleans()), min_size=1, max_size=60),
    wanted=st.tuples(*[st.integers(0, 5)] * 3),
)
def test_no_twins_in_two_splits_and_no_split_too_full(
    looks: list[tuple[int, int, bool]], wanted: tuple[int, int, int]
) -> None:
    """Photos of thirteen places, each seen in four ways a bit apart, some broken, in two pools."""
    outcomes: dict[str, Outcome] = {}
    for k, (place, way, broken) in enumerate(looks):
        bits = int(facts(str(place)).dhash, 16) ^ (1 << way)
        seen = PhotoFacts(1, 1, 1, f"{place}-{way}", f"{bits:064x}", 1)
        outcomes[str(k)] = BROKEN if broken else seen
    drawn = {"1": list(outcomes)[::2], "2": list(outcomes)[1::2]}
    pools = [pool("1", *wanted), pool("2", *wanted[::-1])]
    all_there_are = choose_all(drawn, pools, Seen(outcomes), BITS)
    for choice in (choose(drawn, pools, Seen(outcomes), BITS), all_there_are):
        for a, b in combinations(choice.taken.values(), 2):
            distance = (int(a.facts.dhash, 16) ^ int(b.facts.dhash, 16)).bit_count()
            assert distance > BITS or a.split == b.split
            assert a.facts.sha256 != b.facts.sha256
        counts = Counter((p.pool.name, p.split) for p in choice.taken.values())
        for of in pools:
            assert all(counts[of.name, s] <= of.wanted[s] for s in SPLITS)
            tried = [i for i in drawn[of.name] if i in choice.taken or i in choice.refused]
            assert choice.found[of.name] == of.needed or tried == drawn[of.name] or choice is all_there_are
    for of in pools:
        shares = Counter(p.split for p in all_there_are.taken.values() if p.pool.name == of.name)
        assert shares == +Counter(proportional(all_there_are.found[of.name], of.wanted) if of.needed else {})


# Corrected photos, by capital letters; those of a pool come first in its order.


def test_corrected_photos_fill_training_first_and_take_as_many_places() -> None:
    # Without A, B and C: a and b are for SFT, c and d for GRPO, e for the test.
    choice = choose({"1": list("ABCdeabc")}, [pool()], Seen(), BITS, set("ABC"))
    assert splits(choice) == {"A": "sft", "B": "sft", "C": "grpo", "d": "grpo", "e": "test"}
    assert choice.refused == {}


def test_more_of_them_than_training_has_places_are_left_out_and_told() -> None:
    # Negatives are not asked for: there is no place for N at all.
    drawn = {"1": list("ABCDEFeabcd"), "2": list("N")}
    pools = [pool(), Pool(None, (2,), {"sft": 0, "grpo": 0, "test": 0})]
    choice = choose(drawn, pools, Seen(), BITS, set("ABCDEFN"))
    assert splits(choice) == {"A": "sft", "B": "sft", "C": "grpo", "D": "grpo", "e": "test"}
    assert {i: (r.reason, r.detail) for i, r in choice.refused.items()} == {
        "E": ("no_place", "training takes 4 photos of label 1 (id 1)"),
        "F": ("no_place", "training takes 4 photos of label 1 (id 1)"),
        "N": ("no_place", "training takes 0 photos of nothing to report (id 2)"),
    }


def test_none_of_them_is_for_the_test_though_nothing_else_is_there() -> None:
    choice = choose({"1": list("ABCDE")}, [pool()], Seen(), BITS, set("ABCDE"))
    assert set(splits(choice).values()) == {"sft", "grpo"}
    assert choice.found == Counter({"1": 4})


def test_another_corrected_photo_then_a_displaced_one_takes_the_place_of_a_broken_one() -> None:
    drawn = {"1": list("ABCDEeabcd")}
    choice = choose(drawn, [pool()], Seen({"B": BROKEN}), BITS, set("ABCDE"))
    assert splits(choice) == {"A": "sft", "C": "sft", "D": "grpo", "E": "grpo", "e": "test"}
    choice = choose({"1": list("ABcdeab")}, [pool()], Seen({"B": BROKEN}), BITS, set("AB"))
    assert splits(choice) == {"A": "sft", "c": "grpo", "d": "grpo", "e": "test", "a": "sft"}


def test_the_correction_wins_over_the_same_photo_in_whichever_pool() -> None:
    # c's pool comes before U's; F and G have no place. Others are broken, so that all are looked at.
    drawn = {"1": list("ABDEFdeabcfg"), "2": list("Uvwxyz"), "3": list("G")}
    same = {"c": facts("U"), "z": facts("A"), "f": facts("F"), "g": facts("G")}
    looked = {"e": BROKEN, "d": BROKEN, "a": BROKEN, "b": BROKEN, "v": BROKEN, "w": BROKEN}
    pools = [pool(), pool("2"), pool("3", 0, 0, 0)]
    choice = choose(drawn, pools, Seen(same | looked), BITS, set("ABDEFGU"))
    refused = {i: (r.reason, r.detail) for i, r in choice.refused.items() if r is not BROKEN}
    assert refused == {
        "F": ("no_place", "training takes 4 photos of label 1 (id 1)"),
        "G": ("no_place", "training takes 0 photos of label 3 (id 3)"),
        **{
            i: ("duplicate", f"the same content as {mine}, which was corrected")
            for i, mine in (("c", "U"), ("z", "A"), ("f", "F"), ("g", "G"))
        },
    }


def test_what_looks_like_a_corrected_photo_is_not_in_the_test() -> None:
    # e and y are drawn for the test and look like A: e's pool has no room beside A, y's has, as u is broken.
    drawn = {"1": list("Abcdef"), "2": list("uvwxyz")}
    seen = Seen({"e": facts("A~"), "y": facts("A~"), "u": BROKEN})
    choice = choose(drawn, [pool(), pool("2")], seen, BITS, set("A"))
    assert choice.refused["e"].detail == "looks like A, which is in sft"
    assert (splits(choice)["A"], splits(choice)["y"], choice.taken["y"].near_duplicate_of) == (
        "sft",
        "sft",
        "A",
    )
    assert {i for i, s in splits(choice).items() if s == "test"} == {"f", "z"}


def test_one_content_that_was_corrected_as_two_things_is_left_out() -> None:
    drawn = {"1": list("Abcdefg"), "2": list("Uvwxyz")}
    seen = Seen({"A": facts("U"), "c": facts("U")})
    choice = choose(drawn, [pool(), pool("2")], seen, BITS, set("AU"))
    assert {i: (r.reason, r.detail) for i, r in choice.refused.items()} == {
        "A": ("contradiction", "its content was corrected as A and as U"),
        "U": ("contradiction", "its content was corrected as A and as U"),
        "c": ("duplicate", "the same content as A, which was corrected"),
    }


def test_take_all_keeps_corrected_photos_and_gives_the_test_what_is_left() -> None:
    pools = [pool("1", 4, 2, 2)]
    for drawn, expected in (
        ("ABCDEF", {"sft": 4, "grpo": 2}),
        ("ABCDEFGH", {"sft": 4, "grpo": 2}),
        ("ABCDEx", {"sft": 3, "grpo": 2, "test": 1}),  # 3, 1.5 and 1.5 of 6
        ("ABxyz", {"sft": 3, "grpo": 1, "test": 1}),  # 2.5, 1.25 and 1.25 of 5
    ):
        mine = {i for i in drawn if i.isupper()}
        choice = choose_all({"1": list(drawn)}, pools, Seen(), BITS, mine)
        assert Counter(splits(choice).values()) == expected, drawn
        assert {i for i, s in splits(choice).items() if s == "test"} & mine == set()
        assert [i for i, r in choice.refused.items() if r.reason != "no_place"] == []
        assert len(choice.taken) + len(choice.refused) == len(drawn)


KINDS = ("drawn", "drawn", "mine", "broken")


@settings(max_examples=100, deadline=None)
@given(
    looks=st.lists(
        st.tuples(st.integers(0, 12), st.integers(0, 3), st.sampled_from(KINDS)),
        min_size=1,
        max_size=60,
    ),
    wanted=st.tuples(*[st.integers(0, 5)] * 3),
)
def test_whatever_is_corrected_is_trained_on_or_told_of(
    looks: list[tuple[int, int, str]], wanted: tuple[int, int, int]
) -> None:
    """Photos of thirteen places, each seen in four ways a bit apart, some corrected, in two pools."""
    outcomes: dict[str, Outcome] = {}
    for k, (place, way, kind) in enumerate(looks):
        bits = int(facts(str(place)).dhash, 16) ^ (1 << way)
        seen = PhotoFacts(1, 1, 1, f"{place}-{way}", f"{bits:064x}", 1)
        outcomes[str(k)] = BROKEN if kind == "broken" else seen
    mine = {str(k) for k, (_, _, kind) in enumerate(looks) if kind == "mine"}
    content = {i: outcome.sha256 for i, outcome in outcomes.items() if isinstance(outcome, PhotoFacts)}
    order = sorted(outcomes, key=lambda i: i not in mine)
    drawn = {"1": [i for i in order if int(i) % 2], "2": [i for i in order if not int(i) % 2]}
    pools = [pool("1", *wanted), pool("2", *wanted[::-1])]
    for take in (choose, choose_all):
        choice = take(drawn, pools, Seen(outcomes), BITS, mine)
        where = splits(choice)
        assert {where[i] for i in mine & where.keys()} <= {"sft", "grpo"}
        assert mine <= where.keys() | choice.refused.keys()
        # No content by another name than the one it was corrected under, and none twice.
        corrected = {content[i] for i in mine}
        assert [i for i in where if i not in mine and content[i] in corrected] == []
        assert len({content[i] for i in where}) == len(where)
        counts = Counter((p.pool.name, p.split) for p in choice.taken.values())
        assert all(counts[of.name, s] <= of.wanted[s] for of in pools for s in SPLITS)
        for a, b in combinations(choice.taken.values(), 2):
            distance = (int(a.facts.dhash, 16) ^ int(b.facts.dhash, 16)).bit_count()
            assert distance > BITS or a.split == b.split
        for of in pools:
            without_place = [i for i in drawn[of.name] if i in choice.refused]
            if take is choose and any(choice.refused[i].reason == "no_place" for i in without_place):
                assert counts[of.name, "sft"] + counts[of.name, "grpo"] == of.training

from collections import Counter
from itertools import pairwise

import pytest

from lng_kedro.training.order import SimilarLengths

# Every second of 64 samples is three times as long; the longest of all is the last.
LENGTHS = [100 + 200 * (i % 2) for i in range(63)] + [301]


def order(seed=1, epoch=0, lengths=LENGTHS, per_step=2, **options):
    sampler = SimilarLengths(lengths, per_step, seed, **options)
    sampler.set_epoch(epoch)
    found = list(sampler)
    assert len(sampler) == len(found)
    return found


def steps(found, size=2):
    return [found[i : i + size] for i in range(0, len(found), size)]


def test_a_step_holds_samples_of_similar_length():
    found = order()
    assert sorted(found) == list(range(64))
    mixed = sum(max(LENGTHS[i] for i in step) > 2 * min(LENGTHS[i] for i in step) for step in steps(found))
    assert mixed <= 5, "of 32; at random it would be 16"


def test_long_steps_lie_among_short_ones():
    lengths = [LENGTHS[i] for i in order()]
    # Grouped only, it would go from long to short once in each of four parts of the data.
    assert sum(a > 2 * b for a, b in pairwise(lengths[::2])) > 4


def test_the_longest_sample_comes_first():
    assert all(63 in order(seed)[:2] for seed in range(5))


def test_the_order_is_that_of_seed_and_epoch():
    assert order(1, 3) == order(1, 3)
    assert order(1, 3) != order(1, 4)
    assert order(1, 3) != order(2, 3)


@pytest.mark.parametrize(("repeats", "count"), [(0, 7), (2, 12)])
def test_a_step_that_is_not_full_comes_last_or_not_at_all(repeats, count):
    """TRL's GRPO can do whole steps only; SFT takes what is left over."""
    found = order(lengths=[5, 1, 4, 2, 6, 3, 7], per_step=3, repeats=repeats)
    assert len(found) == count
    if not repeats:
        assert sorted(found) == list(range(7))


def test_grpo_gets_groups_of_candidates_and_the_step_again_for_each_of_its_parts():
    found = order(lengths=[3, 1, 2, 4], per_step=2, candidates=3, repeats=2)
    assert len(found) == 4 * 3 * 2
    for half in (found[:12], found[12:]):
        assert half[:6] == half[6:]
        assert all(len(set(group)) == 1 for group in steps(half, 3))
        assert Counter(half) == dict.fromkeys(half, 6)

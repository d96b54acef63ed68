"""An evaluation that is cut off goes on, and redoes one batch at most."""

import json
from functools import partial

import pytest

from lng_kedro.prompts import chat_prompt
from lng_kedro.vlm.adapter import adapter_hash
from lng_kedro.vlm.answers import (
    EvaluationStopped,
    answer_file,
    answers_on_disk,
    forget_answers,
)
from lng_kedro.vlm.generate import generate_answers
from lng_kedro.vlm.load import load_vlm

BATCH, LIMIT = 2, 48


@pytest.fixture(scope="module")
def vlm(vlm_params):
    return load_vlm(vlm_params)


@pytest.fixture(scope="module")
def prompt(vlm, taxonomy):
    return chat_prompt(taxonomy, vlm.frame)


@pytest.fixture(scope="module")
def expected(vlm, prompt, photos):
    return list(
        generate_answers(vlm, prompt, [partial(photos.load, f"p{i}") for i in range(6)], BATCH, LIMIT)
    )


def loaders(photos, opened, broken_at=None):
    """Of six photos; notes which were opened, and may break at one of them."""

    def load(i):
        if i == broken_at:
            raise OSError("cut off")
        opened.append(i)
        return photos.load(f"p{i}")

    return [partial(load, i) for i in range(6)]


def same(found, expected):
    assert [a.text for a in found] == [a.text for a in expected]
    assert [a.n_tokens for a in found] == [a.n_tokens for a in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-4)


@pytest.mark.parametrize("broken_at", [1, 2, 5])
def test_it_goes_on_after_the_last_batch(vlm, prompt, photos, expected, tmp_path, broken_at):
    file, opened = answer_file(tmp_path, "a"), []
    with pytest.raises(OSError, match="cut off"):
        answers_on_disk(file, vlm, prompt, loaders(photos, opened, broken_at), BATCH, LIMIT)
    assert not file.exists()
    opened.clear()
    same(answers_on_disk(file, vlm, prompt, loaders(photos, opened), BATCH, LIMIT), expected)
    assert opened == list(range(broken_at // BATCH * BATCH, 6))
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_answers_that_are_there_are_not_asked_for_again(vlm, prompt, photos, expected, tmp_path):
    file = answer_file(tmp_path, "a")
    answers_on_disk(file, vlm, prompt, loaders(photos, []), BATCH, LIMIT)
    opened = []
    same(answers_on_disk(file, vlm, prompt, loaders(photos, opened), BATCH, LIMIT), expected)
    assert opened == []


@pytest.mark.parametrize("end", [b'{"text": "[{', b"\0" * 50, b'{"text": "[{\n', None])
def test_half_a_line_is_redone(vlm, prompt, photos, expected, tmp_path, end):
    file, opened = answer_file(tmp_path, "a"), []
    with pytest.raises(OSError, match="cut off"):
        answers_on_disk(file, vlm, prompt, loaders(photos, [], 4), BATCH, LIMIT)
    unfinished = file.with_suffix(".part")
    *whole, last = unfinished.read_bytes().splitlines(keepends=True)
    # A power cut in the middle of the fourth answer, or before the end of its line.
    unfinished.write_bytes(b"".join(whole) + (last[:-1] if end is None else end))
    same(answers_on_disk(file, vlm, prompt, loaders(photos, opened), BATCH, LIMIT), expected)
    assert opened == [3, 4, 5]
    assert len([json.loads(line) for line in file.read_text().splitlines()]) == 6


def test_two_commands_do_not_write_the_same_answers(vlm, prompt, photos, expected, tmp_path):
    file = answer_file(tmp_path, "a")

    def second():
        with pytest.raises(EvaluationStopped, match="Another command is writing the same answers"):
            answers_on_disk(file, vlm, prompt, loaders(photos, []), BATCH, LIMIT)
        return photos.load("p0")

    first = [second, *loaders(photos, [])[1:]]
    same(answers_on_disk(file, vlm, prompt, first, BATCH, LIMIT), expected)


def test_an_answer_of_another_photo_is_not_taken(vlm, prompt, photos, expected, tmp_path):
    file, opened = answer_file(tmp_path, "a"), []
    with pytest.raises(OSError, match="cut off"):
        answers_on_disk(file, vlm, prompt, loaders(photos, [], 4), BATCH, LIMIT)
    unfinished = file.with_suffix(".part")
    lines = unfinished.read_text().splitlines(keepends=True)
    unfinished.write_text("".join([lines[0], lines[0], *lines[1:]]))
    same(answers_on_disk(file, vlm, prompt, loaders(photos, opened), BATCH, LIMIT), expected)
    assert opened == [1, 2, 3, 4, 5]


def test_no_photos_have_no_answers(vlm, prompt, tmp_path):
    assert answers_on_disk(answer_file(tmp_path, "a"), vlm, prompt, [], BATCH, LIMIT) == []


def test_another_question_has_another_file(tmp_path):
    assert answer_file(tmp_path, "a", "b") != answer_file(tmp_path, "a", "c")
    assert answer_file(tmp_path, "a", "b") != answer_file(tmp_path, "ab")
    assert answer_file(tmp_path, "a", "b") == answer_file(tmp_path, "a", "b")


def test_another_adapter_has_another_hash(tmp_path):
    hashes = {adapter_hash(None)}
    for weights, config in ((b"1", b"2"), (b"1", b"3"), (b"2", b"2")):
        (tmp_path / "adapter_model.safetensors").write_bytes(weights)
        (tmp_path / "adapter_config.json").write_bytes(config)
        hashes.add(adapter_hash(tmp_path))
    assert len(hashes) == 4


def test_only_whole_files_are_forgotten(tmp_path):
    for name in ("a.jsonl", "b.part"):
        (tmp_path / name).touch()
    forget_answers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["b.part"]
    forget_answers(tmp_path / "not there")

"""Answers on disk while a model writes them: an evaluation that was cut off redoes one batch at most."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from lng_kedro.files import held
from lng_kedro.prompts import Message
from lng_kedro.vlm.constraint import Constraint
from lng_kedro.vlm.generate import Answer, generate_answers
from lng_kedro.vlm.load import Vlm

logger = logging.getLogger(__name__)

UNFINISHED, WHOLE = ".part", ".jsonl"
"""Ends of the names of files that lack answers and of those that hold all."""


class EvaluationStopped(Exception):  # noqa: N818  it is no error of the program
    """Interrupted, or another command is at it; the message says how it goes on."""


def answer_file(folder: Path, *inputs: str) -> Path:
    """Where answers are kept, named by all that they depend on."""
    name = sha256("\n".join(inputs).encode()).hexdigest()[:16]
    return folder / f"{name}{WHOLE}"


def answers_on_disk(
    file: Path,
    vlm: Vlm,
    prompt: Sequence[Message],
    photos: Sequence[Any],
    batch_size: int,
    max_new_tokens: int,
    constraint: Constraint | None = None,
) -> list[Answer]:
    """As `generate_answers`, but each answer is written to `file`, and those that are there are kept.

    Args:
        file: of `answer_file`; has another end to its name until it holds all answers.
        vlm: the model.
        prompt: chat messages up to the answer.
        photos: callables that give a decoded photo.
        batch_size: photos a batch; another than before gives the same answers.
        max_new_tokens: where an answer is cut off.
        constraint: as `generate_answers` takes it.

    Raises:
        EvaluationStopped: by Ctrl-C, or another command writes these answers.
    """
    if file.exists():
        return _read(file)
    unfinished = file.with_suffix(UNFINISHED)
    file.parent.mkdir(parents=True, exist_ok=True)
    busy = EvaluationStopped(f"Another command is writing the same answers ({unfinished}).")
    with held(unfinished, busy) as lines:
        answers = _read(unfinished)
        if answers:
            logger.info("Going on after %d of %d answers in %s", len(answers), len(photos), unfinished)
        try:
            rest = photos[len(answers) :]
            for answer in generate_answers(vlm, prompt, rest, batch_size, max_new_tokens, constraint):
                lines.write(json.dumps({"number": len(answers), **asdict(answer)}) + "\n")
                lines.flush()
                answers.append(answer)
        except KeyboardInterrupt as error:
            done = f"Interrupted after {len(answers)} of {len(photos)} answers"
            raise EvaluationStopped(f"{done}. The same command goes on from there.") from error
    unfinished.replace(file)
    return answers


def forget_answers(folder: Path) -> None:
    """Removes files that hold all answers, once the predictions made of them are stored."""
    for file in folder.glob(f"*{WHOLE}"):
        file.unlink()


def _read(file: Path) -> list[Answer]:
    """Whole lines of a file; what follows the first that is not, as a power cut leaves it, is cut off."""
    answers: list[Answer] = []
    end = 0
    with file.open("rb+") as lines:
        for line in lines:
            try:
                found = json.loads(line)
            except ValueError:
                break
            if not line.endswith(b"\n") or found.pop("number") != len(answers):
                break
            answers.append(Answer(**found | {"scores": tuple(found["scores"])}))
            end += len(line)
        lines.truncate(end)
    return answers

"""A trained adapter, how it is spoken with and was trained, and the photos that it learned from."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

from lng_kedro.unseen import Contents, stored_contents
from lng_kedro.vlm.dialogue import Dialogue

WEIGHTS = "adapter_model.safetensors"
LEARNED_FROM = "learned_from.json"
DIALOGUE = "dialogue.json"
TRAINED = "trained.json"


class TrainedStage(BaseModel):
    """One stage of an adapter's training; parameters of conf/ may be others by now.

    Attributes:
        stage: ``SFT`` or ``GRPO``.
        checkpoint: the base model, a name on the Hugging Face hub or a folder.
        revision: of the hub's repository.
        precision: of the frozen weights.
        photos: how many it learned from.
        data_sha256: of these photos and their true answers.
        parameters: of the stage.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    checkpoint: str
    revision: str
    precision: str
    photos: int
    data_sha256: str
    parameters: dict[str, Any]


_STAGES = TypeAdapter(list[TrainedStage])


@dataclass(frozen=True)
class Adapter:
    """An adapter in memory.

    Attributes:
        model: a `PeftModel`.
        dialogue: how it was spoken with.
        learned_from: the photos that it was trained on, in all of its stages.
        stages: how it was trained, first to last.
    """

    model: Any
    dialogue: Dialogue
    learned_from: Contents
    stages: Sequence[TrainedStage] = ()

    def save_pretrained(self, folder: str, **how: Any) -> None:
        """Writes the adapter as PEFT does, and beside it what is needed to use it and to test it."""
        self.model.save_pretrained(folder, **how)
        Path(folder, DIALOGUE).write_text(self.dialogue.model_dump_json(indent=1), encoding="utf-8")
        learned = json.dumps(dict(self.learned_from), sort_keys=True)
        Path(folder, LEARNED_FROM).write_text(learned, encoding="utf-8")
        Path(folder, TRAINED).write_bytes(_STAGES.dump_json(list(self.stages), indent=1))


def stored_dialogue(folder: Path) -> Dialogue:
    """How a stored adapter is spoken with.

    Raises:
        ValueError: nothing says it, or not so that it can be understood.
    """
    file = folder / DIALOGUE
    try:
        return Dialogue.model_validate_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{file} is missing: it says how the adapter is asked. Train it again.") from error
    except ValueError as error:
        raise ValueError(f"{file} does not say how the adapter is asked: {error}") from error


def learned_from(folder: Path | None) -> Contents:
    """The photos that a stored adapter was trained on; none for a bare model or a foreign one."""
    file = folder and folder / LEARNED_FROM
    return stored_contents(json.loads(file.read_text(encoding="utf-8")) if file and file.is_file() else [])


def trained_stages(folder: Path | None) -> list[TrainedStage]:
    """How a stored adapter was trained, first stage to last; nothing where nobody wrote it down."""
    file = folder and folder / TRAINED
    return _STAGES.validate_json(file.read_bytes()) if file and file.is_file() else []


def adapter_hash(folder: Path | None) -> str:
    """SHA-256 of an adapter's weights and configuration; of a bare model, of nothing."""
    whole = sha256()
    for name in ("adapter_config.json", WEIGHTS) if folder else ():
        whole.update((folder / name).read_bytes())  # type: ignore[operator]  # there is a folder
    return whole.hexdigest()

"""A trained adapter, how it is spoken with, and the photos that it learned from."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from lng_kedro.vlm.dialogue import Dialogue

WEIGHTS = "adapter_model.safetensors"
LEARNED_FROM = "learned_from.json"
DIALOGUE = "dialogue.json"


@dataclass(frozen=True)
class Adapter:
    """An adapter in memory.

    Attributes:
        model: a `PeftModel`.
        dialogue: how it was spoken with.
        learned_from: ids of the photos that it was trained on, in all of its stages.
    """

    model: Any
    dialogue: Dialogue
    learned_from: Iterable[str]

    def save_pretrained(self, folder: str, **how: Any) -> None:
        """Writes the adapter as PEFT does, and beside it what is needed to use it and to test it."""
        self.model.save_pretrained(folder, **how)
        Path(folder, DIALOGUE).write_text(self.dialogue.model_dump_json(indent=1), encoding="utf-8")
        Path(folder, LEARNED_FROM).write_text(json.dumps(sorted(self.learned_from)), encoding="utf-8")


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


def learned_from(folder: Path | None) -> set[str]:
    """Ids of the photos that a stored adapter was trained on; none for a bare model or a foreign one."""
    file = folder and folder / LEARNED_FROM
    return set(json.loads(file.read_text(encoding="utf-8"))) if file and file.is_file() else set()


def adapter_hash(folder: Path | None) -> str:
    """SHA-256 of an adapter's weights and configuration; of a bare model, of nothing."""
    whole = sha256()
    for name in ("adapter_config.json", WEIGHTS) if folder else ():
        whole.update((folder / name).read_bytes())  # type: ignore[operator]  # there is a folder
    return whole.hexdigest()


def known_adapter_hash(folder: Path) -> str | None:
    """The same of a folder that may hold no adapter, but the merged model, or only how it is asked."""
    return adapter_hash(folder) if (folder / WEIGHTS).is_file() else None

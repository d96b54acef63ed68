"""A trained adapter, and the photos that it learned from: nobody may test it on them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

LEARNED_FROM = "learned_from.json"


@dataclass(frozen=True)
class Adapter:
    """An adapter in memory.

    Attributes:
        model: a `PeftModel`.
        learned_from: ids of the photos that it was trained on, in all of its stages.
    """

    model: Any
    learned_from: Iterable[str]

    def save_pretrained(self, folder: str, **how: Any) -> None:
        """Writes the adapter as PEFT does, and its photos beside it."""
        self.model.save_pretrained(folder, **how)
        Path(folder, LEARNED_FROM).write_text(json.dumps(sorted(self.learned_from)), encoding="utf-8")


def learned_from(folder: Path | None) -> set[str]:
    """Ids of the photos that a stored adapter was trained on; none for a bare model or a foreign one."""
    file = folder and folder / LEARNED_FROM
    return set(json.loads(file.read_text(encoding="utf-8"))) if file and file.is_file() else set()


def adapter_hash(folder: Path | None) -> str:
    """SHA-256 of an adapter's weights and configuration; of a bare model, of nothing."""
    whole = sha256()
    for name in ("adapter_config.json", "adapter_model.safetensors") if folder else ():
        whole.update((folder / name).read_bytes())  # type: ignore[operator]  # there is a folder
    return whole.hexdigest()

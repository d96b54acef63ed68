"""A LoRA adapter as PEFT stores it."""

from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from lng_kedro.datasets.folders import new_folder
from lng_kedro.vlm.adapter import DIALOGUE, WEIGHTS


class AdapterDataset(AbstractDataset[Any, Path]):
    """Saves an `Adapter` (safetensors) atomically; loads the path of its folder.

    Example:
        >>> adapter = AdapterDataset(filepath="data/06_models/gemma_3_4b/sft_adapter")
        >>> adapter.save(Adapter(peft_model, dialogue, learned_from))
        >>> PeftModel.from_pretrained(base, adapter.load())
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def save(self, data: Any) -> None:
        """Writes the adapter beside its place and moves it there when it is whole."""
        with new_folder(self._filepath) as folder:
            # The frozen reference policy of GRPO is an adapter too; only the trained one is kept.
            data.save_pretrained(folder, selected_adapters=["default"])

    def load(self) -> Path:
        """Folder of the adapter."""
        if not self._exists():
            raise DatasetError(f"There is no adapter at {self._filepath}.")
        return self._filepath

    def _exists(self) -> bool:
        return (self._filepath / WEIGHTS).is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class AdapterInUseDataset(AbstractDataset[NoReturn, Path | None]):
    """A stored adapter that is used and never written; without a path a bare model, loaded as None.

    Where a server holds the model, what says how it is asked suffices.

    Example:
        >>> AdapterInUseDataset(filepath="data/06_models/gemma_3_4b/grpo_adapter").load()
    """

    def __init__(self, *, filepath: str | None, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(str(filepath)) if filepath else None
        self.metadata = metadata

    def save(self, data: NoReturn) -> None:  # noqa: ARG002
        """Refused."""
        raise DatasetError("An adapter in use is read only.")

    def load(self) -> Path | None:
        """Folder of the adapter, or None for a bare model."""
        if not self._exists():
            raise DatasetError(self.missing)
        return self._filepath

    @property
    def missing(self) -> str:
        """What to do if there is no adapter."""
        return (
            f"There is no adapter at {self._filepath}: train one, name its folder by --params adapter=PATH, "
            "or take the bare model with --params adapter=null."
        )

    def _exists(self) -> bool:
        return self._filepath is None or any((self._filepath / n).is_file() for n in (WEIGHTS, DIALOGUE))

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}

"""A LoRA adapter as PEFT stores it."""

import tempfile
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError


class AdapterDataset(AbstractDataset[Any, Path]):
    """Saves a `PeftModel`'s adapter (safetensors) atomically; loads the path of its folder.

    Example:
        >>> adapter = AdapterDataset(filepath="data/06_models/gemma_3_4b/sft_adapter")
        >>> adapter.save(peft_model)
        >>> PeftModel.from_pretrained(base, adapter.load())
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def save(self, data: Any) -> None:
        """Writes the adapter beside its place and moves it there when it is whole."""
        self._filepath.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._filepath.parent) as folder:
            # The frozen reference policy of GRPO is an adapter too; only the trained one is kept.
            data.save_pretrained(f"{folder}/new", selected_adapters=["default"])
            if self._filepath.exists():
                self._filepath.replace(f"{folder}/old")
            Path(folder, "new").replace(self._filepath)

    def load(self) -> Path:
        """Folder of the adapter."""
        if not self._exists():
            raise DatasetError(f"There is no adapter at {self._filepath}.")
        return self._filepath

    def _exists(self) -> bool:
        return (self._filepath / "adapter_model.safetensors").is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}

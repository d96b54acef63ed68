"""Photos are processed once a run: training meets each of them many times."""

import os
from hashlib import sha256
from pathlib import Path
from typing import Any


class CachedImageProcessor:
    """Stands before the image processor of a model and keeps what it made of a photo, in a folder.

    Photos must be of one size and have a file, as the processed photos do; they may be unread: only those
    that are not in the folder yet are decoded here. A photo is known by its file's bytes.
    """

    def __init__(self, inner: Any, folder: Path, dtype: Any) -> None:
        """The folder must belong to this processor and its settings alone.

        Pixels are kept in the model's dtype, to which it would turn them: in 16 bits a photo takes some 3 MB.
        """
        self._inner = inner
        self._folder = folder
        self._dtype = dtype
        folder.mkdir(parents=True, exist_ok=True)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """Passes for the processor: transformers stores it, among others, by asking what it is."""
        return type(self._inner)

    def __getattr__(self, name: str) -> Any:
        if name == "_inner":  # not yet there in a copy that is being made
            raise AttributeError(name)
        return getattr(self._inner, name)

    def __call__(self, images: list[list[Any]], **options: Any) -> Any:
        """Features of all photos of a batch, which holds a list of photos a sample."""
        import torch
        from transformers import BatchFeature

        features = [self._features(photo, options) for photos in images for photo in photos]
        return BatchFeature({name: torch.cat([f[name] for f in features]) for name in features[0]})

    def _features(self, photo: Any, options: dict[str, Any]) -> dict[str, Any]:
        from safetensors.torch import load_file, save_file

        path = Path(photo.filename)
        file = self._folder / f"{sha256(path.read_bytes()).hexdigest()}.safetensors"
        if not file.exists():
            try:
                made = self._inner([photo], **options | {"return_tensors": "pt"})
            except OSError as error:
                raise OSError(f"{path} is no whole photo ({error}); run data_processing again") from error
            part = file.with_suffix(f".{os.getpid()}")
            kept = {k: v.to(self._dtype) if v.is_floating_point() else v for k, v in made.items()}
            save_file({name: value.contiguous() for name, value in kept.items()}, part)
            part.replace(file)
        return load_file(file)

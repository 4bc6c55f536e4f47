"""Images that are resized to open sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def resize_to_any_size(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``keras.ops.image.resize`` that does not ask whether open sizes are positive."""
    from keras.src import backend

    def resize(images: Any, size: Any, *args: Any, **options: Any) -> Any:
        known = all(isinstance(n, int) for n in size)
        return (original if known else backend.image.resize)(images, size, *args, **options)

    return resize

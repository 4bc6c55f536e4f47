"""Images resized to sizes that are open: Keras asks whether they are positive.

TensorFlow cannot tell while it traces a function (Keras 3.15), so there the question is left out.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from .frameworks import replaced


@contextlib.contextmanager
def open_sizes(keras: Any) -> Iterator[None]:
    """Have images resized to any sizes while models are traced."""
    image: Any = sys.modules[keras.ops.image.resize.__module__]
    original = image.resize

    def resize(images: Any, size: Any, *args: Any, **options: Any) -> Any:
        known = all(isinstance(n, int) for n in size)
        return (original if known else image.backend.image.resize)(images, size, *args, **options)

    with replaced(image, "resize", resize):
        yield

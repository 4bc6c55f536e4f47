"""Frameworks: importing them, and turning their failures into errors of ours."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import ImportFailed, SardonyxError, reason


def require(package: str, extra: str) -> Any:
    """Import a package of a framework.

    Raises
    ------
    ImportFailed
        It is not installed; names the extra that brings it.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportFailed(
            f"this model needs {package}, whose import failed ({error}): "
            f"pip install 'sardonyx[{extra}]'"
        ) from error


@contextmanager
def conversion(framework: str, what: str) -> Iterator[None]:
    """Turn whatever a framework raises into `ImportFailed`, with the reason in one line."""
    try:
        yield
    except SardonyxError:
        raise
    except Exception as error:
        raise ImportFailed(f"{framework} could not convert {what}: {reason(error)}") from error


def common_batch_size(inputs: Sequence[Any]) -> int | None:
    """Size of the first axis of the array inputs, when all have one and the same."""
    sizes = {np.shape(value)[0] if len(np.shape(value)) else None for value in inputs}
    size = sizes.pop() if len(sizes) == 1 else None
    return None if size is None else int(size)


def plain_array(array: np.ndarray) -> np.ndarray:
    """Return a result of a framework as the runtime gives it: no bytes, and no bfloat16."""
    if array.dtype == object:
        texts = [each.decode() if isinstance(each, bytes) else each for each in array.flat]
        return np.array(texts, object).reshape(array.shape)
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array

"""What the importers of the frameworks share: finding the framework, and naming its failures."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx_ir as ir

from ..errors import ImportFailed, SardonyxError

_REASON_LENGTH = 500


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
            f"this model needs {package}, which cannot be imported ({error}): "
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


def reason(error: Exception) -> str:
    """What an exception of a framework says, in one line of bounded length."""
    return " ".join(str(error).split())[:_REASON_LENGTH] or type(error).__name__


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Have something else in the place of a framework's function or method, for a while."""
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)


def batches(inputs: Sequence[Any]) -> int | None:
    """Size of the first axis of the array inputs, when all have one and the same."""
    sizes = {np.shape(value)[0] if len(np.shape(value)) else None for value in inputs}
    size = sizes.pop() if len(sizes) == 1 else None
    return None if size is None else int(size)


def numbered(name: str, used: Container[str | None]) -> str:
    """Give a name a number that makes it one that is not used."""
    return next(n for n in (f"{name}_{k}" for k in itertools.count(1)) if n not in used)


def rename(model: ir.Model, values: Sequence[ir.Value], names: Sequence[str]) -> None:
    """Give inputs or outputs of a model other names; what is inside makes room for them.

    A name stays as it is where a constant, another input or another output has the new one.
    """
    graph = model.graph
    first = {name: value for value, name in reversed(list(zip(values, names, strict=False)))}
    new = {value: name for name, value in first.items() if name and not value.is_initializer()}
    ends = [value for value in [*graph.inputs, *graph.outputs] if value not in new]
    kept = {value.name for value in ends} | set(graph.initializers)
    new = {value: name for value, name in new.items() if name not in kept}
    made = {value: None for node in graph for value in node.outputs}  # in their order
    inside = {value.name: value for value in made if value not in new}
    used = {*kept, *inside, *new.values()}
    for value, name in new.items():
        if name in inside:
            inside[name].name = other = numbered(name, used)
            used.add(other)
        value.name = name

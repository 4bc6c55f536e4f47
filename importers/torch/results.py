"""Results of a PyTorch module: the tensors in them, by their names."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

from .call import Call

_NO_PARTS = (str, bytes, int, float, complex, bool, type(None))


def tensors_of(result: Any) -> list[Any]:
    """All tensors of a result, also those in objects, such as a cache of transformers."""
    return [tensor for _, tensor in named_tensors(result)]


def named_tensors(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Walk over the tensors of a result, in order, with the path that leads to each."""
    import torch

    if isinstance(value, torch.Tensor):
        yield name, value
        return
    for key, part in _parts(value):
        yield from named_tensors(part, f"{name}.{key}" if name else str(key))


def _parts(value: Any) -> Iterator[tuple[Any, Any]]:
    import torch

    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, list | tuple):
        yield from enumerate(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield field.name, getattr(value, field.name)
    elif not isinstance(value, (*_NO_PARTS, type, torch.nn.Module, torch.dtype, torch.device)):
        yield from getattr(value, "__dict__", {}).items()


def with_plain_results(module: Any, call: Call) -> Any:
    """Return a module that returns tensors by their names, if the module returns objects.

    PyTorch exports tuples, lists, mappings and classes that are registered with it.
    """
    import torch

    try:
        with torch.no_grad():
            result = call.run(module)
    except Exception:  # the export says why
        return module
    leaves = torch.utils._pytree.tree_leaves(result)
    if all(isinstance(leaf, (torch.Tensor, *_NO_PARTS)) for leaf in leaves):
        return module

    class Plain(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

    @functools.wraps(module.forward)  # whose parameters name the inputs
    def forward(*args: Any, **kwargs: Any) -> dict[str, Any]:
        named = named_tensors(plain.module(*args, **kwargs))
        return {f"output_{name}" if name.isdigit() else name: value for name, value in named}

    plain = Plain().eval()
    plain.forward = forward
    return plain

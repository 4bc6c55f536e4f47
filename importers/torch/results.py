"""Results of a PyTorch module: the tensors in them, by their names."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Set
from typing import Any

from .call import Call
from .wrapper import takes_by_name, wrapper

_NO_PARTS = (str, bytes, int, float, complex, bool, type(None))


def tensors_of(result: Any) -> list[Any]:
    """All tensors of a result, also those in objects, such as a cache of transformers."""
    return [tensor for _, tensor in named_tensors(result)]


def named_tensors(value: Any) -> Iterator[tuple[str, Any]]:
    """Walk over the tensors of a result, in order, with the path that leads to each."""
    import torch

    return ((name, leaf) for name, leaf in named_leaves(value) if isinstance(leaf, torch.Tensor))


def named_leaves(
    value: Any, name: str = "", within: Set[int] = frozenset(), *, private: bool = False
) -> Iterator[tuple[str, Any]]:
    """Walk over what a result is made of, without or with private attributes of objects.

    Parameters
    ----------
    value
    name : str
        The path that leads to it.
    within : set of int
        Identities of the objects that contain it.
    """
    import torch

    if isinstance(value, (torch.Tensor, *_NO_PARTS)):
        yield name, value
    elif id(value) not in within:
        for key, part in _parts(value, private):
            path = f"{name}.{key}" if name else str(key)
            yield from named_leaves(part, path, {*within, id(value)}, private=private)


def _parts(value: Any, private: bool) -> Iterator[tuple[Any, Any]]:
    import torch

    opaque = (
        type, torch.nn.Module, torch.dtype, torch.device,
        torch.SymInt, torch.SymFloat, torch.SymBool,
    )  # fmt: skip
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, list | tuple):
        yield from enumerate(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield field.name, getattr(value, field.name)
    elif not isinstance(value, opaque):
        for key, part in getattr(value, "__dict__", {}).items():
            if private or not key.startswith("_"):
                yield key, part


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
        return module if takes_by_name(module, call) else wrapper(module, call, _run)
    return wrapper(module, call, _plain)


def _run(module: Any, call: Call) -> Any:
    return call.run(module)


def _plain(module: Any, call: Call) -> dict[str, Any]:
    named = named_tensors(call.run(module))
    return {f"output_{name}" if name.isdigit() else name: value for name, value in named}

"""Arguments of a PyTorch module that are objects with tensors, such as a cache of transformers."""

from __future__ import annotations

import copy
from typing import Any

from ...errors import UnsupportedModel
from ...unique_names import UniqueNames
from .call import Call
from .results import named_leaves, named_tensors
from .wrapper import wrapper


def with_plain_arguments(module: Any, call: Call) -> tuple[Any, Call]:
    """Return a module that takes mappings of tensors where the module takes objects, and its call.

    It puts the tensors into copies of the objects, because a module may change these. Where the
    call has no objects, both are returned as they are.

    Raises
    ------
    UnsupportedModel
        The module counts something in an object: inputs of a model are tensors only.
    """
    plain_call = call.map_leaves(_plain)
    if len(plain_call.tensors) == len(call.tensors):
        return module, call
    counted = _counted(module, call)
    if counted:
        raise UnsupportedModel(
            f"{type(module).__name__} changes {', '.join(counted)} of its arguments when it is "
            "called: a model takes and returns tensors only; give an object without such numbers"
        )

    def filled(module: Any, plain: Call) -> Any:
        return _filled(call, plain.tensors).run(module)

    return wrapper(module, plain_call, filled), plain_call


def _plain(leaf: Any) -> Any:
    """Return the tensors of an object by their names; anything else as it is."""
    import torch

    if isinstance(leaf, torch.Tensor):
        return leaf
    names = UniqueNames()
    # PyTorch writes conditions on sizes as code, with these names.
    named = {names.unique(path.replace(".", "_")): tensor for path, tensor in named_tensors(leaf)}
    return named or leaf


def _filled(call: Call, tensors: list[Any]) -> Call:
    """Copy the objects of a call, with other tensors in place of their own."""
    others = iter(tensors)

    def visit(leaf: Any) -> Any:
        inside = [id(tensor) for _, tensor in named_tensors(leaf)]
        if not inside:
            return leaf
        copies = {id(part): part for _, part in named_leaves(leaf, private=True)}
        return copy.deepcopy(leaf, copies | dict(zip(inside, others, strict=False)))

    return call.map_leaves(visit)


def _counted(module: Any, call: Call) -> list[str]:
    """Numbers in the arguments of a module that change when it is called."""
    import torch

    own = _filled(call, [tensor.clone() for tensor in call.map_leaves(_plain).tensors])
    before = _numbers(own)
    with torch.no_grad():
        own.run(module)
    after = _numbers(own)
    return [name for name, number in before.items() if after.get(name, number) != number]


def _numbers(call: Call) -> dict[str, float]:
    leaves = [*named_leaves(list(call.args)), *named_leaves(call.kwargs)]
    return {name: leaf for name, leaf in leaves if type(leaf) in (int, float)}

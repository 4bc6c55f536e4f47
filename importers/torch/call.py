"""Call of a PyTorch module: its example arguments, and the tensors among them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import InvalidArgument

TensorAxis = tuple[int, int]
"""An axis of a tensor of a call: (number of the tensor, axis)."""

Dimensions = Sequence[Mapping[int, str]]
"""Names of the open axes of each tensor of a call."""


@dataclass(frozen=True)
class Call:
    """Positional and keyword arguments that a module is called with."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @classmethod
    def of(cls, module: Any, example_inputs: Any) -> Call:
        """Make the call that a user states by one tensor, a sequence or a mapping.

        Raises
        ------
        InvalidArgument
            `example_inputs` is none of these.
        """
        import torch

        if isinstance(example_inputs, Mapping):
            order = [name for name in parameter_names(module) if name in example_inputs]
            order += [name for name in example_inputs if name not in order]
            return cls((), {name: example_inputs[name] for name in order})
        if isinstance(example_inputs, torch.Tensor):
            return cls((example_inputs,), {})
        if isinstance(example_inputs, list | tuple):
            return cls(tuple(example_inputs), {})
        raise InvalidArgument(
            f"example_inputs= is a {type(example_inputs).__name__}: give a tensor, a tuple of the "
            "positional arguments, or a mapping of the keyword arguments"
        )

    @property
    def tensors(self) -> list[Any]:
        """All tensors of the arguments, in order."""
        import torch

        leaves = torch.utils._pytree.tree_leaves((self.args, self.kwargs))
        return [leaf for leaf in leaves if _is_tensor(leaf)]

    def size(self, axis: TensorAxis) -> int:
        """Size of an axis of one of the tensors."""
        return int(self.tensors[axis[0]].shape[axis[1]])

    def run(self, module: Any) -> Any:
        """Call a module."""
        return module(*self.args, **self.kwargs)

    def map_tensors(self, function: Callable[[int, Any], Any]) -> tuple[Any, Any]:
        """Put ``function(number, tensor)`` in the place of each tensor, None in that of all else.

        Returns
        -------
        tuple
            For the positional and for the keyword arguments.
        """
        results = iter([function(number, tensor) for number, tensor in enumerate(self.tensors)])
        call = self.map_leaves(lambda leaf: next(results) if _is_tensor(leaf) else None)
        return call.args, call.kwargs

    def with_tensors(self, tensors: Sequence[Any]) -> Call:
        """Return the call with other tensors."""
        others = iter(tensors)
        return self.map_leaves(lambda leaf: next(others) if _is_tensor(leaf) else leaf)

    def map_leaves(self, function: Callable[[Any], Any]) -> Call:
        """Put ``function(leaf)`` in the place of each argument, or of each part of a container."""
        import torch

        return Call(*torch.utils._pytree.tree_map(function, (self.args, self.kwargs)))

    def unshared(self) -> Call:
        """Copy tensors that occur more than once, and views.

        ``torch.export`` takes the former for one input, and decides by sizes of what views are of.
        """
        seen: set[int] = set()
        tensors = []
        for tensor in self.tensors:
            shared = id(tensor) in seen or tensor._is_view()
            tensors.append(tensor.clone() if shared else tensor)
            seen.add(id(tensor))
        return self.with_tensors(tensors)

    def resized(self, sizes: Mapping[TensorAxis, int]) -> Call:
        """Repeat or cut tensors to other sizes of some axes."""
        import torch

        tensors = []
        for number, tensor in enumerate(self.tensors):
            for axis, old in enumerate(tensor.shape):
                size = sizes.get((number, axis), old)
                if size != old:
                    tensor = tensor.index_select(axis, torch.arange(size) % old)
            tensors.append(tensor)
        return self.with_tensors(tensors)


def _is_tensor(leaf: Any) -> bool:
    import torch

    return isinstance(leaf, torch.Tensor)


def parameter_names(module: Any) -> list[str]:
    """Names of the parameters of a module's ``forward``."""
    import torch

    forward: Any = module.forward
    if isinstance(module, torch.jit.ScriptModule):
        return [argument.name for argument in forward.schema.arguments][1:]  # without self
    return list(inspect.signature(forward).parameters)

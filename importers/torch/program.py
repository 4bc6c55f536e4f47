"""Export through ``torch.export``, PyTorch's exporter of whole programs."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ...errors import ImportFailed, UnsupportedModel
from ...logs import silenced
from ..frameworks import conversion
from ..names import rename
from ..onnx.loader import from_onnx
from .call import Call, Dimensions
from .dims import Axes, fixed_axes, name_dimensions, plans, requested_names, without_names
from .export import Export
from .promotion import promote_numbers

if TYPE_CHECKING:
    import onnx_ir as ir


class ProgramExport(Export):
    """Export of a module as an exported program."""

    def with_shapes(self, dynamic_shapes: Any) -> ir.Model:
        """Export with the open dimensions that the caller states."""
        program = self._program(without_names(dynamic_shapes) or None, self.call)
        return self._convert(program, requested_names(dynamic_shapes, self.call))

    def with_most_open_dimensions(self) -> ir.Model:
        """Export with as many open dimensions as the module allows."""
        attempts = (partial(self._with_plan, *plan) for plan in plans(self.call))
        return self.first_success(attempts, "a fixed batch size")

    def _with_plan(self, shapes: Callable[[Axes], Any], call: Call) -> ir.Model:
        program = self._program(shapes(frozenset()), call)
        fixed = fixed_axes(self.module, program, call)
        if fixed:
            program = self._program(shapes(fixed), call)
        return self._convert(program)

    def with_dimensions(self, dims: Dimensions) -> ir.Model:
        """Export a module whose arguments are ``*tensors``, with the dimensions that are open.

        Raises
        ------
        UnsupportedModel
            It computes something else for other sizes.
        Exception
            PyTorch's, where it fails, or the module is one for the sizes of the examples only.
        """
        import torch

        free = torch.export.Dim.DYNAMIC  # which fails where AUTO would take the example's size
        shapes = (tuple(dict.fromkeys(axes, free) for axes in dims),)  # of all the ``*arguments``
        program = self._program(shapes, self.call)
        self._check_other_sizes(program, dims)
        return self._convert(program, dims)

    def _program(self, shapes: Any, call: Call) -> Any:
        import torch

        with _silenced():
            return torch.export.export(self.module, call.args, call.kwargs, dynamic_shapes=shapes)

    def _convert(self, program: Any, dims: Dimensions = ()) -> ir.Model:
        return convert_program(program, self.title, dims, self.input_names, self.output_names)

    def _check_other_sizes(self, program: Any, dims: Dimensions) -> None:
        """Compare the program with its module for sizes that the program says it is not for.

        Where the module decides by a size (such as between a padding on one side and on both),
        PyTorch keeps its decision for the examples as a condition of the program, and says nothing.
        Often both branches compute the same.

        Raises
        ------
        UnsupportedModel
            They differ.
        """
        tensors = self.call.tensors
        axes = {(n, axis): tensors[n].shape[axis] for n, names in enumerate(dims) for axis in names}
        for more in (1, 3) if axes else ():
            other = self.call.resized({axis: size + more for axis, size in axes.items()})
            with contextlib.suppress(AssertionError):
                other.run(program.module())
                continue
            result = other.run(program.module(check_guards=False))
            if not _close(result, other.run(self.module)):
                raise UnsupportedModel(
                    f"{self.title} computes something else for other sizes of its open dimensions, "
                    "such as an average pooling that pads one side or both; give its inputs all "
                    "sizes but that of the batch"
                )


def convert_program(
    program: Any,
    title: str,
    dims: Dimensions = (),
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> ir.Model:
    """Convert an exported program to ONNX, and name inputs, outputs and open dimensions."""
    import torch

    changed = _changed_buffers(program)
    if changed:
        warnings.warn(
            f"{title} changes its {', '.join(changed)} when it is called; as a model it begins "
            "with the present value in every run",
            stacklevel=2,
        )
    with conversion("PyTorch", title), _silenced():
        exported: Any = torch.onnx.export(program, dynamo=True, verbose=False)
    if exported is None:
        raise ImportFailed(f"PyTorch could not convert {title}: its exporter returned no model")
    graph = exported.model.graph
    promote_numbers(graph)
    rename(exported.model, graph.inputs, input_names or ())
    rename(exported.model, graph.outputs, output_names or _output_names(program))
    name_dimensions(exported.model, dims)
    return from_onnx(exported.model, trusted=True)  # torch.export guards them


def _close(result: Any, expected: Any) -> bool:
    import torch

    flat = torch.utils._pytree.tree_leaves
    return all(
        a.shape == b.shape and torch.allclose(a, b, rtol=1e-3, atol=1e-4)
        for a, b in zip(flat(result), flat(expected), strict=True)
    )


def _changed_buffers(program: Any) -> list[str]:
    schemas = [getattr(node.target, "_schema", None) for node in program.graph.nodes]
    if any(schema is not None and schema.is_mutable for schema in schemas):
        with _silenced():  # which lists the buffers that are changed
            program = program.run_decompositions({})
    return list(program.graph_signature.buffers_to_mutate.values())


def _output_names(program: Any) -> list[str]:
    """Keys of a mapping, such as transformers' models return; none for other results."""
    import torch

    spec = program.call_spec.out_spec
    try:
        result = torch.utils._pytree.tree_unflatten(range(spec.num_leaves), spec)
    except Exception:  # a class that takes no numbers for tensors
        return []
    flat = isinstance(result, Mapping) and list(result.values()) == list(range(spec.num_leaves))
    return [str(key) for key in result] if flat else []


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Keep notes of the exporter off the terminal; what goes wrong is raised."""
    loggers = ("torch.onnx", "torch.export", "torch.fx")
    with silenced(*loggers, level=logging.ERROR), warnings.catch_warnings(action="ignore"):
        yield

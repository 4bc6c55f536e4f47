"""Export through ``torch.export``, PyTorch's exporter of whole programs."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import onnx_ir as ir

from ...errors import ImportFailed, UnsupportedModel
from ...logs import silenced
from ...patches import applied
from ..names import rename
from ..onnx.loader import from_onnx
from .attention import translations
from .call import Call, Dimensions, TensorAxis
from .comparison import runs
from .dims import (
    Ranges,
    closed_axes,
    dimension,
    name_dimensions,
    plans,
    refused_axes,
    requested_names,
    stated_ranges,
    without_names,
)
from .explain import conversion
from .export import Export
from .patches import EXPRESSIONS
from .projections import without_projections
from .promotion import promote_numbers
from .results import named_leaves
from .sizes import Findings, OpenSizes, open_shapes, refused, try_sizes
from .squeezes import squeeze


class ProgramExport(Export):
    """Export of a module as an exported program."""

    def with_shapes(self, dynamic_shapes: Any) -> ir.Model:
        """Export with the open dimensions that the caller states.

        Raises
        ------
        UnsupportedModel
            The module computes something else for other sizes of them.
        """
        names = requested_names(dynamic_shapes, self.call)
        named = [(number, axis) for number, axes in enumerate(names) for axis in axes]
        # An axis of size 1 would be taken for a constant.
        call = self.call.resized({axis: 2 for axis in named if self.call.size(axis) == 1})
        call = call if runs(self.module, call) else self.call
        program = self._program(without_names(dynamic_shapes) or None, call)
        for number, axis in named:
            if str(open_shapes(program)[number][axis]).isdigit():
                place = dimension(program, [(number, axis)])
                warnings.warn(
                    f"{place}, which dynamic_shapes= names, is fixed: it takes no other size",
                    stacklevel=6,
                )
        return self._checked(program, call, stated_ranges(dynamic_shapes, self.call), names)

    def with_most_open_dimensions(self) -> ir.Model:
        """Export with as many open dimensions as the module allows."""
        return self.first_success(
            (plan.limitation, partial(self._with_plan, plan.shapes, plan.call))
            for plan in plans(self.call)
        )

    def _with_plan(self, shapes: Callable[..., Any], call: Call) -> ir.Model:
        with applied([EXPRESSIONS]):
            return self._as_open(shapes, call)

    def _as_open(self, shapes: Callable[..., Any], call: Call) -> ir.Model:
        fixed = set(refused_axes(self.module, call))
        program = self._program(shapes(fixed), call)
        closed, alike = closed_axes(self.module, program, call)
        fixed |= closed
        if closed or alike:
            program = self._program(shapes(fixed, alike), call)
        told: list[str] = []
        while True:
            exported = to_onnx(program, self.title)
            findings = self._try_sizes(exported, call, {})
            if not findings.differing:
                break
            for axes, size in findings.differing.items():
                example = self.call.size(axes[0])
                if call.size(axes[0]) != example:
                    raise UnsupportedModel(self._told(program, axes, size))
                told.append(
                    f"{self._told(program, axes, size)}. The model has it fixed at {example}"
                )
                fixed.update(axes)
            program = self._program(shapes(fixed, alike), call)
        for text in told:
            warnings.warn(text, stacklevel=9)
        return self._finished(exported, findings)

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
        return self._checked(program, self.call, {}, dims)

    def _program(self, shapes: Any, call: Call) -> Any:
        import torch

        with _silenced(), torch.no_grad():  # as in `to_onnx`
            return torch.export.export(self.module, call.args, call.kwargs, dynamic_shapes=shapes)

    def _checked(self, program: Any, call: Call, stated: Ranges, dims: Dimensions) -> ir.Model:
        """Convert a program whose open dimensions are wanted.

        Raises
        ------
        UnsupportedModel
            It differs from its module for other sizes of one; names it.
        """
        exported = to_onnx(program, self.title)
        findings = self._try_sizes(exported, call, stated)
        for axes, size in findings.differing.items():
            raise UnsupportedModel(f"{self._told(program, axes, size)}; give it one size")
        return self._finished(exported, findings, dims)

    def _try_sizes(self, exported: Any, call: Call, stated: Ranges) -> Findings:
        with _silenced():
            return try_sizes(self.module, exported.exported_program, call, stated)

    def _told(self, program: Any, axes: Sequence[TensorAxis], size: int) -> str:
        return (
            f"{self.title} decides by {dimension(program, axes)}, and what PyTorch exports keeps "
            f"the decisions for the examples: where it is {size}, it computes something else"
        )

    def _finished(self, exported: Any, findings: Findings, dims: Dimensions = ()) -> ir.Model:
        _correct(exported.model.graph, findings)
        return finished(
            exported, self.title, dims, self.input_names, self.output_names, findings.one_with
        )


def convert_source(
    program: Any,
    title: str,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> ir.Model:
    """Convert an exported program that somebody else made.

    A dimension is fixed if the program refuses sizes of it by a condition that the model cannot
    hold, or if its operators translate to others that compute something else for other sizes.
    """
    exported = to_onnx(program, title)
    known: dict[str, int | str] = {}
    if program.example_inputs is not None:
        call = Call(*program.example_inputs)
        with _silenced():
            sizes, conditions = OpenSizes(program, call), refused(program, call)
            findings = try_sizes(program.module(), exported.exported_program, call, {})
        _correct(exported.model.graph, findings)
        known |= findings.one_with
        for axes, size in {**findings.differing, **conditions}.items():
            place = dimension(program, axes)
            if axes in conditions:
                told = (
                    f"has conditions on {place}, which a model cannot hold, and refuses a size of "
                    f"{size}"
                )
            else:
                told = (
                    f"is translated for sizes of {place} as in the examples: where it is {size}, "
                    "the model computes something else"
                )
            warnings.warn(f"{title} {told}; it is fixed at the example's size", stacklevel=5)
            known |= {str(s): n for s, n in sizes.examples.items() if axes[0] in sizes.axes(s)}
    return finished(exported, title, (), input_names, output_names, known)


def _correct(graph: ir.Graph, findings: Findings) -> None:
    """Leave out shapes that other sizes show to be wrong."""
    for number, axis in findings.outputs:
        sizes = enumerate(graph.outputs[number].shape or ())
        graph.outputs[number].shape = ir.Shape([None if i == axis else n for i, n in sizes])
    if findings.beyond:
        # What the program says of shapes inside holds under its conditions only: PyTorch's
        # optimizer would leave out a slice that the examples do not need.
        for value in {v for node in graph.all_nodes() for v in node.outputs}:
            if value not in graph.outputs:
                value.shape = None


def to_onnx(program: Any, title: str) -> Any:
    """Convert an exported program to an ``ONNXProgram``, not yet optimized."""
    import torch

    # Attention takes other kernels where it computes gradients, whose results have other strides.
    with conversion(title), _silenced(), torch.no_grad():
        program = without_projections(program)
        exported: Any = torch.onnx.export(
            program, dynamo=True, verbose=False, optimize=False,
            custom_translation_table=translations()
            | {torch.ops.aten.squeeze.dim: squeeze},
        )  # fmt: skip
    if exported is None:
        raise ImportFailed(f"PyTorch could not convert {title}: it returned no model")
    return exported


def finished(
    exported: Any,
    title: str,
    dims: Dimensions,
    input_names: Sequence[str] | None,
    output_names: Sequence[str] | None,
    known: Mapping[str, int | str] | None = None,
) -> ir.Model:
    """Name inputs, outputs and open dimensions of what PyTorch's exporter wrote, and import it.

    Parameters
    ----------
    exported : torch.onnx.ONNXProgram
    title : str
        The name of the source in warnings.
    dims : sequence of mapping
        For each input the names that the caller wants, by axis.
    input_names, output_names : sequence of str, optional
        Names in the model.
    known : mapping, optional
        Symbols of the program that get one size, or are one with another symbol.
    """
    with conversion(title), _silenced():
        exported.optimize()
    program, graph = exported.exported_program, exported.model.graph
    changed = _changed_buffers(program)
    if changed:
        warnings.warn(
            f"{title} changes its {', '.join(changed)} when it is called; as a model it begins "
            "with the present value in every run",
            stacklevel=2,
        )
    promote_numbers(graph)
    rename(exported.model, graph.inputs, input_names or ())
    rename(exported.model, graph.outputs, output_names or _output_names(program))
    name_dimensions(exported.model, dims, known or {})
    return from_onnx(exported.model, trusted=True)  # torch.export guards its shapes


def _changed_buffers(program: Any) -> list[str]:
    schemas = [getattr(node.target, "_schema", None) for node in program.graph.nodes]
    if any(schema is not None and schema.is_mutable for schema in schemas):
        with _silenced():  # which lists the buffers that are changed
            program = program.run_decompositions({})
    return list(program.graph_signature.buffers_to_mutate.values())


def _output_names(program: Any) -> list[str]:
    """Paths in a mapping, such as transformers' models return; none for other results."""
    import torch

    spec = program.call_spec.out_spec
    try:
        result = torch.utils._pytree.tree_unflatten(range(spec.num_leaves), spec)
    except Exception:  # a class that takes no numbers for tensors
        return []
    paths = list(named_leaves(result)) if isinstance(result, Mapping) else []
    if [leaf for _, leaf in paths] != list(range(spec.num_leaves)):
        return []
    outputs = program.graph_signature.user_outputs
    return [path for path, leaf in paths if isinstance(outputs[leaf], str)]


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Keep notes of the exporter off the terminal; what goes wrong is raised."""
    loggers = ("torch.onnx", "torch.export", "torch._export", "torch.fx", "onnxscript.optimizer")
    with silenced(*loggers, level=logging.ERROR), warnings.catch_warnings(action="ignore"):
        yield

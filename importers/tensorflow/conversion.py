"""Conversion by tf2onnx: the state that it runs in, and the checks and names of its result."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ...errors import UnsupportedModel
from ...logs import silenced
from ...patches import applied
from ..frameworks import conversion
from ..names import rename
from ..onnx.loader import from_onnx
from .patches import OPTIMIZERS

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

OPSET = 18
"""The newest opset that tf2onnx writes."""

LOGGERS = ("tf2onnx", "tensorflow")
"""Loggers that report progress of a conversion."""

_TEXT_OPSET = 19
_END = 10**9
_NAMED = 5  # operators that an error names


class _Failures(logging.Handler):
    """Collects the nodes that tf2onnx reports as not converted."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg.startswith("Failed to convert node") and isinstance(record.args, tuple):
            reason = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
            self.nodes.append(f"{record.args[0]!r} ({reason})")


@contextlib.contextmanager
def tf2onnx_conversion(framework: str, what: str) -> Iterator[None]:
    """Run tf2onnx without its output and without optimizations that ours replace.

    Raises
    ------
    ImportFailed
        The conversion failed; says why.
    UnsupportedModel
        Nodes were not converted, which tf2onnx only logs; names them.
    """
    failures = _Failures()
    with (
        conversion(framework, what),
        silenced(*LOGGERS),
        silenced("tf2onnx.tfonnx", level=logging.ERROR, handler=failures),
        applied([OPTIMIZERS]),
    ):
        yield
        if failures.nodes:
            nodes = ", ".join(failures.nodes[:_NAMED])
            raise UnsupportedModel(
                f"{what}: tf2onnx could not convert {nodes}; give inputs more sizes that are "
                "known, or build the model of other operators"
            )


def finish(
    proto: onnx.ModelProto,
    what: str,
    inputs: Mapping[str, str],
    outputs: Sequence[str],
    one_batch: bool = False,
) -> ir.Model:
    """Rename inputs, outputs and open dimensions of a model that tf2onnx wrote, and import it.

    Parameters
    ----------
    proto : onnx.ModelProto
        Changed in place.
    what : str
        The source, for errors.
    inputs : mapping
        New names of inputs by their present ones. Inputs it lacks keep theirs.
    outputs : sequence of str
        New names of the outputs, in order.
    one_batch : bool
        All inputs have the same open first axis; else each has its own.

    Raises
    ------
    UnsupportedModel
        It has operators that are not ONNX; names them.
    """
    _use_standard_operators(proto)
    _check_operators(proto.graph, what)
    _open_ends(proto.graph)
    _name_dimensions(proto, one_batch, inputs)
    model = from_onnx(proto)
    rename(model, model.graph.inputs, [inputs.get(v.name or "", "") for v in model.graph.inputs])
    rename(model, model.graph.outputs, outputs)
    return model


def _name_dimensions(proto: onnx.ModelProto, one_batch: bool, names: Mapping[str, str]) -> None:
    """Name the open dimensions of inputs: the first of all is ``batch``."""
    del proto.graph.value_info[:]  # their names for these dimensions are others
    one_batch |= len(proto.graph.input) == 1
    for value in proto.graph.input:
        name = names.get(value.name, value.name)
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value"):
                dim.dim_param = "batch" if one_batch and axis == 0 else f"{name}_{axis}"


def _use_standard_operators(proto: onnx.ModelProto) -> None:
    """Bring a model to the opset that compares texts, which is 18 with more types.

    Of onnxruntime's operators tf2onnx writes Range, even unasked; the standard one is the same.
    """
    for opset in proto.opset_import:
        if opset.domain == "":
            opset.version = max(opset.version, _TEXT_OPSET)
    for node in _all_nodes(proto.graph):
        if (node.domain, node.op_type) == ("com.microsoft", "Range"):
            node.domain = ""


def _open_ends(graph: onnx.GraphProto) -> None:
    """Let a Slice end where its axis does: tf2onnx says 1e9 for that, which has a meaning."""
    import numpy as np
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in _all_nodes(graph):
        name = node.input[2] if node.op_type == "Slice" and len(node.input) > 2 else ""
        if name not in constants:
            continue
        ends = numpy_helper.to_array(constants[name])
        if not (ends == _END).any():
            continue
        node.input[2] = opened = f"{name}:whole"
        if opened not in constants:
            whole = np.where(ends == _END, np.iinfo(ends.dtype).max, ends).astype(ends.dtype)
            graph.initializer.append(numpy_helper.from_array(whole, opened))
            constants[opened] = graph.initializer[-1]


def _check_operators(graph: onnx.GraphProto, what: str) -> None:
    import onnx

    names: dict[str, str] = {}
    for node in _all_nodes(graph):
        is_known = any(onnx.defs.has(node.op_type, domain) for domain in _domains(node))
        if not is_known:
            names.setdefault(node.op_type, node.name or node.output[0])
    unknown = list(names)
    if unknown:
        some = ", ".join(
            f"{kind.removeprefix('TFL_')} (node {names[kind]!r})" for kind in unknown[:_NAMED]
        )
        more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
        raise UnsupportedModel(
            f"{what}: ONNX has no operator for {some}{more}; build the model of standard "
            "operators, or cut it before them"
        )


def _domains(node: onnx.NodeProto) -> tuple[str, ...]:
    """Domains where an operator may be: tf2onnx leaves that of unconverted nodes empty."""
    return (node.domain,) if node.domain else ("", "ai.onnx.ml")


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                yield from _all_nodes(inner)

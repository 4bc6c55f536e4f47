"""Float results of products of bytes: the tile scales whole sums, adds a bias and activates."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir

from ..emission import Emission
from ..graph import Info, Node
from ..groups import Group
from ..symbolic import Dim
from ..tensors import Tensor
from .epilogue import Epilogue
from .pointwise import emit_expression


def float_results(emit: Emission, group: Group, axis: int) -> Epilogue | None:
    """Return what a tile, and a kernel over rows, make of whole sums; None unless they are floats.

    The sums become float32 and are multiplied by one number, or one for each place on an axis.
    """
    head, body = group.head, group.body
    assert head is not None
    cast = _reader(body, head)
    scaled = None if cast is None or cast.op_type != "Cast" else _reader(body, cast)
    if cast is None or scaled is None or scaled.op_type != "Mul":
        return None
    if any(info.dtype != "float32" for node in body for info in node.infos):
        return None
    factor = scaled.values[1 - scaled.values.index(cast.outputs[0])]
    assert factor is not None
    info, result = emit.infos[factor], head.infos[0]
    if not _is_along(info, result, axis):
        return None
    rest = [node for node in body if node not in (cast, scaled)]
    found = Epilogue.match(emit, head, rest, axis, scaled.outputs[0])
    scales = _repeated(emit, factor, head.infos[0].dims[axis])
    shifts = None if found.bias is None else emit.constant(_flat(emit.infos[found.bias]))
    return dataclasses.replace(found, bias=None, scales=scales, shifts=shifts)


def _reader(body: list[Node], node: Node) -> Node | None:
    """Return the node of a body that alone reads a result, once."""
    value = node.outputs[0]
    readers = [each for each in body if value in each.values]
    if len(readers) != 1 or readers[0].values.count(value) != 1 or value.is_graph_output():
        return None
    return readers[0]


def _is_along(info: Info, result: Info, axis: int) -> bool:
    """Tell whether a tensor has one number, or one for each place on an axis of the result."""
    missing = result.rank - info.rank
    sizes = [size for i, size in enumerate(info.dims) if i + missing != axis]
    is_given = axis < missing or info.dims[axis - missing] in (1, result.dims[axis])
    return missing >= 0 and is_given and all(size == 1 for size in sizes)


def _repeated(emit: Emission, factor: ir.Value, count: Dim) -> Tensor:
    """Return so many numbers, of which one may be given."""
    info = emit.infos[factor]
    if info.is_constant and isinstance(count, int):
        return emit.constant(np.broadcast_to(_flat(info), (count,)))
    given, scales = emit.ordered(emit.tensor(factor)), emit.new((count,), "float32")
    emit_expression(emit, "x0", scales, [given.view((given.size,), (1,))])
    return scales


def _flat(info: Info) -> np.ndarray:
    return info.array().reshape(-1)

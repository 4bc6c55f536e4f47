"""Movements of data: Transpose, Reshape and its kind, Slice, Concat and Cast in a row are one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from .blocks import as_reshape, reshape_target
from .edits import insert, new_constant, remove, replace
from .operators import lookup
from .report import Report
from .values import attribute, dims, graphs, integers, rank, used_once


def merge_movements(model: ir.Model, report: Report) -> int:
    """Merge each movement with the one before it; returns the number of nodes saved."""
    count = 0
    for graph in graphs(model):
        for node in list(graph):
            if node.domain or not node.inputs or node.inputs[0] is None:
                continue
            default = _merge_shapes if lookup(node).reshape else None
            merge = _MERGES.get(node.op_type, default)
            count += merge is not None and merge(graph, node)
    return count


def reshape_transposes(model: ir.Model, report: Report) -> int:
    """Make reshapes of Transposes that move axes of size 1 only; returns how many."""
    count = 0
    for graph in graphs(model):
        for node in list(graph):
            if node.op_type != "Transpose" or node.domain or node.inputs[0] is None:
                continue
            order, sizes = _permutation(node), dims(node.inputs[0])
            target = None if order is None else as_reshape(sizes, order)
            if target is not None:
                name = f"{node.outputs[0].name}.shape"
                shape = new_constant(graph, np.array(target, np.int64), name)
                reshape = ir.node("Reshape", [node.inputs[0], shape], name=node.name)
                count += _replace(node, reshape)
    return count


def _producer(node: ir.Node) -> ir.Node | None:
    """Node of the standard domain, in the same graph, that makes the first input."""
    x = node.inputs[0]
    producer = None if x is None else x.producer()
    if producer is None or producer.domain or not producer.inputs:
        return None
    return producer if producer.graph is node.graph else None


def _before(node: ir.Node, *op_types: str) -> ir.Node | None:
    """Node of some operators that makes the first input."""
    producer = _producer(node)
    return producer if producer is not None and producer.op_type in op_types else None


def _replace(node: ir.Node, new: ir.Node) -> bool:
    """Replace a node by a new one; False when it cannot be."""
    new.outputs[0].shape, new.outputs[0].type = node.outputs[0].shape, node.outputs[0].type
    insert(node, [new])
    if replace(node, new.outputs[0]):
        return True
    remove(new)
    return False


def _permutation(node: ir.Node) -> list[int] | None:
    if "perm" in node.attributes:
        return list(node.attributes["perm"].as_ints())
    shape = node.inputs[0].shape  # type: ignore[union-attr]
    return None if shape is None else list(range(len(shape)))[::-1]


def merge_transposes(graph: ir.Graph, node: ir.Node) -> bool:
    """Merge a Transpose with the one before it; they may cancel."""
    first = _before(node, "Transpose")
    inner, outer = None if first is None else _permutation(first), _permutation(node)
    if first is None or inner is None or outer is None:
        return outer is not None and _transpose_unsqueezed(graph, node, outer)
    order = [inner[axis] for axis in outer]
    x = first.inputs[0]
    if order == sorted(order) and replace(node, x):  # type: ignore[arg-type]
        return True
    return _replace(node, ir.node("Transpose", [x], {"perm": order}, name=node.name))


def _transpose_unsqueezed(graph: ir.Graph, node: ir.Node, order: list[int]) -> bool:
    """A Transpose behind an Unsqueeze moves in front of it, where it has fewer axes."""
    first = _before(node, "Unsqueeze")
    axes = None if first is None else _axes(first)
    if first is None or axes is None:
        return False
    left = [axis for axis in range(len(order)) if axis not in axes]
    moved = [left.index(axis) for axis in order if axis not in axes]
    x, y = first.inputs[0], node.outputs[0]
    inner = ir.node("Transpose", [x], {"perm": moved}, name=node.name)
    inner.outputs[0].type = y.type
    if x is not None and x.shape is not None:
        inner.outputs[0].shape = ir.Shape([x.shape[axis] for axis in moved])
    insert(node, [inner])
    added = np.array([index for index, axis in enumerate(order) if axis in axes], np.int64)
    operand = new_constant(graph, added, f"{y.name}.axes")
    return _replace(node, ir.node("Unsqueeze", [inner.outputs[0], operand]))


def _shape_of_transpose(graph: ir.Graph, node: ir.Node) -> bool:
    """Sizes of a Transpose are those of its input, in another order."""
    first = _before(node, "Transpose")
    order = None if first is None else _permutation(first)
    if first is None or order is None:
        return False
    axes = order[attribute(node, "start", 0) : attribute(node, "end", len(order))]
    shape = ir.node("Shape", [first.inputs[0]])
    shape.outputs[0].type = ir.TensorType(ir.DataType.INT64)
    shape.outputs[0].shape = ir.Shape([len(order)])
    insert(node, [shape])
    indices = new_constant(graph, np.array(axes, np.int64), f"{node.outputs[0].name}.axes")
    return _replace(node, ir.node("Gather", [shape.outputs[0], indices], name=node.name))


def _merge_reshapes(graph: ir.Graph, node: ir.Node) -> bool:
    """Of two reshapes only the last is needed, if its target does not depend on the first."""
    first = _producer(node)
    if first is None or not lookup(first).reshape or not used_once(first.outputs[0]):
        return False
    target = integers(node.inputs[1]) if node.op_type == "Reshape" else None
    if target is not None and (0 in target or attribute(node, "allowzero", 0)):
        target = None
    if target is None:
        target = _target(first.inputs[0], node.outputs[0])
    if target is None:
        return False
    shape = new_constant(graph, np.array(target, np.int64), f"{node.outputs[0].name}.shape")
    return _replace(node, ir.node("Reshape", [first.inputs[0], shape], name=node.name))


def _transpose_in_place(graph: ir.Graph, node: ir.Node) -> bool:
    """A Transpose between a Reshape that joins the first axes and one that parts them again.

    PyTorch's exporter writes the transpose of the last two axes so.
    """
    transpose = _before(node, "Transpose")
    first = None if transpose is None else _before(transpose, "Reshape")
    order = None if transpose is None else _permutation(transpose)
    if first is None or not order or order[0] != 0:
        return False
    x, count = first.inputs[0], len(order) - 1
    if x is None:
        return False
    before, merged, after = dims(x), dims(first.outputs[0]), dims(node.outputs[0])
    if before is None or merged is None or after is None:
        return False
    if any(None in shape[-count:] for shape in (before, merged, after)):
        return False
    lead, old_lead = after[:-count], before[:-count]
    transposed = [merged[axis] for axis in order[1:]]
    if not old_lead or before[-count:] != merged[1:] or None in lead:
        return False
    if after != [*lead, *transposed]:
        return False
    if lead != old_lead:
        if not all(isinstance(size, int) for size in (*old_lead, *after)):
            return False
        target = new_constant(
            graph, np.array([*lead, *merged[1:]], np.int64), f"{node.outputs[0].name}.shape"
        )
        apart = ir.node("Reshape", [x, target], name=f"{node.name}.apart")
        x = apart.outputs[0]
        x.shape, x.type = ir.Shape([*lead, *merged[1:]]), node.outputs[0].type
        insert(node, [apart])
    perm = [*range(len(lead)), *(axis + len(lead) - 1 for axis in order[1:])]
    return _replace(node, ir.node("Transpose", [x], {"perm": perm}, name=node.name))


def _merge_axes(graph: ir.Graph, node: ir.Node) -> bool:
    """Squeeze and Unsqueeze, where several sizes are known at run time only."""
    first = _before(node, "Squeeze", "Unsqueeze")
    if first is None:
        return False
    inner, outer = _axes(first), _axes(node)
    if inner is None or outer is None:
        return False
    if inner == outer and first.op_type != node.op_type:
        return replace(node, first.inputs[0])  # type: ignore[arg-type]
    if first.op_type != node.op_type:
        x = first.inputs[0]
        return first.op_type == "Unsqueeze" and _squeeze_unsqueezed(graph, node, x, inner, outer)
    if not used_once(first.outputs[0]):
        return False
    size = rank(node.outputs[0] if node.op_type == "Unsqueeze" else first.inputs[0])
    late, early = (outer, inner) if node.op_type == "Unsqueeze" else (inner, outer)
    if size is None:
        return False
    # Axes of the tensor in between, by their numbers in the longer of the two shapes.
    between = [axis for axis in range(size) if axis not in late]
    axes = np.array(sorted([*late, *(between[axis] for axis in early)]), np.int64)
    operand = new_constant(graph, axes, f"{node.outputs[0].name}.axes")
    return _replace(node, ir.node(node.op_type, [first.inputs[0], operand], name=node.name))


def _squeeze_unsqueezed(
    graph: ir.Graph, node: ir.Node, x: ir.Value | None, added: list[int], removed: list[int]
) -> bool:
    """Of an Unsqueeze and a Squeeze only the axes are left that one of them has more."""
    if set(removed) < set(added):
        op_type, more, fewer = "Unsqueeze", added, removed
    elif set(added) < set(removed):
        op_type, more, fewer = "Squeeze", removed, added
    else:
        return False
    left = [axis - sum(other < axis for other in fewer) for axis in more if axis not in fewer]
    operand = new_constant(graph, np.array(left, np.int64), f"{node.outputs[0].name}.axes")
    return _replace(node, ir.node(op_type, [x, operand], name=node.name))


def _axes(node: ir.Node) -> list[int] | None:
    """Axes of a Squeeze or Unsqueeze (since opset 13), from the front."""
    axes = integers(node.inputs[1]) if len(node.inputs) > 1 else None
    longer = node.outputs[0] if node.op_type == "Unsqueeze" else node.inputs[0]
    size = rank(longer)
    return None if axes is None or size is None else sorted(axis % size for axis in axes)


def _merge_shapes(graph: ir.Graph, node: ir.Node) -> bool:
    merged = node.op_type in ("Squeeze", "Unsqueeze") and _merge_axes(graph, node)
    merged |= node.op_type == "Reshape" and _transpose_in_place(graph, node)
    return merged or _merge_reshapes(graph, node)


def _target(x: ir.Value | None, y: ir.Value) -> list[int] | None:
    """Target of the Reshape of a value to the shape of another."""
    before, after = None if x is None else dims(x), dims(y)
    return None if before is None or after is None else reshape_target(before, after)


def _limits(node: ir.Node) -> list[tuple[int, int, int, int]] | None:
    """(axis, start, end, step) of a Slice with constant limits."""
    size = rank(node.inputs[0])
    lists = [numbers for value in node.inputs[1:] if (numbers := integers(value)) is not None]
    if len(lists) < 2 or len(lists) < len(node.inputs) - 1 or size is None:
        return None
    starts, ends, *more = lists
    axes = more[0] if more else list(range(len(starts)))
    steps = more[1] if len(more) > 1 else [1] * len(starts)
    rows = zip(axes, starts, ends, steps, strict=True)
    return [(axis % size, start, end, step) for axis, start, end, step in rows]


def _slice_of_slice(
    inner: tuple[int, int, int, int], outer: tuple[int, int, int, int]
) -> tuple[int, int, int, int] | None:
    axis, start, end, step = inner
    _, next_start, next_end, next_step = outer
    upwards = min(start, end, next_start, next_end) >= 0 and step > 0 and next_step > 0
    if not upwards or next_start >= 2**31:
        return None
    return axis, start + step * next_start, min(end, start + step * next_end), step * next_step


def _merge_slices(graph: ir.Graph, node: ir.Node) -> bool:
    """Two slices are one, along the same axis if both count upwards from the front."""
    first = _before(node, "Slice")
    if first is None or not used_once(first.outputs[0]):
        return False
    inner, outer = _limits(first), _limits(node)
    if inner is None or outer is None:
        return False
    rows = {row[0]: row for row in inner}
    for row in outer:
        both = _slice_of_slice(rows[row[0]], row) if row[0] in rows else row
        if both is None:
            return False
        rows[row[0]] = both
    axes, starts, ends, steps = np.array(list(rows.values()), np.int64).T
    name = node.outputs[0].name
    operands = [
        new_constant(graph, array, f"{name}.{key}")
        for key, array in (("starts", starts), ("ends", ends), ("axes", axes), ("steps", steps))
    ]
    return _replace(node, ir.node("Slice", [first.inputs[0], *operands], name=node.name))


def _merge_concats(graph: ir.Graph, node: ir.Node) -> bool:
    """A Concat of a Concat along the same axis, used nowhere else, is one."""
    size = rank(node.outputs[0])
    axis = attribute(node, "axis", 0)
    inputs: list[ir.Value | None] = []
    for value in node.inputs:
        part = None if value is None else value.producer()
        same = part is not None and part.op_type == "Concat" and not part.domain
        if part is not None and same and part.graph is node.graph and used_once(value):  # type: ignore[arg-type]
            inner = attribute(part, "axis", 0)
            if inner == axis or (size is not None and inner % size == axis % size):
                inputs += part.inputs
                continue
        inputs.append(value)
    if len(inputs) == len(node.inputs):
        return False
    return _replace(node, ir.node("Concat", inputs, {"axis": axis}, name=node.name))


def _merge_casts(graph: ir.Graph, node: ir.Node) -> bool:
    """A Cast of a Cast that lost nothing is one.

    Not one to text, which shows of which type a number was: 1 of bool is "True", of float "1".
    """
    first = _before(node, "Cast")
    x = None if first is None else first.inputs[0]
    if first is None or x is None or x.dtype is None:
        return False
    if attribute(node, "to", 0) == ir.DataType.STRING:
        return False
    middle = ir.DataType(attribute(first, "to", 0))
    if not _holds(middle, x.dtype):
        return False
    return _replace(node, ir.node("Cast", [x], dict(node.attributes), name=node.name))


# Bits of a whole number that a type holds exactly, and whether it has a sign.
_WHOLE = {
    ir.DataType.BOOL: (1, False),
    ir.DataType.UINT8: (8, False),
    ir.DataType.UINT16: (16, False),
    ir.DataType.UINT32: (32, False),
    ir.DataType.UINT64: (64, False),
    ir.DataType.INT8: (7, True),
    ir.DataType.INT16: (15, True),
    ir.DataType.INT32: (31, True),
    ir.DataType.INT64: (63, True),
    ir.DataType.FLOAT16: (11, True),
    ir.DataType.BFLOAT16: (8, True),
    ir.DataType.FLOAT: (24, True),
    ir.DataType.DOUBLE: (53, True),
}
_FRACTIONS = {
    ir.DataType.FLOAT16: (ir.DataType.FLOAT, ir.DataType.DOUBLE),
    ir.DataType.BFLOAT16: (ir.DataType.FLOAT, ir.DataType.DOUBLE),
    ir.DataType.FLOAT: (ir.DataType.DOUBLE,),
}


def _holds(wide: ir.DataType, narrow: ir.DataType) -> bool:
    """Tell whether every value of one type is a value of the other."""
    if narrow.is_floating_point():
        return wide in _FRACTIONS.get(narrow, ())
    if wide not in _WHOLE or narrow not in _WHOLE:
        return False
    narrow_bits, narrow_signed = _WHOLE[narrow]
    wide_bits, wide_signed = _WHOLE[wide]
    return narrow_bits <= wide_bits and (wide_signed or not narrow_signed)


_MERGES: dict[str, Callable[[ir.Graph, ir.Node], bool]] = {
    "Transpose": merge_transposes,
    "Shape": _shape_of_transpose,
    "Cast": _merge_casts,
    "Slice": _merge_slices,
    "Concat": _merge_concats,
}

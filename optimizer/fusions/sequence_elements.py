"""Elements of sequences whose tensors are known: they are read where they come from.

PyTorch's exporters write ``split`` and ``chunk`` as SplitToSequence and SequenceAt.
"""

from __future__ import annotations

from itertools import accumulate

import onnx_ir as ir

from ..rewrite import Match, apply_rules, fixed, op, rewrite
from ..values import attribute, integers, scalar


@rewrite(lambda sequence, i: op.SequenceAt(sequence, fixed(i)))
def _element(m: Match) -> ir.Value:
    node, index = m.sequence.producer(), scalar(m.i)
    m.require(node is not None and index is not None, "the sequence is no result of a node")
    assert node is not None and index is not None
    if node.op_type == "SequenceConstruct":
        count = len(node.inputs)
        m.require(-count <= index < count, "there is no such element")
        result: ir.Value = m.op.Identity(node.inputs[int(index)])
        return result
    m.require(node.op_type == "SplitToSequence", "the sequence is made element by element")
    return _part(m, node, int(index))


def _part(m: Match, node: ir.Node, index: int) -> ir.Value:
    """Cut a part out of what is split."""
    x, *given = node.inputs
    assert x is not None
    sizes, axis = m.sizes(x), attribute(node, "axis", 0)
    m.require(-len(sizes) <= axis < len(sizes), "there is no such axis")
    extent = sizes[axis]
    m.require(isinstance(extent, int), "the size of the axis that is split is not known")
    assert isinstance(extent, int)
    ends = _ends(m, given[0] if given else None, extent)
    m.require(-len(ends) <= index < len(ends), "there is no such part")
    starts = [0, *ends[:-1]]
    part: ir.Value = m.op.Slice(x, [starts[index]], [ends[index]], [axis])
    part.shape = None
    if given or attribute(node, "keepdims", 1):
        return part
    squeezed: ir.Value = m.op.Squeeze(part, [axis])
    return squeezed


def _ends(m: Match, split: ir.Value | None, extent: int) -> list[int]:
    """Where each part ends along the axis."""
    if split is None:
        return list(range(1, extent + 1))
    numbers = integers(split)
    m.require(numbers is not None and min(numbers, default=0) >= 0, "the sizes are not known")
    assert numbers is not None
    shape = split.shape
    if shape is not None and len(shape) == 0:
        m.require(numbers[0] > 0, "parts have no size")
        return [min(end, extent) for end in range(numbers[0], extent + numbers[0], numbers[0])]
    m.require(sum(numbers) == extent, "the sizes do not add up")
    return list(accumulate(numbers))


@rewrite(lambda sequence: op.ConcatFromSequence(sequence))
def _joined(m: Match) -> ir.Value:
    node, joint = m.sequence.producer(), m.root
    m.require(
        node is not None and node.op_type == "SequenceConstruct", "its elements are not known"
    )
    assert node is not None
    axis, parts = attribute(joint, "axis", 0), list(node.inputs)
    if attribute(joint, "new_axis", 0):
        parts = [m.op.Unsqueeze(part, [axis]) for part in parts]
    result: ir.Value = m.op.Concat(*parts, axis=axis)
    return result


read_elements = apply_rules([_element, _joined])
"""Read elements of sequences where they come from; counts the changes."""

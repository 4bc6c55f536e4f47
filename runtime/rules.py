"""Rules of single operators: what their attributes and the sizes of their inputs may be."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from .graph import Info, Node, describe, refuse
from .symbolic import product

Rule = Callable[[Node], None]

_MOST = 2**31  # sizes of windows: nothing real is larger, and products stay within 64 bits


# --- axes -------------------------------------------------------------------------------------


def _in_range(node: Node, what: str, axis: int, x: Info, rank: int, most: int) -> None:
    if not -rank <= axis <= most:
        expected = f"a number from {-rank} to {most}: {x.name!r} has {x.rank} axes"
        refuse(node, what, axis, expected)


def _axis(default: int, more: int = 0, last: int = -1) -> Rule:
    """Rule of an attribute that names an axis of the first input (with ``more`` axes)."""

    def rule(node: Node) -> None:
        x = node.input(0)
        if x is not None and x.shape is not None and (x.rank or last == 0):
            rank = x.rank + more
            axis = node.attribute("axis", default)
            _in_range(node, "attribute 'axis'", axis, x, rank, rank + last)

    return rule


def _softmax(node: Node) -> None:
    _axis(-1 if node.version >= 13 else 1)(node)


def _axes(index: int, grown: bool = False) -> Rule:
    """Rule of axes in an attribute or in an input: in range, and each once."""

    def rule(node: Node) -> None:
        x, given = node.input(0), node.input(index)
        axes = node.attribute("axes")
        if axes is None and given is not None and given.known is not None:
            axes = [axis for axis in given.sizes() if isinstance(axis, int)]
        if axes is None or x is None or x.shape is None:
            return
        rank = x.rank + (len(axes) if grown else 0)
        for axis in axes:
            _in_range(node, "one of the axes", axis, x, rank, rank - 1)
        if len({axis % rank for axis in axes}) != len(axes):
            refuse(node, "the list of axes", axes, "each axis once")

    return rule


def _permutation(node: Node) -> None:
    x, order = node.input(0), node.attribute("perm")
    if order is None or x is None or x.shape is None:
        return
    if sorted(order) != list(range(x.rank)):
        refuse(node, "attribute 'perm'", order, f"each axis of {x.name!r} once ({x.rank} axes)")


def _least_rank(least: int, exact: bool = False) -> Rule:
    def rule(node: Node) -> None:
        x = node.input(0)
        if x is None or x.shape is None:
            return
        if x.rank < least or (exact and x.rank != least):
            refuse(node, f"rank of {x.name!r}", x.rank, f"{'' if exact else 'at least '}{least}")

    return rule


def _cumulative(node: Node) -> None:
    x, axis = node.input(0), node.input(1)
    if x is None or x.shape is None or axis is None or axis.known is None:
        return
    if len(axis.sizes()) != 1:
        refuse(node, "number of axes", len(axis.sizes()), "1")
    _in_range(node, "the axis", axis.integers()[0], x, x.rank, x.rank - 1)


# --- windows ----------------------------------------------------------------------------------


def _numbers(node: Node, name: str, count: int, least: int) -> list[int] | None:
    """Check a list attribute: its length, and that no number is below ``least``."""
    given: list[int] | None = node.attribute(name)
    if given is None:
        return None
    if len(given) != count:
        refuse(node, f"attribute {name!r}", given, f"{count} numbers")
    if any(not least <= number < _MOST for number in given):
        refuse(node, f"attribute {name!r}", given, f"numbers from {least} on")
    return given


def _window(node: Node) -> None:
    x = node.input(0)
    if x is None or x.shape is None:
        return
    _least_rank(3)(node)
    spatial = x.rank - 2
    for name in ("kernel_shape", "strides", "dilations"):
        _numbers(node, name, spatial, 1)
    _numbers(node, "pads", 2 * spatial, 0)
    _numbers(node, "output_padding", spatial, 0)


def _conv(node: Node) -> None:
    _window(node)
    x, w = node.input(0), node.input(1)
    groups = node.attribute("group", 1)
    if not 1 <= groups < _MOST:
        refuse(node, "attribute 'group'", groups, "a number from 1 on")
    if x is None or w is None or x.shape is None or w.shape is None:
        return
    if w.rank != x.rank:
        refuse(node, f"rank of the weights {w.name!r}", w.rank, f"{x.rank}, that of {x.name!r}")
    kernel = node.attribute("kernel_shape")
    if kernel is not None and any(
        isinstance(dim, int) and dim != k for dim, k in zip(w.dims[2:], kernel, strict=True)
    ):
        refuse(node, "attribute 'kernel_shape'", kernel, f"the sizes of {describe(w)}")
    if any(dim == 0 for dim in w.dims[2:]):
        refuse(node, f"shape of the weights {w.name!r}", list(w.dims), "sizes from 1 on")
    transposed = node.op_type == "ConvTranspose"
    channels, outputs = w.dims[0 if transposed else 1], w.dims[1 if transposed else 0]
    split = channels if transposed else outputs
    if isinstance(split, int) and split % groups:
        refuse(node, "attribute 'group'", groups, f"a divisor of the channels of {describe(w)}")
    if isinstance(channels, int) and isinstance(x.dims[1], int):
        wanted = channels if transposed else channels * groups
        if x.dims[1] != wanted:
            refuse(node, f"shape of {x.name!r}", list(x.dims), f"{wanted} channels: {describe(w)}")
    bias = node.input(2)
    count = outputs * groups if transposed else outputs
    if bias is None or bias.shape is None or not isinstance(count, int):
        return
    if bias.rank != 1 or (isinstance(bias.dims[0], int) and bias.dims[0] != count):
        refuse(node, f"shape of the bias {bias.name!r}", list(bias.dims), f"[{count}]")


def _at_least_one(name: str) -> Rule:
    def rule(node: Node) -> None:
        if not 1 <= node.attribute(name, 1) < _MOST:
            refuse(node, f"attribute {name!r}", node.attribute(name), "a number from 1 on")

    return rule


def _blocks(node: Node) -> None:
    _at_least_one("blocksize")(node)
    _least_rank(4, exact=True)(node)
    x, size = node.input(0), node.attribute("blocksize")
    if x is None or x.shape is None:
        return
    to_space = node.op_type == "DepthToSpace"
    for dim in x.dims[1:2] if to_space else x.dims[2:]:
        unit = size * size if to_space else size
        if isinstance(dim, int) and dim % unit:
            refuse(node, f"shape of {x.name!r}", list(x.dims), f"multiples of {unit}")


def _groups(node: Node) -> None:
    _at_least_one("num_groups")(node)
    x, groups = node.input(0), node.attribute("num_groups", 1)
    channels = None if x is None or x.shape is None or x.rank < 2 else x.dims[1]
    if isinstance(channels, int) and channels % groups:
        refuse(node, "attribute 'num_groups'", groups, f"a divisor of {channels} channels")


# --- sizes in inputs --------------------------------------------------------------------------


def _listed(index: int, per_axis: int = 1, least: int | None = None) -> Rule:
    """Rule of a list of so many sizes for each axis of the first input, in another input."""

    def rule(node: Node) -> None:
        x, given = node.input(0), node.input(index)
        if given is None or given.known is None or not given.known.size:
            return
        sizes = given.sizes()
        if least is not None and any(isinstance(n, int) and n < least for n in sizes):
            refuse(node, f"content of {given.name!r}", sizes, f"numbers from {least} on")
        if not per_axis or x is None or x.shape is None or node.input(3) is not None:
            return
        if len(sizes) != per_axis * x.rank:
            refuse(node, f"size of {given.name!r}", len(sizes), f"{per_axis * x.rank}")

    return rule


def _slice(node: Node) -> None:
    lists = [node.input(i) for i in range(1, 5)]
    known = [None if info is None or info.known is None else info.sizes() for info in lists]
    counts = {len(values) for values in known if values is not None}
    if len(counts) > 1:
        refuse(node, "number of starts, ends, axes and steps", sorted(counts), "the same for all")
    if known[3] is not None and 0 in known[3]:
        refuse(node, f"content of the steps {lists[3].name!r}", known[3], "no 0")  # type: ignore[union-attr]
    _axes(3)(node)


def _split(node: Node) -> None:
    _axis(0)(node)
    x, given, sizes = node.input(0), node.input(1), node.attribute("split")
    if sizes is None and given is not None and given.known is not None:
        sizes = given.sizes()
    parts = len(node.outputs)
    if sizes is None:
        if node.attribute("num_outputs", parts) != parts:
            refuse(node, "attribute 'num_outputs'", node.attribute("num_outputs"), f"{parts}")
        return
    if len(sizes) != parts or any(isinstance(size, int) and size < 0 for size in sizes):
        refuse(node, "list of sizes", sizes, f"{parts} numbers from 0 on")
    total = sum(sizes) if all(isinstance(size, int) for size in sizes) else None
    if x is not None and x.shape is not None and total is not None:
        dim = x.dims[node.attribute("axis", 0)]
        if isinstance(dim, int) and dim != total:
            refuse(node, "sum of the sizes", total, f"{dim}, as in {describe(x)}")


def _concat(node: Node) -> None:
    _axis(1, last=-1)(node)
    infos = [info for info in node.inputs if info is not None and info.shape is not None]
    for info in infos:
        if info.rank != infos[0].rank or not info.rank:
            expected = f"{infos[0].rank}, that of {infos[0].name!r}, and not 0"
            refuse(node, f"rank of {info.name!r}", info.rank, expected)


def _scales(node: Node) -> None:
    x, scales, sizes = node.input(0), node.input(2), node.input(3)
    axes = node.attribute("axes")
    count = len(axes) if axes is not None else x.rank if x is not None and x.shape else None
    if scales is not None and scales.is_constant and scales.shape != (0,):
        values = scales.array().reshape(-1).tolist()
        if count is not None and len(values) != count:
            refuse(node, f"size of the scales {scales.name!r}", len(values), f"{count}")
        if not all(0 < value < _MOST for value in values):
            refuse(node, f"content of the scales {scales.name!r}", values, "finite positive ones")
    if sizes is None or sizes.known is None or count is None:
        return
    if len(sizes.sizes()) != count:
        refuse(node, f"size of the sizes {sizes.name!r}", len(sizes.sizes()), f"{count}")


def _gemm(node: Node) -> None:
    c = node.input(2)
    if c is not None and c.shape is not None and c.rank > 2:
        refuse(node, f"rank of {c.name!r}", c.rank, "at most 2")


def _squeeze(node: Node) -> None:
    _axes(1)(node)
    x, axes = node.input(0), node.attribute("axes")
    given = node.input(1)
    if axes is None and given is not None and given.known is not None:
        axes = given.sizes()
    if x is None or x.shape is None or axes is None:
        return
    for axis in axes:
        if isinstance(axis, int) and isinstance(x.dims[axis], int) and x.dims[axis] != 1:
            refuse(node, f"size of axis {axis} of {x.name!r}", x.dims[axis], "1")


def _element_type(node: Node) -> None:
    kind = node.attribute("dtype" if node.op_type == "EyeLike" else "to")
    if isinstance(kind, int) and kind not in ir.DataType._value2member_map_:
        refuse(node, "the element type asked for", kind, "one that ONNX has")


def _norm_power(node: Node) -> None:
    if node.attribute("p", 2) not in (1, 2):
        refuse(node, "attribute 'p'", node.attribute("p"), "1 or 2")


def _k(node: Node) -> None:
    k = node.input(1)
    if k is not None and k.shape is not None and product(k.dims) != 1:
        refuse(node, f"shape of {k.name!r}", list(k.dims), "one number")


def _batch_dims(node: Node) -> None:
    x, indices = node.input(0), node.input(1)
    if x is None or indices is None or x.shape is None or indices.shape is None:
        return
    most = min(x.rank, indices.rank)
    if not 0 <= node.attribute("batch_dims", 0) < most:
        refuse(node, "attribute 'batch_dims'", node.attribute("batch_dims", 0), f"0 to {most - 1}")


def _table() -> dict[str, Sequence[Rule]]:
    reductions = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum")
    first = _axis(0)
    return {
        **{f"Reduce{name}": (_axes(1),) for name in (*reductions, "SumSquare")},
        **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), (_softmax,)),
        **dict.fromkeys(("ArgMax", "ArgMin"), (first,)),
        **dict.fromkeys(("GatherElements", "ScatterElements"), (first,)),
        **dict.fromkeys(("LayerNormalization", "RMSNormalization"), (_axis(-1),)),
        **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), (_window,)),
        **dict.fromkeys(("Conv", "ConvTranspose"), (_conv,)),
        **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), (_blocks,)),
        **dict.fromkeys(("Cast", "EyeLike"), (_element_type,)),
        "Concat": (_concat,),
        "ConstantOfShape": (_listed(0, per_axis=0, least=0),),
        "CumSum": (_cumulative,),
        "Flatten": (_axis(1, last=0),),
        "Gather": (_least_rank(1), first),
        "GatherND": (_batch_dims,),
        "Gemm": (_gemm,),
        "GroupNormalization": (_groups,),
        "LRN": (_at_least_one("size"), _least_rank(2)),
        "LpNormalization": (_axis(-1), _norm_power),
        "MeanVarianceNormalization": (_axes(9),),
        "OneHot": (_axis(-1, more=1),),
        "Pad": (_listed(1, per_axis=2), _axes(3)),
        "Resize": (_scales, _listed(3, per_axis=0, least=0)),
        "Slice": (_slice,),
        "Split": (_split,),
        "Squeeze": (_squeeze,),
        "Tile": (_listed(1, least=0),),
        "TopK": (_axis(-1), _k),
        "Transpose": (_permutation,),
        "Unsqueeze": (_axes(1, grown=True),),
    }


RULES = _table()

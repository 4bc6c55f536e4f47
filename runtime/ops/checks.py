"""Validity rules that several operators share: axes, windows, words, lists of sizes.

A rule is called with a node before the shape rule is, and raises ``InvalidModel`` with the node,
the attribute or tensor, what was expected and what came. Rules look at attributes and at those
sizes that are numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from ..graph import Info, Node, describe, refuse
from ..symbolic import product
from .registry import Rule

MOST = 2**31  # sizes of windows: nothing real is larger, and products stay within 64 bits


def one_of(name: str, *words: str) -> Rule:
    """Rule of an attribute that is one of some words, where it is there."""

    def rule(node: Node) -> None:
        word = node.attribute(name, words[0])
        if word not in words:
            refuse(node, f"attribute {name!r}", word, f"one of {words}")

    return rule


def element_type(name: str) -> Rule:
    """Rule of an attribute that names an element type, where it is there."""

    def rule(node: Node) -> None:
        kind = node.attribute(name)
        if isinstance(kind, int) and kind not in ir.DataType._value2member_map_:
            refuse(node, "the element type asked for", kind, "one that ONNX has")

    return rule


# --- axes -------------------------------------------------------------------------------------


def in_range(node: Node, what: str, axis: int, x: Info, rank: int, most: int) -> None:
    """Refuse an axis of ``x``, seen with ``rank`` axes, that is not from -rank to ``most``."""
    if not -rank <= axis <= most:
        expected = f"a number from {-rank} to {most}: {x.name!r} has {x.rank} axes"
        refuse(node, what, axis, expected)


def axis(default: int, more: int = 0, last: int = -1) -> Rule:
    """Rule of an attribute that names an axis of the first input (with ``more`` axes).

    A scalar counts as a vector of one element, as in numpy and onnxruntime.
    """

    def rule(node: Node) -> None:
        x = node.input(0)
        if x is not None and x.shape is not None:
            rank = max(x.rank + more, -last)
            in_range(
                node, "attribute 'axis'", node.attribute("axis", default), x, rank, rank + last
            )

    return rule


def axes(index: int, grown: bool = False, default: Sequence[int] | None = None) -> Rule:
    """Rule of axes in an attribute or in an input: in range, and each once.

    The axes are those of the first input, or with ``grown`` those it has when they are added.
    Where there are none, they are the ``default``.
    """

    def rule(node: Node) -> None:
        x, operand = node.input(0), node.input(index)
        sizes = node.attribute("axes", default)
        if sizes is None and operand is not None and operand.known is not None:
            sizes = operand.sizes()
        if sizes is None or x is None or x.shape is None:
            return
        numbers = [size for size in sizes if isinstance(size, int)]
        rank = x.rank + (len(sizes) if grown else 0)
        for number in numbers:
            in_range(node, "one of the axes", number, x, rank, rank - 1)
        if len({number % rank for number in numbers}) != len(numbers):
            refuse(node, "the list of axes", numbers, "each axis once")

    return rule


def least_rank(least: int, exact: bool = False) -> Rule:
    """Rule of the number of axes of the first input."""

    def rule(node: Node) -> None:
        x = node.input(0)
        if x is None or x.shape is None:
            return
        if x.rank < least or (exact and x.rank != least):
            refuse(node, f"rank of {x.name!r}", x.rank, f"{'' if exact else 'at least '}{least}")

    return rule


# --- windows ----------------------------------------------------------------------------------

auto_pad = one_of("auto_pad", "", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


def numbers(node: Node, name: str, count: int, least: int) -> None:
    """Check a list attribute: its length, and that no number is below ``least``."""
    values = node.attribute(name)
    if values is None:
        return
    if len(values) != count:
        refuse(node, f"attribute {name!r}", values, f"{count} numbers")
    if any(not least <= value < MOST for value in values):
        refuse(node, f"attribute {name!r}", values, f"numbers from {least} on, below 2**31")


def window(node: Node, weights_at: int = 1) -> None:
    """Rule of an operator that moves a window over one or more spatial axes."""
    auto_pad(node)
    x = node.input(0)
    if x is None or x.shape is None:
        return
    least_rank(3)(node)
    spatial = x.rank - 2
    for name in ("kernel_shape", "strides", "dilations"):
        numbers(node, name, spatial, 1)
    numbers(node, "pads", 2 * spatial, 0)
    numbers(node, "output_padding", spatial, 0)
    taps = node.attribute("kernel_shape")
    if taps is None:
        weights = node.input(weights_at)
        taps = None if weights is None or weights.shape is None else list(weights.shape[2:])
    dilations = node.attribute("dilations", [1] * spatial)
    for count, dilation in zip(taps or (), dilations, strict=False):
        if isinstance(count, int) and (count - 1) * dilation + 1 >= MOST:
            refuse(node, "attribute 'dilations'", dilations, "windows of less than 2**31 elements")


def convolution(node: Node, weights_at: int = 1, bias_at: int = 2) -> None:
    """Rule of convolutions: window, groups, and the sizes of weights and bias, by their inputs."""
    window(node, weights_at)
    x, w = node.input(0), node.input(weights_at)
    groups = node.attribute("group", 1)
    if not 1 <= groups < MOST:
        refuse(node, "attribute 'group'", groups, "a number from 1 on, below 2**31")
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
    bias = node.input(bias_at)
    count = outputs * groups if transposed else outputs
    if bias is None or bias.shape is None or not isinstance(count, int):
        return
    if bias.rank != 1 or (isinstance(bias.dims[0], int) and bias.dims[0] != count):
        refuse(node, f"shape of the bias {bias.name!r}", list(bias.dims), f"[{count}]")


# --- numbers ----------------------------------------------------------------------------------


def at_least_one(name: str) -> Rule:
    """Rule of an attribute that counts something."""

    def rule(node: Node) -> None:
        if not 1 <= node.attribute(name, 1) < MOST:
            expected = "a number from 1 on, below 2**31"
            refuse(node, f"attribute {name!r}", node.attribute(name), expected)

    return rule


def one_number(node: Node, index: int) -> None:
    """Check that an input, if it is there, has one element."""
    operand = node.input(index)
    if operand is None or operand.shape is None:
        return
    count = product(operand.dims)
    if isinstance(count, int) and count != 1:
        refuse(node, f"shape of {operand.name!r}", list(operand.dims), "one number")


def size_list(index: int, per_axis: int = 1, least: int | None = None) -> Rule:
    """Rule of a list of so many sizes for each axis of the first input, in another input."""

    def rule(node: Node) -> None:
        x, operand = node.input(0), node.input(index)
        if operand is None or operand.known is None or not operand.known.size:
            return
        sizes = operand.sizes()
        if least is not None and any(isinstance(n, int) and n < least for n in sizes):
            refuse(node, f"content of {operand.name!r}", sizes, f"numbers from {least} on")
        if not per_axis or x is None or x.shape is None or node.input(3) is not None:
            return
        if len(sizes) != per_axis * x.rank:
            refuse(node, f"size of {operand.name!r}", len(sizes), f"{per_axis * x.rank}")

    return rule

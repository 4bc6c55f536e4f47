"""What random graphs are made of: motifs, which add a few nodes and return a value.

Values stay near one and nothing jumps, so that results can be compared within a tolerance. What
kernels are compiled for (expressions, windows) comes from short lists, so that few are compiled.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper

from .graph import CHANNELS, Graph

UNARY = ("Relu", "Sigmoid", "HardSwish", "LeakyRelu")


def unary(graph: Graph, x: str | None = None) -> str:
    x = x or graph.value()
    return graph.node(graph.pick(UNARY), [x], graph.shapes[x])


def binary(graph: Graph) -> str:
    """Combine two values of one shape, or a value and a constant that is broadcast."""
    x = graph.value()
    shape = graph.shapes[x]
    same = [name for name, other in graph.shapes.items() if other == shape]
    if graph.chance(0.6):
        return graph.node(graph.pick(("Add", "Mul")), [x, graph.pick(same)], shape)
    kept = [size if graph.chance(0.5) else 1 for size in shape]
    other = graph.weight(kept[int(graph.rng.integers(len(shape) + 1)) :])
    pair = [x, other] if graph.chance(0.7) else [other, x]
    return graph.node(graph.pick(("Add", "Mul", "Sub")), pair, shape)


def broadcast(graph: Graph) -> str:
    """Multiply a map by factors of its channels, or of its pixels, that were computed."""
    x = graph.value(4)
    n, c, h, w = graph.shapes[x]
    if graph.chance(0.5):
        factors = graph.node("GlobalAveragePool", [x], (n, c, 1, 1))
    else:
        axes = {"axes": [1]} if graph.opset < 18 else {}
        inputs = [x] if axes else [x, graph.integers([1])]
        factors = graph.node("ReduceMean", inputs, (n, 1, h, w), keepdims=1, **axes)
    return graph.node("Mul", [x, factors], (n, c, h, w))


def chain(graph: Graph) -> str:
    x = graph.value()
    for _ in range(int(graph.rng.integers(2, 4))):
        x = unary(graph, x)
    return x


def _convolution(
    graph: Graph, x: str, out: int, kernel: int, *, stride: int = 1, group: int = 1, pad: int = 0,
    dilation: int = 1,
) -> str:  # fmt: skip
    n, c, h, w = graph.shapes[x]
    reach = (kernel - 1) * dilation + 1
    height, width = ((s + 2 * pad - reach) // stride + 1 for s in (h, w))
    if min(height, width) < 1:
        return x
    taps = c // group * kernel * kernel
    inputs = [x, graph.weight((out, c // group, kernel, kernel), taps**-0.5)]
    if graph.chance(0.5):
        inputs.append(graph.weight((out,)))
    return graph.node(
        "Conv", inputs, (n, out, height, width), strides=[stride] * 2, group=group,
        pads=[pad] * 4, dilations=[dilation] * 2,
    )  # fmt: skip


def convolution(graph: Graph) -> str:
    x = graph.value(4)
    channels = graph.shapes[x][1]
    kernel = graph.pick((1, 1, 3, 3, 5))
    out = graph.pick(CHANNELS)
    group = 1
    if graph.chance(0.25):
        group = channels
        out = channels * graph.pick((1, 1, 2))
    elif channels % 2 == 0 and graph.chance(0.2):
        group, out = 2, out + out % 2
    y = _convolution(
        graph, x, out, kernel, stride=graph.pick((1, 1, 2)), group=group,
        pad=graph.pick((0, kernel // 2)), dilation=graph.pick((1, 1, 1, 2)),
    )  # fmt: skip
    return unary(graph, y) if graph.chance(0.5) else y


def transposed(graph: Graph) -> str:
    x = graph.value(4)
    n, c, h, w = graph.shapes[x]
    out, kernel, stride = graph.pick((1, 3, 4)), graph.pick((1, 2, 3)), graph.pick((1, 2))
    weights = graph.weight((c, out, kernel, kernel), (c * kernel) ** -0.5)
    shape = (n, out, (h - 1) * stride + kernel, (w - 1) * stride + kernel)
    return graph.node("ConvTranspose", [x, weights], shape, strides=[stride] * 2)


def pooling(graph: Graph, x: str | None = None) -> str:
    x = x or graph.value(4)
    n, c, h, w = graph.shapes[x]
    kernel, stride, pad, up = graph.pick(((2, 2, 0, 0), (3, 2, 1, 0), (3, 1, 1, 0), (3, 2, 0, 1)))
    sizes = []
    for size in (h, w):
        places = size + 2 * pad - kernel
        if places < 0:
            return x
        count = (places + (stride - 1) * up) // stride + 1
        sizes.append(count - (up and (count - 1) * stride >= size + pad))
    return graph.node(
        graph.pick(("MaxPool", "AveragePool")), [x], (n, c, *sizes), kernel_shape=[kernel] * 2,
        strides=[stride] * 2, pads=[pad] * 4, ceil_mode=up,
    )  # fmt: skip


def pooled(graph: Graph) -> str:
    """Pool the result of a convolution, which may or may not be read elsewhere."""
    x = _convolution(graph, graph.value(4), graph.pick(CHANNELS), 3, pad=1)
    return pooling(graph, unary(graph, x) if graph.chance(0.5) else x)


def separable(graph: Graph) -> str:
    """Depthwise convolution between two of one pixel, with or without a gate or a residual."""
    x = graph.value(4)
    start, channels = x, graph.shapes[x][1]
    wide = graph.pick((4, 8, 16))
    if graph.chance(0.8):
        x = _convolution(graph, x, wide, 1)
        if graph.chance(0.7):
            x = unary(graph, x)
    wide = graph.shapes[x][1]
    x = _convolution(graph, x, wide, 3, pad=1, group=wide, stride=graph.pick((1, 1, 2)))
    if graph.chance(0.5):
        x = unary(graph, x)
    if graph.chance(0.4):
        x = _gated(graph, x)
    if graph.chance(0.8):
        x = _convolution(graph, x, channels, 1)
    if graph.shapes[x] == graph.shapes[start] and graph.chance(0.7):
        x = graph.node("Add", [x, start], graph.shapes[x])
    return x


def _gated(graph: Graph, x: str) -> str:
    n, c, *_ = graph.shapes[x]
    mean = graph.node("GlobalAveragePool", [x], (n, c, 1, 1))
    gate = _convolution(graph, unary(graph, _convolution(graph, mean, 4, 1)), c, 1)
    return graph.node("Mul", [x, graph.node("Sigmoid", [gate], (n, c, 1, 1))], graph.shapes[x])


def residual(graph: Graph) -> str:
    x = graph.value(4)
    y = _convolution(graph, x, graph.shapes[x][1], 3, pad=1)
    if graph.shapes[y] != graph.shapes[x]:
        return y
    y = graph.node("Add", [y, x] if graph.chance(0.5) else [x, y], graph.shapes[x])
    return graph.node("Relu", [y], graph.shapes[y]) if graph.chance(0.6) else y


def dense(graph: Graph) -> str:
    """Concatenate again and again, each time what was computed of the last concatenation."""
    x = graph.value(4)
    for _ in range(int(graph.rng.integers(1, 4))):
        n, c, h, w = graph.shapes[x]
        y = _convolution(graph, x, graph.pick((1, 4, 8)), 3, pad=1)
        if graph.chance(0.5):
            y = unary(graph, y)
        x = graph.node("Concat", [x, y], (n, c + graph.shapes[y][1], h, w), axis=1)
    return x


def concatenation(graph: Graph) -> str:
    """Concatenate values along an axis, perhaps one of them twice."""
    x = graph.value()
    shape = graph.shapes[x]
    axis = 1 if len(shape) == 4 and graph.chance(0.7) else int(graph.rng.integers(len(shape)))
    fits = [
        name
        for name, other in graph.shapes.items()
        if len(other) == len(shape)
        and all(a == b for i, (a, b) in enumerate(zip(shape, other, strict=True)) if i != axis)
    ]
    names = [x, *(graph.pick(fits) for _ in range(int(graph.rng.integers(1, 4))))]
    graph.rng.shuffle(names)
    total = sum(graph.shapes[name][axis] for name in names)
    return graph.node("Concat", names, (*shape[:axis], total, *shape[axis + 1 :]), axis=axis)


def branches(graph: Graph) -> str:
    """Split channels, compute with some of them, and concatenate."""
    x = graph.value(4)
    n, c, h, w = graph.shapes[x]
    if c < 2:
        return x
    parts = [c // 2, c - c // 2]
    shapes = [(n, part, h, w) for part in parts]
    names = graph.several("Split", [x, graph.integers(parts)], shapes, axis=1)
    names = [unary(graph, name) if graph.chance(0.5) else name for name in names]
    names.append(_convolution(graph, names[-1], 4, 1))
    if graph.chance(0.5):
        names.reverse()
    return graph.node("Concat", names, (n, sum(parts) + 4, h, w), axis=1)


def shuffle(graph: Graph) -> str:
    """Shuffle channels: reshape, transpose, reshape."""
    x = graph.value(4)
    n, c, h, w = graph.shapes[x]
    if c % 2:
        return x
    y = graph.node("Reshape", [x, graph.integers([0, 2, c // 2, h, w])], (n, 2, c // 2, h, w))
    y = graph.node("Transpose", [y], (n, c // 2, 2, h, w), perm=[0, 2, 1, 3, 4])
    return graph.node("Reshape", [y, graph.integers([0, -1, h, w])], (n, c, h, w))


def view(graph: Graph) -> str:
    """Look at a value in another way: what moves no element, or may not."""
    x = graph.value()
    shape = graph.shapes[x]
    axis = int(graph.rng.integers(len(shape)))
    kind = int(graph.rng.integers(6))
    if kind == 0:
        order = graph.rng.permutation(len(shape)).tolist()
        return graph.node("Transpose", [x], [shape[i] for i in order], perm=order)
    if kind == 1:
        return _sliced(graph, x, axis)
    if kind == 2:
        flat = (int(np.prod(shape[:axis])), int(np.prod(shape[axis:])))
        return graph.node("Flatten", [x], flat, axis=axis)
    if kind == 3:
        longer = (*shape[:axis], 1, *shape[axis:])
        return graph.node("Unsqueeze", [x, graph.integers([axis])], longer)
    if kind == 4 and shape[axis] == 1:
        shorter = shape[:axis] + shape[axis + 1 :]
        return graph.node("Squeeze", [x, graph.integers([axis])], shorter) if shorter else x
    index = int(graph.rng.integers(-shape[axis], shape[axis]))
    shorter = shape[:axis] + shape[axis + 1 :]
    if not shorter:
        return x
    return graph.node("Gather", [x, graph.constant(np.array(index))], shorter, axis=axis)


def _sliced(graph: Graph, x: str, axis: int) -> str:
    shape = graph.shapes[x]
    start = int(graph.rng.integers(shape[axis]))
    step = int(graph.pick((1, 1, 2, -1)))
    end = int(graph.rng.integers(start, shape[axis])) + 1
    bounds = (start, end, step)
    if step < 0:
        bounds = (end - 1, start - shape[axis] - 1, step)
    count = len(range(end - start)[:: abs(step)])
    inputs = [x, *(graph.integers([value]) for value in (*bounds[:2], axis, step))]
    return graph.node("Slice", inputs, (*shape[:axis], count, *shape[axis + 1 :]))


def resize(graph: Graph) -> str:
    x = graph.value(4)
    n, c, h, w = graph.shapes[x]
    scale = graph.pick((2.0, 2.0, 1.5, 0.5))
    sizes = [int(np.floor(size * scale)) for size in (h, w)]
    if min(sizes) < 1:
        return x
    scales = graph.constant(np.array([1, 1, scale, scale], np.float32))
    mode = graph.pick(("nearest", "linear"))
    return graph.node("Resize", [x, "", scales], (n, c, *sizes), mode=mode)


def pad(graph: Graph) -> str:
    x = graph.value(4)
    n, c, h, w = graph.shapes[x]
    if min(h, w) < 2:
        return x
    mode = graph.pick(("constant", "reflect", "edge"))
    pads = graph.integers([0, 0, 1, 0, 0, 0, 1, 1])
    return graph.node("Pad", [x, pads], (n, c, h + 2, w + 1), mode=mode)


def product(graph: Graph) -> str:
    x = graph.value(graph.pick((2, 3, 4)))
    *front, depth = graph.shapes[x]
    columns = graph.pick((1, 3, 8, 16, 17))
    y = graph.node("MatMul", [x, graph.weight((depth, columns), depth**-0.5)], (*front, columns))
    if graph.chance(0.5):
        y = graph.node("Add", [y, graph.weight((columns,))], (*front, columns))
    return unary(graph, y) if graph.chance(0.4) else y


def attention(graph: Graph) -> str:
    """Multiply a value by itself, transposed, and the weighted sum by it."""
    x = graph.value(3)
    n, length, width = graph.shapes[x]
    keys = graph.node("Transpose", [x], (n, width, length), perm=[0, 2, 1])
    scores = graph.node("MatMul", [x, keys], (n, length, length))
    scale = graph.constant(np.float32(1 / max(width, 1)))
    scores = graph.node("Mul", [scores, scale], (n, length, length))
    weights = graph.node("Softmax", [scores], (n, length, length), axis=-1)
    return graph.node("MatMul", [weights, x], (n, length, width))


def normalization(graph: Graph) -> str:
    x = graph.value()
    shape = graph.shapes[x]
    kind = int(graph.rng.integers(4))
    if kind == 0 and graph.opset >= 17:
        scale, shift = graph.weight(shape[-1:]), graph.weight(shape[-1:])
        return graph.node("LayerNormalization", [x, scale, shift], shape, epsilon=0.1)
    if kind == 1 and len(shape) == 4:
        channels = shape[1:2]
        given = [graph.weight(channels) for _ in range(3)]
        variance = graph.constant(graph.rng.uniform(0.5, 2, channels).astype(np.float32))
        return graph.node("BatchNormalization", [x, *given, variance], shape)
    axis = int(graph.rng.integers(len(shape)))
    if kind == 2:
        return graph.node("Softmax", [x], shape, axis=axis)
    axes = {"axes": [axis]} if graph.opset < 18 else {}
    inputs = [x] if axes else [x, graph.integers([axis])]
    reduced = (*shape[:axis], 1, *shape[axis + 1 :])
    name = graph.pick(("ReduceMean", "ReduceMax"))
    return graph.node(name, inputs, reduced, keepdims=1, **axes)


def host(graph: Graph) -> str:
    """Compute something without a kernel; often of sizes that only the run tells."""
    x = graph.value()
    shape = graph.shapes[x]
    axis = int(graph.rng.integers(len(shape)))
    kind = int(graph.rng.integers(4))
    if kind == 0:
        return _compressed(graph, x, axis)
    if kind == 1:
        names = "abcde"[: len(shape)]
        if len(shape) > 5:
            return x
        order = "".join(names[i] for i in graph.rng.permutation(len(shape)))
        result = [shape[names.index(letter)] for letter in order]
        return graph.node("Einsum", [x], result, equation=f"{names}->{order}")
    if kind == 2:
        return _branched(graph, x)
    sequence = f"q{graph.number()}"
    parts = [x, graph.pick([n for n, s in graph.shapes.items() if s == shape])]
    graph.nodes.append(helper.make_node("SequenceConstruct", parts, [sequence], f"n{sequence}"))
    at = graph.constant(np.array(graph.pick((0, 1, -1, -2))))
    return graph.node("SequenceAt", [sequence, at], shape)


def _compressed(graph: Graph, x: str, axis: int) -> str:
    shape = graph.shapes[x]
    count = shape[axis]
    condition = f"b{len(graph.conditions)}"
    graph.conditions[condition] = count
    kept = int(chosen(count).sum())
    reduced = (*shape[:axis], kept, *shape[axis + 1 :])
    return graph.node("Compress", [x, condition], reduced, axis=axis)


def chosen(count: int) -> np.ndarray:
    """Return the conditions that are fed: two of three are true."""
    return np.arange(count) % 3 != 1


def _branched(graph: Graph, x: str) -> str:
    """Take one of two branches, which give a view of an outer value or compute with it."""
    number = graph.number()
    given = []
    for op_type in graph.pick((("Identity", "Relu"), ("Neg", "Identity"))):
        out = f"{op_type}{number}"
        node = helper.make_node(op_type, [x], [out], f"n{out}")
        given.append(helper.make_graph([node], out, [], [onnx.ValueInfoProto(name=out)]))
    which = f"c{number}"
    graph.conditions[which] = 0
    return graph.node("If", [which], graph.shapes[x], then_branch=given[0], else_branch=given[1])


MOTIFS: tuple[Callable[[Graph], str], ...] = (
    unary, unary, binary, binary, broadcast, chain, convolution, convolution, transposed, pooling,
    pooled, separable, separable, residual, dense, concatenation, concatenation, branches, shuffle,
    view, view, view, resize, pad, product, attention, normalization, host,
)  # fmt: skip

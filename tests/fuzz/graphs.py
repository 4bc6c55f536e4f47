"""Random graphs of a few nodes, made of what programs are built around.

Views and shared results, concatenations in place, chains, residuals, gates, convolutions with
poolings, strips of depthwise convolutions, host steps in between, several outputs in any order,
open and fixed sizes. A graph is its number: `random_graph` makes the same of it everywhere.

Values stay near one and nothing jumps, so that results can be compared within a tolerance. What
kernels are compiled for (expressions, windows) comes from short lists, so that few are compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Feeds: TypeAlias = dict[str, np.ndarray]
Shape: TypeAlias = tuple[int, ...]

OPSETS = (13, 17, 18, 21, 22)
CHANNELS = (1, 2, 3, 4, 6, 8, 16, 17)
SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16)
UNARY = ("Relu", "Sigmoid", "HardSwish", "LeakyRelu")
LARGEST = 1 << 15
"""Elements of a value that others are made of."""


class Graph:
    """A graph that grows by a motif at a time, and the shapes that its values have.

    Attributes
    ----------
    rng : numpy.random.Generator
    opset : int
    shapes : dict of str to tuple
        Of float32 values, for the first feeds.
    """

    def __init__(self, number: int) -> None:
        self.rng = np.random.default_rng(number)
        self.opset = int(self.pick(OPSETS))
        self.shapes: dict[str, Shape] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.inputs: list[str] = []
        self.conditions: dict[str, int] = {}

    # --- drawing ------------------------------------------------------------------------------

    def pick(self, values: Sequence[Any]) -> Any:
        """Return one of some values."""
        return values[int(self.rng.integers(len(values)))]

    def chance(self, probability: float) -> bool:
        """Return True with a probability."""
        return bool(self.rng.random() < probability)

    def value(self, rank: int | None = None) -> str:
        """Return a value, often one of the latest; of a rank, made if there is none."""
        found = [n for n, shape in self.shapes.items() if rank is None or len(shape) == rank]
        if not found:
            return self.input(rank or 4)
        return str(found[-1] if self.chance(0.5) else self.pick(found))

    # --- growing ------------------------------------------------------------------------------

    def input(self, rank: int) -> str:
        """Add an input, often of sizes that another value has."""
        name = f"x{len(self.inputs)}"
        like = [s for s in self.shapes.values() if len(s) == rank]
        if like and self.chance(0.6):
            shape = self.pick(like)
        elif rank == 4:
            shape = (int(self.rng.integers(1, 4)), self.pick(CHANNELS), *self._sizes(2))
        else:
            shape = self._sizes(rank)
        self.inputs.append(name)
        self.shapes[name] = shape
        return name

    def _sizes(self, count: int) -> Shape:
        return tuple(int(self.pick(SIZES)) for _ in range(count))

    def weight(self, shape: Sequence[int], scale: float = 1.0) -> str:
        """Add float32 weights."""
        array = self.rng.standard_normal(tuple(shape)) * scale
        return self.constant(array.astype(np.float32))

    def constant(self, array: Any) -> str:
        """Add a constant."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def integers(self, values: Sequence[int]) -> str:
        """Add a constant of int64."""
        return self.constant(np.array(values, np.int64))

    def node(self, op_type: str, inputs: Sequence[str], shape: Sequence[int], **given: Any) -> str:
        """Add a node with one result of a shape; returns its name."""
        return self.several(op_type, inputs, [shape], **given)[0]

    def several(
        self, op_type: str, inputs: Sequence[str], shapes: Sequence[Sequence[int]], **given: Any
    ) -> list[str]:
        """Add a node with several results."""
        number = len(self.nodes)
        names = [f"v{number}" + f"_{i}" * (len(shapes) > 1) for i in range(len(shapes))]
        self.nodes.append(helper.make_node(op_type, list(inputs), names, f"n{number}", **given))
        self.shapes |= {name: tuple(map(int, s)) for name, s in zip(names, shapes, strict=True)}
        return names


# --- motifs -----------------------------------------------------------------------------------


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
    sequence = f"s{len(graph.nodes)}"
    parts = [x, graph.pick([n for n, s in graph.shapes.items() if s == shape])]
    graph.nodes.append(helper.make_node("SequenceConstruct", parts, [sequence], f"q{sequence}"))
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
    number = len(graph.nodes)
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


# --- models -----------------------------------------------------------------------------------


def random_graph(number: int) -> tuple[onnx.ModelProto, list[Feeds]]:
    """Make a model and inputs for it: of the sizes it was made with, and often of others."""
    graph = Graph(number)
    for _ in range(int(graph.rng.integers(1, 3))):
        graph.input(int(graph.pick((4, 4, 4, 3, 2))))
    for _ in range(int(graph.rng.integers(1, 7))):
        graph.pick(MOTIFS)(graph)
        if max(int(np.prod(shape)) for shape in graph.shapes.values()) > LARGEST:
            break
    names = [name for name in graph.shapes if name not in graph.inputs or graph.chance(0.1)]
    count = min(int(graph.rng.integers(1, 5)), len(names))
    outputs = graph.rng.permutation(names)[:count].tolist() if names else graph.inputs[:1]
    if names and graph.chance(0.7) and names[-1] not in outputs:
        outputs.append(names[-1])
    opened = _opened(graph)
    return _model(graph, outputs, opened), _feeds(graph, opened)


def _opened(graph: Graph) -> dict[tuple[str, int], str]:
    """Draw the axes of inputs that are open: batch, spatial sizes, or all; and their names."""
    kind = int(graph.rng.integers(4))
    opened = {}
    for name in graph.inputs:
        for axis, size in enumerate(graph.shapes[name]):
            if kind == 3 or (kind == 1 and axis == 0) or (kind == 2 and axis != 1):
                opened[name, axis] = f"d{axis}_{size}"
    return opened


def _model(
    graph: Graph, outputs: Sequence[str], opened: dict[tuple[str, int], str]
) -> onnx.ModelProto:
    inputs = [
        helper.make_tensor_value_info(
            name,
            TensorProto.FLOAT,
            [opened.get((name, axis), size) for axis, size in enumerate(graph.shapes[name])],
        )
        for name in graph.inputs
    ]
    inputs += [
        helper.make_tensor_value_info(name, TensorProto.BOOL, [f"{name}_count"] if count else [])
        for name, count in graph.conditions.items()
    ]
    results = [onnx.ValueInfoProto(name=name) for name in outputs]
    made = helper.make_graph(graph.nodes, "fuzz", inputs, results, graph.weights)
    imports = [helper.make_opsetid("", graph.opset)]
    return helper.make_model(made, opset_imports=imports, ir_version=8)


def _feeds(graph: Graph, opened: dict[tuple[str, int], str]) -> list[Feeds]:
    """Draw inputs of the sizes that were drawn, then with other ones where they are open."""
    feeds = []
    # Larger ones only: where a window is larger than an image, onnxruntime rounds up, not down.
    for change in (0, 1, 3):
        if change and not opened:
            continue
        feed: Feeds = {}
        for name in graph.inputs:
            shape = [
                size + change * ((name, axis) in opened)
                for axis, size in enumerate(graph.shapes[name])
            ]
            feed[name] = graph.rng.standard_normal(shape).astype(np.float32)
        for name, count in graph.conditions.items():
            feed[name] = chosen(count) if count else np.array(graph.chance(0.5))
        feeds.append(feed)
    return feeds

"""Random graphs of operators that change their order of axes, before and after."""

import math

import numpy as np
import pytest


def ints(*values):
    return np.array(values, np.int64)


class Maker:
    """Grows a graph; each method adds a node to a value of known shape and returns the new ones."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.constants = [], {}
        self.shapes = {name: (2, *self.rng.integers(1, 5, 3).tolist()) for name in "ab"}
        names = ["n", *["height"] * int(self.rng.integers(2))]  # sizes that only have names
        self.shapes["b"] = (*self.shapes["a"][: len(names)], *self.shapes["b"][len(names) :])
        self.sizes = dict(zip(names, self.shapes["a"], strict=False))
        self.inputs = {name: (*names, *shape[len(names) :]) for name, shape in self.shapes.items()}

    def add(self, op_type, inputs, shape, **attributes):
        names = []
        for item in inputs:
            if not isinstance(item, str):
                self.constants[name := f"k{len(self.constants)}"] = item
                item = name
            names.append(item)
        result = f"v{len(self.nodes)}"
        self.nodes.append((op_type, " ".join(names), result, attributes))
        self.shapes[result] = tuple(shape)

    def axis(self, x):
        return int(self.rng.integers(len(self.shapes[x])))

    def floats(self, *shape):
        return self.rng.standard_normal(shape).astype(np.float32)

    def transpose(self, x):
        order = self.rng.permutation(len(self.shapes[x])).tolist()
        self.add("Transpose", [x], [self.shapes[x][axis] for axis in order], perm=order)

    def unary(self, x):
        self.add(self.rng.choice(["Sin", "Tanh", "Sigmoid"]), [x], self.shapes[x])

    def constant(self, x):
        shape = [size if self.rng.random() < 0.5 else 1 for size in self.shapes[x]]
        operands = [x, self.floats(*shape[int(self.rng.integers(len(shape))) :])]
        if self.rng.random() < 0.5:
            operands.reverse()
        self.add(self.rng.choice(["Add", "Mul"]), operands, self.shapes[x])

    def binary(self, x):
        same = [name for name, shape in self.shapes.items() if shape == self.shapes[x]]
        self.add("Add", [x, str(self.rng.choice(same))], self.shapes[x])

    def concat(self, x):
        shape, axis = list(self.shapes[x]), self.axis(x)
        more = self.floats(*shape[:axis], 2, *shape[axis + 1 :])
        shape[axis] += 2
        if axis:  # the first is open
            self.add("Concat", [x, more], shape, axis=axis - len(shape))

    def reduce(self, x):
        shape, axis = list(self.shapes[x]), self.axis(x)
        keepdims = int(self.rng.integers(2))
        if axis and len(shape) > 2:
            shape[axis : axis + 1] = [1] * keepdims
            self.add("ReduceMean", [x, ints(axis)], shape, keepdims=keepdims)

    def slice(self, x):
        shape, axis = list(self.shapes[x]), self.axis(x)
        if axis and shape[axis] > 1:
            shape[axis] -= 1
            self.add("Slice", [x, ints(1), ints(99), ints(axis)], shape)

    def gather(self, x):
        shape, axis = list(self.shapes[x]), self.axis(x)
        if axis and len(shape) > 2:
            self.add("Gather", [x, np.int64(0)], shape[:axis] + shape[axis + 1 :], axis=axis)

    def pad(self, x):
        pads = [0, *self.rng.integers(0, 2, len(self.shapes[x]) - 1).tolist()]
        shape = [size + pad for size, pad in zip(self.shapes[x], pads, strict=True)]
        self.add("Pad", [x, ints(*pads, *[0] * len(pads))], shape)

    def unsqueeze(self, x):
        shape, axis = list(self.shapes[x]), self.axis(x)
        if len(shape) < 6:
            self.add("Unsqueeze", [x, ints(axis)], [*shape[:axis], 1, *shape[axis:]])

    def squeeze(self, x):
        shape, axis = list(self.shapes[x]), self.axis(x)
        if axis and shape[axis] == 1 and len(shape) > 2:
            self.add("Squeeze", [x, ints(axis)], shape[:axis] + shape[axis + 1 :])

    def merge(self, x):
        shape, axis = list(self.shapes[x]), self.axis(x)
        if 1 <= axis < len(shape) - 1 and shape[0] == 2:
            shape[axis : axis + 2] = [math.prod(shape[axis : axis + 2])]
            self.add("Reshape", [x, ints(-1, *shape[1:])], shape)

    def cut(self, x):
        shape, axis = list(self.shapes[x]), self.axis(x)
        if axis and shape[axis] % 2 == 0 and shape[0] == 2 and len(shape) < 6:
            shape[axis : axis + 1] = [shape[axis] // 2, 2]
            self.add("Reshape", [x, ints(0, *shape[1:])], shape)

    def tile(self, x):
        counts = [1, *self.rng.integers(1, 3, len(self.shapes[x]) - 1).tolist()]
        shape = [size * count for size, count in zip(self.shapes[x], counts, strict=True)]
        if math.prod(shape) < 5000:
            self.add("Tile", [x, ints(*counts)], shape)

    def softmax(self, x):
        self.add("Softmax", [x], self.shapes[x], axis=self.axis(x))

    def product(self, x):
        shape = list(self.shapes[x])
        self.add("MatMul", [x, self.floats(shape[-1], 3)], [*shape[:-1], 3])

    def conv(self, x):
        shape = list(self.shapes[x])
        if 3 <= len(shape) <= 5:
            weights = self.floats(4, shape[1], *[1] * (len(shape) - 2))
            self.add("Conv", [x, weights], [shape[0], 4, *shape[2:]])

    def normalize(self, x):
        size = self.shapes[x][-1]
        self.add("LayerNormalization", [x, self.floats(size)], self.shapes[x])


STEPS = [name for name in vars(Maker) if name not in ("add", "axis", "floats") and name[0] != "_"]


@pytest.mark.parametrize("seed", range(60))
def test_results_stay(graph, optimized, seed):
    maker = Maker(seed)
    while len(maker.nodes) < 14:
        names = list(maker.shapes)
        x = names[int(min(maker.rng.geometric(0.4), len(names))) * -1]
        step = "transpose" if maker.rng.random() < 0.3 else maker.rng.choice(STEPS)
        getattr(maker, step)(x)
    read = {name for _, names, _, _ in maker.nodes for name in names.split()}
    ends = [result for _, _, result, _ in maker.nodes if result not in read]
    inputs = {name: shape for name, shape in maker.inputs.items() if name in read}
    model = graph(maker.nodes, inputs, outputs=" ".join(ends), **maker.constants)
    before = [node[0] for node in maker.nodes].count("Transpose")
    left, _ = optimized(model, **maker.sizes)
    assert left.count("Transpose") <= before

"""A graph that grows by a node at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import helper, numpy_helper

Shape: TypeAlias = tuple[int, ...]

OPSETS = (13, 17, 18, 21, 22)
CHANNELS = (1, 2, 3, 4, 6, 8, 16, 17)
SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16)


class Graph:
    """A graph that grows by a motif at a time, and the shapes that its values have.

    Attributes
    ----------
    rng : numpy.random.Generator
    opset : int
    shapes : dict of str to tuple
        Of float32 values, for the first feeds.
    depth : int
        Bodies around the nodes that are being added.
    """

    def __init__(self, number: int) -> None:
        self.rng = np.random.default_rng(number)
        self.opset = int(self.pick(OPSETS))
        self.shapes: dict[str, Shape] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.inputs: list[str] = []
        self.conditions: dict[str, int] = {}
        self.depth = 0
        self._numbers = 0

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

    def number(self) -> int:
        """Return a number that no node had before."""
        self._numbers += 1
        return self._numbers - 1

    def several(
        self, op_type: str, inputs: Sequence[str], shapes: Sequence[Sequence[int]], **given: Any
    ) -> list[str]:
        """Add a node with several results."""
        number = self.number()
        names = [f"v{number}" + f"_{i}" * (len(shapes) > 1) for i in range(len(shapes))]
        self.nodes.append(helper.make_node(op_type, list(inputs), names, f"n{number}", **given))
        self.shapes |= {name: tuple(map(int, s)) for name, s in zip(names, shapes, strict=True)}
        return names

"""Builder of the nodes that take the place of one that tf2onnx lacks or converts wrongly."""

from __future__ import annotations

from typing import Any

import numpy as np


class Builder:
    """Nodes in tf2onnx's graph that replace one of its nodes.

    Parameters
    ----------
    graph, node
        Of tf2onnx.
    """

    def __init__(self, graph: Any, node: Any) -> None:
        self.graph, self.node = graph, node
        self.inputs: list[str] = list(node.input)
        self._constants = 0

    def __call__(self, kind: str, *inputs: str | np.ndarray, **attributes: Any) -> str:
        """Add a node; returns its output. Arrays become constants."""
        names = [self.constant(each) if isinstance(each, np.ndarray) else each for each in inputs]
        output: str = self.graph.make_node(kind, names, attr=attributes).output[0]
        return output

    def constant(self, array: np.ndarray) -> str:
        """Add a constant."""
        self._constants += 1
        name = f"{self.node.name}/constant_{self._constants}"
        output: str = self.graph.make_const(name, array).output[0]
        return output

    def replace(self, result: str) -> None:
        """Let a tensor be the output of the node, which goes."""
        output = self.node.output[0]
        shape, kind = self.graph.get_shape(output), self.graph.get_dtype(output)
        self.graph.remove_node(self.node.name)
        self.graph.make_node("Identity", [result], outputs=[output], shapes=[shape], dtypes=[kind])

    def dtype(self, name: str) -> np.dtype:
        """Return the dtype of a tensor, as NumPy has it."""
        from tf2onnx import utils

        return np.dtype(utils.map_onnx_to_numpy_type(self.graph.get_dtype(name)))

    def rank(self, index: int) -> int:
        """Return the rank of an input.

        Raises
        ------
        ValueError
            It is not known.
        """
        shape = self.graph.get_shape(self.inputs[index])
        if shape is None:
            raise ValueError(f"the rank of its input {index} is not known")
        return len(shape)

    def value(self, index: int) -> np.ndarray:
        """Return the contents of an input that is a constant.

        Raises
        ------
        ValueError
            It is none.
        """
        source = self.node.inputs[index]
        if not source.is_const():
            raise ValueError(f"its input {index} is not a constant")
        return np.asarray(source.get_tensor_value(as_list=False))

    def cast(self, name: str, dtype: Any) -> str:
        """Add a Cast."""
        from tf2onnx import utils

        return self("Cast", name, to=utils.map_numpy_to_onnx_dtype(np.dtype(dtype)))

    def size(self, name: str, axis: int) -> str:
        """Return a dimension, as a scalar of int64."""
        return self("Gather", self("Shape", name), np.array(axis, np.int64))

    def unsqueeze(self, name: str, *axes: int) -> str:
        """Add axes of size 1."""
        return self("Unsqueeze", name, np.array(axes, np.int64))

"""Comparison of two models tensor by tensor, as of a float model and its quantized form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidArgument
from . import text
from .feeds import make_feeds
from .sensitivity import Error, error

if TYPE_CHECKING:
    import onnx_ir as ir
    from rich.console import Console

_SUFFIXES = ("_quantized", ".quantized", "_QuantizeLinear_Output")
"""What the name of a tensor of integers has behind that of the float one."""
_INTEGER_OPERATORS = ("QLinearConv", "QLinearMatMul")
"""Operators whose inputs 6 and 7 are scale and zero point of the result."""
_MERGED = ("BatchNormalization", "Relu", "Clip")
_WORST = 3


@dataclass(frozen=True)
class TensorRow:
    """A tensor that both models have.

    Attributes
    ----------
    name : str
    op_type, other_op_type : str
        Of the nodes that make it.
    error : Error
        Of the other model's tensor.
    added : float
        Noise beyond that of the noisiest tensor that the node reads.
    """

    name: str
    op_type: str
    other_op_type: str
    error: Error
    added: float


def compare_layers(
    model: Any,
    other: Any,
    feeds: Mapping[str, Any] | None = None,
    *,
    dims: Sequence[str] = (),
    seed: int = 0,
    threads: int | None = None,
) -> list[TensorRow]:
    """Run two models on the same inputs, and compare the tensors of floats that have one name.

    A tensor that is only quantized, in either model, stands for what is dequantized of it; one that
    there is as integers alone is dequantized.

    Parameters
    ----------
    model, other
        Anything `sardonyx.load` takes.
    feeds : mapping of str to ndarray, optional
        Inputs by name; those not given are random.
    dims, seed
        As `compare` takes them.
    threads : int, optional

    Returns
    -------
    list of TensorRow
        In the order of the first model.

    Raises
    ------
    InvalidArgument
        The inputs differ, or no tensor corresponds.
    """
    from ..importers import load

    models = [load(each) for each in (model, other)]
    _require_same_inputs(*models)
    inputs = make_feeds(models[0], feeds or {}, dims, seed)
    made = [_named(each) for each in models]
    names = [name for name in made[0] if any(each in made[1] for each in _spellings(name))]
    first, second = (_Reading(each, names) for each in models)
    names = [name for name in names if name in first.tensors and name in second.tensors]
    if not names:
        raise InvalidArgument("the models have no tensor of floats of one name besides the inputs")
    results = zip(
        names, *(each.run(names, inputs, threads) for each in (first, second)), strict=True
    )
    errors = {
        name: found for name, *tensors in results if (found := _closest(*tensors)) is not None
    }
    makers = first.makers, second.makers
    return [
        TensorRow(name, makers[0][name], makers[1][name], errors[name], added)
        for name, added in _added(models[0], errors).items()
    ]


def _closest(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> Error | None:
    """Compare a tensor with the closest of the other model's readings, either way."""
    pairs = [(first[0], each) for each in second] + [(each, second[0]) for each in first[1:]]
    errors = [error(a, b) for a, b in pairs if np.shape(a) == np.shape(b) and np.size(a)]
    return min(errors, key=lambda each: each.noise, default=None)


def _added(model: ir.Model, errors: Mapping[str, Error]) -> dict[str, float]:
    """Noise of tensors beyond that of what they are made of, in the order of the graph."""
    noise: dict[str, float] = {}
    added = {}
    for node in model.graph:
        before = max((noise.get(name, 0.0) for name in _operands(node)), default=0.0)
        for name in (str(value.name) for value in node.outputs):
            noise[name] = errors[name].noise if name in errors else before
            if name in errors:
                added[name] = max(noise[name] - before, 0.0)
    return added


def _require_same_inputs(model: ir.Model, other: ir.Model) -> None:
    one, two = ([str(value.name) for value in each.graph.inputs] for each in (model, other))
    if sorted(one) != sorted(two):
        raise InvalidArgument(f"the inputs are {', '.join(one)}, and {', '.join(two)}")


def _named(model: ir.Model) -> dict[str, ir.Value]:
    return {str(value.name): value for node in model.graph for value in node.outputs if value.name}


def _operands(node: ir.Node) -> list[str]:
    return [str(value.name) for value in node.inputs if value is not None]


class _Reading:
    """A copy of a model whose tensors can be read as floats.

    Attributes
    ----------
    tensors : dict of str to list of ir.Value
        By name, what is read for it: the tensor, and what follows that passes merge into its maker,
        whose result then has the name.
    makers : dict of str to str
        Operator that makes the tensor.
    """

    def __init__(self, model: ir.Model, names: Sequence[str]) -> None:
        self.model = model.clone()
        self.tensors: dict[str, list[ir.Value]] = {}
        self.makers: dict[str, str] = {}
        values = _named(self.model)
        for name in names:
            found = next(values[each] for each in _spellings(name) if each in values)
            producer, value = found.producer(), self._floats(found)
            if value is not None and producer is not None:
                self.tensors[name], self.makers[name] = _merged(value), producer.op_type

    def _floats(self, value: ir.Value) -> ir.Value | None:
        """Return what of a tensor is read as floats; None for other numbers."""
        readers = [node for node, _ in value.uses()]
        if value.dtype is not None and value.dtype.is_floating_point():
            quantized = readers and all(node.op_type == "QuantizeLinear" for node in readers)
            if not quantized or value.is_graph_output():
                return value
            return self._floats(readers[0].outputs[0]) or value
        for node in readers:
            if node.op_type == "DequantizeLinear" and node.inputs[0] is value:
                return node.outputs[0]
        return self._dequantized(value)

    def _dequantized(self, value: ir.Value) -> ir.Value | None:
        """Dequantize the result of an operator of integers."""
        import onnx_ir as ir

        producer = value.producer()
        if producer is None or producer.op_type not in _INTEGER_OPERATORS:
            return None
        scale, zero = producer.inputs[6:8]
        if scale is None:
            return None
        node = ir.node("DequantizeLinear", [value, scale, zero], name=f"{value.name}.floats")
        node.outputs[0].name, node.outputs[0].type = node.name, ir.TensorType(ir.DataType.FLOAT)
        self.model.graph.insert_after(producer, node)
        return node.outputs[0]

    def run(
        self, names: Sequence[str], feeds: Mapping[str, Any], threads: int | None
    ) -> list[list[np.ndarray]]:
        """Return the readings of some names."""
        from ..runtime.session import Session

        outputs = self.model.graph.outputs
        wanted = dict.fromkeys(each for name in names for each in self.tensors[name])
        outputs.extend(each for each in wanted if not each.is_graph_output())
        with Session(self.model, threads=threads) as session:
            found = session.run([str(each.name) for each in wanted], feeds)
        results = dict(zip(wanted, found, strict=True))
        return [[results[each] for each in self.tensors[name]] for name in names]


def _merged(value: ir.Value) -> list[ir.Value]:
    """Return a tensor, and what normalization and limits that alone read it make of it."""
    from ..optimizer.values import used_once

    found = [value]
    while used_once(found[-1]):
        (reader,) = found[-1].consumers()
        if reader.op_type not in _MERGED or reader.graph is not value.graph:
            break
        found.append(reader.outputs[0])
    return found


def _spellings(name: str) -> list[str]:
    return [name, *(name + suffix for suffix in _SUFFIXES)]


def print_layer_comparison(rows: Sequence[TensorRow], console: Console) -> None:
    """Print a line for each tensor, and those where most noise is added."""
    table = text.table(
        f"{len(rows)} tensors of both", "tensor", "made by", "other", "SQNR:", "cosine:", "added:"
    )
    for row in rows:
        table.add_row(
            row.name, row.op_type, row.other_op_type, f"{row.error.decibels:.1f} dB",
            f"{row.error.cosine:.6f}", text.error(row.added),
        )  # fmt: skip
    table.caption = "added: noise beyond that of what the node reads, as a part of the signal"
    text.show(console, table)
    worst = sorted(rows, key=lambda row: -row.added)[:_WORST]
    named = ", ".join(f"{row.name} ({row.op_type}, {text.error(row.added)})" for row in worst)
    console.print(f"most noise is added by {named}", highlight=False, markup=False, soft_wrap=True)

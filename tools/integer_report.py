"""Report of integers: which nodes of a quantized model compute with them, here and elsewhere."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SardonyxError
from . import reference, text

if TYPE_CHECKING:
    import onnx_ir as ir
    from rich.console import Console


@dataclass(frozen=True)
class IntegerRow:
    """A node of a quantized model.

    Attributes
    ----------
    name, op_type : str
    here : bool or None
        Whether it computes with integers; None where it became part of another node.
    reference : bool or None
        The same of onnxruntime; None also where it is not installed, or refuses the model.
    reason : str
        Why it computes with floats here, and so what should be different.
    is_slow : bool
        Whether onnxruntime has int8 on the left of a product, activations or ConvInteger's weights:
        on x86 that takes 10 to 150 times as long as uint8 there.
    """

    name: str
    op_type: str
    here: bool | None
    reference: bool | None
    reason: str = ""
    is_slow: bool = False


def integer_rows(
    model: ir.Model, lowered: ir.Model, original: reference.Source | None = None
) -> list[IntegerRow]:
    """Say of each node between Quantize- and DequantizeLinear what it computes with.

    Parameters
    ----------
    model : onnx_ir.Model
        As it is loaded; of one without quantized tensors there are no rows.
    lowered : onnx_ir.Model
        The same as the session lowers it.
    original : path, optional
        What onnxruntime is given; else ``model``.
    """
    from ..optimizer.quantize.explanation import float_reason, multiplies_signed, quantized_nodes

    nodes = list(quantized_nodes(model.graph))
    if not nodes:
        return []
    known = {name for node in nodes for name in _names(node)}
    here = _computing(lowered, known)
    optimized = _in_onnxruntime(original or model)
    other, slow = _computing(optimized, known), _computing(optimized, known, multiplies_signed)
    rows = []
    for node in nodes:
        own = _of(node, here)
        reason = float_reason(node) if own is False else ""
        theirs, is_slow = _of(node, other), bool(_of(node, slow))
        rows.append(IntegerRow(str(node.name), node.op_type, own, theirs, reason, is_slow))
    return rows


def _names(node: ir.Node) -> list[str]:
    """Names of a node and its results, also of what is quantized of them."""
    values = list(node.outputs)
    for value in node.outputs:
        readers = value.consumers()
        values += [each.outputs[0] for each in readers if each.op_type == "QuantizeLinear"]
    return [str(node.name), *(str(value.name) for value in values)]


def _computing(
    model: ir.Model | None, known: set[str], holds: Callable[[ir.Node], bool] | None = None
) -> dict[str, bool]:
    """Tell of nodes that are known by a name, whether something holds of what became of them.

    It is that they operate on integers where nothing else is given.
    """
    from ..optimizer.quantize.explanation import operates_on_integers

    holds = holds or operates_on_integers
    found: dict[str, bool] = {}
    for node in () if model is None else model.graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        is_so = holds(node)
        for name in (str(node.name), *(str(value.name) for value in node.outputs)):
            while name not in known and name:  # what passes make of a node has its name, and more
                name = name.rpartition(".")[0]
            if name:
                found[name] = is_so or found.get(name, False)
    return found


def _of(node: ir.Node, computing: dict[str, bool]) -> bool | None:
    return next((computing[name] for name in _names(node) if name in computing), None)


def _in_onnxruntime(model: reference.Source) -> ir.Model | None:
    """Return what onnxruntime's extended optimizations make of a model; None where it cannot."""
    import onnx_ir as ir

    if not reference.is_available():
        return None
    with tempfile.TemporaryDirectory(prefix="sardonyx-") as folder:
        path = Path(folder) / "optimized.onnx"
        try:
            reference.open_session(model, level="extended", optimized_model_filepath=str(path))
        except SardonyxError:
            return None
        return ir.load(path)


def print_integers(rows: Sequence[IntegerRow], console: Console) -> None:
    """Print a line for each node, with the reason of those that compute with floats."""
    count = sum(row.here is True for row in rows)
    console.print(f"{count} of {len(rows)} nodes on quantized tensors compute with integers")
    table = text.table("", "node", "operator", "here", "onnxruntime", "why not")
    for row in rows:
        theirs = "integers, slow" if row.is_slow else _word(row.reference)
        table.add_row(row.name, row.op_type, _word(row.here), theirs, row.reason)
    table.caption = "–: part of another node, or not known"
    if any(row.is_slow for row in rows):
        table.caption += (
            "; slow: int8 activations, or weights of ConvInteger, which onnxruntime multiplies well"
            " as uint8 only"
        )
    text.show(console, table)


def _word(is_integer: bool | None) -> str:
    return "–" if is_integer is None else "integers" if is_integer else "floats"

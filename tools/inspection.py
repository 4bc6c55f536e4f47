"""Summary of a model: interface, operators, parameters, and what runs where."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from ..dimension_names import dimension_name
from . import text

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class Port:
    """An input or output of the graph: dims are int, a name, or None when unknown."""

    name: str
    dtype: str
    dims: tuple[int | str | None, ...] | None


@dataclass(frozen=True)
class OperatorCount:
    """Number of nodes of an operator, subgraphs included, and whether it has a kernel."""

    domain: str
    op_type: str
    count: int
    has_kernel: bool

    @property
    def name(self) -> str:
        """Operator with its domain, if that is not the standard one."""
        return f"{self.domain}::{self.op_type}" if self.domain else self.op_type


@dataclass(frozen=True)
class Summary:
    """Result of `summarize`.

    Attributes
    ----------
    nodes : int
        Subgraphs included, Constants not.
    parameters, weight_bytes : int
        Elements and bytes of the initializers and Constants, subgraphs included.
    symbols : tuple of str
        Named dimensions of the inputs.
    """

    producer: str
    ir_version: int | None
    opsets: dict[str, int]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    nodes: int
    operators: tuple[OperatorCount, ...]
    parameters: int
    weight_bytes: int
    symbols: tuple[str, ...]


def summarize(model: ir.Model) -> Summary:
    """Summarize a model.

    Parameters
    ----------
    model : onnx_ir.Model
    """
    from ..runtime.ops import has_kernel

    graph = model.graph
    nodes = [node for node in graph.all_nodes() if node.op_type != "Constant" or node.domain]
    counts = Counter((node.domain, node.op_type) for node in nodes)
    operators = [
        OperatorCount(domain, op_type, count, has_kernel(domain, op_type))
        for (domain, op_type), count in counts.most_common()
    ]
    inputs = tuple(_port(v) for v in graph.inputs if v.name not in graph.initializers)
    weights = list(_weights(model))
    symbols = [dim for port in inputs for dim in port.dims or () if isinstance(dim, str)]
    return Summary(
        f"{model.producer_name or ''} {model.producer_version or ''}".strip(),
        model.ir_version,
        dict(model.opset_imports),
        inputs,
        tuple(_port(value) for value in graph.outputs),
        sum(counts.values()),
        tuple(operators),
        sum(weight.size for weight in weights),
        sum(weight.nbytes for weight in weights),
        tuple(dict.fromkeys(symbols)),
    )


def _weights(model: ir.Model) -> Iterator[ir.TensorProtocol]:
    for graph in model.graphs():
        for value in graph.initializers.values():
            if value.const_value is not None:
                yield value.const_value
        for node in graph:
            if node.op_type == "Constant" and not node.domain and "value" in node.attributes:
                yield node.attributes["value"].as_tensor()


def _port(value: ir.Value) -> Port:
    dims: tuple[Any, ...] | None = None
    if value.shape is not None:
        dims = tuple(dim if isinstance(dim, int) else _symbol(dim.value) for dim in value.shape)
    return Port(str(value.name), str(value.type or "unknown type"), dims)


def _symbol(name: str | None) -> str | None:
    """Name of a dimension if the model states it; those of shape inference are not shown."""
    return None if name is None or name.startswith("unk__") else dimension_name(name)


def print_summary(summary: Summary, source: str, console: Console) -> None:
    """Print a summary; ``source`` is what the model was loaded from."""
    size = ""
    if os.path.isfile(source):
        size = f", file of {text.size(Path(source).stat().st_size)}"
    opsets = ", ".join(f"{domain or 'ai.onnx'} {v}" for domain, v in summary.opsets.items())
    console.print(f"[bold]{source}[/bold]{size}", soft_wrap=True, highlight=False)
    console.print(
        f"made by {summary.producer or 'unknown'}; as imported: opset {opsets}", highlight=False
    )
    console.print(
        f"{summary.nodes} nodes, {text.number(summary.parameters)} parameters, "
        f"{text.size(summary.weight_bytes)} of weights",
        highlight=False,
    )
    ports = text.table("", "", "name", "type", "shape")
    for kind, group in (("input", summary.inputs), ("output", summary.outputs)):
        for port in group:
            ports.add_row(kind, port.name, port.dtype, text.shape(port.dims))
    text.show(console, ports)
    if summary.symbols:
        console.print(f"dynamic dimensions: {', '.join(summary.symbols)}")
    operators = text.table("", "operator", "nodes:", "runs")
    for row in summary.operators:
        operators.add_row(row.name, str(row.count), "kernel" if row.has_kernel else "on the host")
    text.show(console, operators)

"""Culprit of a comparison: the first step whose results differ from onnxruntime's."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..difference import ATOL, RTOL, Difference, difference
from . import reference

if TYPE_CHECKING:
    import onnx_ir as ir

    from ..runtime.profile import StepProfile
    from ..runtime.session import Session


@dataclass
class Culprit:
    """The first step whose outputs differ from onnxruntime's although its inputs do not.

    Attributes
    ----------
    index : int
        Of the step in the program.
    name, op_type : str
    nodes : tuple of str
        Nodes of the optimized model that the step covers.
    differences : list of Difference
        Of its outputs, inside the whole model.
    alone : bool
        The step differs also on its own, fed with onnxruntime's values; otherwise errors of
        earlier steps add up to the difference, or it needs the whole model to appear.
    model : onnx_ir.Model
        The step's nodes as a model.
    feeds : dict of str to ndarray
        Its inputs.
    """

    index: int
    name: str
    op_type: str
    nodes: tuple[str, ...]
    differences: list[Difference]
    alone: bool
    model: ir.Model
    feeds: dict[str, Any]

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write ``model.onnx``, ``inputs.npz`` and ``expected.npz`` into a folder."""
        import onnx_ir as ir

        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        ir.save(self.model, target / "model.onnx")
        outputs = [str(value.name) for value in self.model.graph.outputs]
        np.savez(target / "inputs.npz", **self.feeds)
        expected = reference.values(self.model, self.feeds, outputs)
        np.savez(target / "expected.npz", **expected)


def find_culprit(
    session: Session,
    feeds: Mapping[str, np.ndarray],
    open_session: Callable[..., Session],
    rtol: float = RTOL,
    atol: float = ATOL,
) -> Culprit | None:
    """Find the first step at fault, in the order of execution.

    Every step whose outputs are off is run once more on its own, fed with onnxruntime's values:
    the first that is still off is the culprit. If none is, the first that is off at all.

    Parameters
    ----------
    session : Session
    feeds : mapping of str to ndarray
    open_session : callable
        Makes a session of a model; `Session`.
    rtol, atol : float

    Returns
    -------
    Culprit or None
        None when all values agree.
    """
    lowered = session.optimized_model()
    traced = session.trace(feeds)
    produced = {str(value.name) for node in lowered.graph for value in node.outputs}
    steps = [
        (step, [name for name in step.outputs if name in produced and name in traced])
        for step in session.profile(feeds, runs=1, warmup=0).steps
    ]
    wanted = [name for _, names in steps for name in names]
    known = {**feeds, **reference.values(lowered, feeds, wanted)}
    first: Culprit | None = None
    for step, names in steps:
        wrong = [
            each
            for each in (difference(n, traced[n], known[n], rtol, atol) for n in names)
            if not each.agrees
        ]
        if not wrong:
            continue
        suspect = _isolate(lowered, step, names, wrong, known)
        suspect.alone = _is_wrong_alone(suspect, open_session, rtol, atol)
        if suspect.alone:
            return suspect
        first = first or suspect
    return first


def _isolate(
    lowered: ir.Model,
    step: StepProfile,
    outputs: list[str],
    wrong: list[Difference],
    known: dict[str, Any],
) -> Culprit:
    """Cut a step's nodes out of the model, with the values onnxruntime has for their inputs.

    ``known`` holds the graph's inputs and the values onnxruntime was asked for so far; what is
    missing is added.
    """
    import onnx_ir as ir

    covered = [node for node in lowered.graph if node.name in step.nodes]
    inside = {value for node in covered for value in node.outputs}
    weights = set(lowered.graph.initializers.values())
    needed = [
        value
        for node in covered
        for value in _read_by(node, lowered.graph)
        if value not in inside and value not in weights and not _is_constant(value)
    ]
    names = list(dict.fromkeys(str(value.name) for value in needed))
    missing = [name for name in names if name not in known]
    if missing:
        feeds = {str(value.name): known[str(value.name)] for value in lowered.graph.inputs}
        known.update(reference.values(lowered, feeds, missing))
    graph = ir.convenience.extract(lowered.graph, names, outputs)
    for value in (*graph.inputs, *graph.outputs):
        array = known[str(value.name)]
        value.type = value.type or ir.TensorType(ir.DataType.from_numpy(array.dtype))
        value.shape = ir.Shape(array.shape)
    model = ir.Model(graph, ir_version=lowered.ir_version)
    return Culprit(
        step.index,
        step.name,
        step.op_type,
        tuple(step.nodes),
        wrong,
        alone=False,
        model=model,
        feeds={name: known[name] for name in names},
    )


def _is_constant(value: ir.Value) -> bool:
    node = value.producer()
    return node is not None and node.op_type == "Constant"


def _read_by(node: ir.Node, graph: ir.Graph) -> list[ir.Value]:
    """Values of a graph that a node reads, also from within its subgraphs."""
    values = [value for value in node.inputs if value is not None]
    for attribute in node.attributes.values():
        for subgraph in _subgraphs(attribute):
            for inner in subgraph.all_nodes():
                values += [
                    value for value in inner.inputs if value is not None and value.graph is graph
                ]
    return values


def _subgraphs(attribute: Any) -> list[ir.Graph]:
    import onnx_ir as ir

    if attribute.type == ir.AttributeType.GRAPH:
        return [attribute.as_graph()]
    return list(attribute.as_graphs()) if attribute.type == ir.AttributeType.GRAPHS else []


def _is_wrong_alone(
    suspect: Culprit, open_session: Callable[..., Session], rtol: float, atol: float
) -> bool:
    names = [str(value.name) for value in suspect.model.graph.outputs]
    expected = reference.values(suspect.model, suspect.feeds, names)
    with open_session(suspect.model, optimize="none") as session:
        results = session.run(names, suspect.feeds)
    return not all(
        difference(name, result, expected[name], rtol, atol).agrees
        for name, result in zip(names, results, strict=True)
    )

"""Lowering: an optimized model becomes a program.

Four walks over the nodes, in this order: shape rules (``shape_inference``), fusion groups
(``fusion``), places of concatenated values (``placement``), and emission of steps by the operators'
own lowerings (``ops``), which call an ``Emission``. Layout has no walk of its own: tensors carry
strides, each lowering asks for the order it needs, and a conversion is emitted once, where it is
needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .. import onnx_ir_import  # noqa: F401  before onnx_ir itself
from ..custom_operators import find
from ..errors import SardonyxError
from ..notes import DEFAULTS_NOTE
from .assembler import Assembler
from .devices.find import kernel_set
from .emission import Emission
from .fusion import find_groups
from .graph import Graph, Node, OnHost
from .groups import Group
from .half_values import find_half_values, takes_halves
from .host_steps import emit_host
from .ops import OPERATORS
from .ops.normalized_groups import emit_normalized_group
from .ops.packed_weights import stays_whole
from .ops.pointwise import emit_pointwise
from .ops.quantized_planes import emit_quantized_planes
from .ops.scaled_bytes import emit_scaled_bytes
from .ops.summed_rows import absorb_sums
from .placement import find_places
from .ports import add_ports, make_inputs, model_metadata
from .program import Program
from .shape_inference import infer_bodies, infer_shapes
from .strips import find_chains, join
from .symbolic import minimum
from .validity import naming
from .variant_inputs import find_variant_inputs

if TYPE_CHECKING:
    import onnx_ir as ir


def lower(model: ir.Model, options: dict[str, Any] | None = None) -> Program:
    """Lower an optimized model to a program.

    Parameters
    ----------
    model : onnx_ir.Model
        Topologically sorted, functions inlined.
    options : dict, optional
        See `Emission`.

    Raises
    ------
    InvalidModel, UnsupportedModel
        Naming the node.
    """
    # What only emission needs is gone before the tables are made.
    assembler, metadata = _emitted(infer_shapes(model), {"precision": "fp32", **(options or {})})
    program = assembler.finish(metadata)
    program.metadata["model"] = model_metadata(model)
    program.metadata["custom"] = _custom_operators(model)
    program.metadata["defaults"] = model.metadata_props.get(DEFAULTS_NOTE)
    return program


def _custom_operators(model: ir.Model) -> list[list[Any]]:
    """List domain, name and version of the operators that functions of this process compute."""
    opsets = model.graph.opset_imports or model.opset_imports
    nodes = (node for node in model.graph.all_nodes() if node.domain)
    found = (find(node.domain, node.op_type, opsets.get(node.domain, 1)) for node in nodes)
    return [[each.domain, each.name, each.version] for each in dict.fromkeys(found) if each]


def _lower_bodies(emit: Emission, node: Node) -> dict[str, Program]:
    """Lower the bodies of a node on the host to programs of their own.

    There are none where a body is not valid, which is no fault if it never runs.
    """
    try:
        with naming(node):
            graphs = infer_bodies(emit.graph, node)
        options = {**emit.options, "choices": {}, "states": (), "device": "cpu"}
        emitted = {name: _emitted(graph, options) for name, graph in graphs.items()}
    except (OnHost, SardonyxError):
        return {}
    return {name: assembler.finish(metadata) for name, (assembler, metadata) in emitted.items()}


def _emitted(graph: Graph, options: dict[str, Any]) -> tuple[Assembler, dict[str, Any]]:
    """Emit all steps of a graph; returns the program under construction, and its metadata."""
    inputs = find_variant_inputs(graph)
    emit = Emission(graph, options, _emit_nodes, kernel_set(options.get("device", "cpu")))
    make_inputs(emit)
    _emit_nodes(emit)
    emit.choices.check()
    add_ports(emit)
    host = {graph.nodes[i].name: why for i, why in graph.why_host.items()}
    metadata = {"host": host, "forms": emit.choices.offered, "variant_inputs": inputs, **options}
    metadata["bfloats"] = sorted(emit.rounded)
    return emit.program, metadata


def _emit_nodes(emit: Emission) -> None:
    """Emit the nodes of a graph: the model's, or a body."""
    graph = emit.graph
    has_forms = emit.kernels.has_forms

    def is_apart(node: Node) -> bool:
        return stays_whole(emit, node) if has_forms else not emit.kernels.leads(emit, node)

    groups = find_groups(graph, is_apart, has_forms)
    emit.places = find_places(graph)
    chains: Mapping[int, Sequence[Group]] = {}
    if has_forms:
        emit.halves |= find_half_values(graph, groups, emit.options)
        chains = find_chains(graph, groups, emit.places)
        absorb_sums(emit)
    for node in graph.nodes:
        chain = chains.get(node.index)
        if chain is None:
            _emit_node(emit, node, groups.get(node.index))
        elif chain[-1].last is node and not _emit_chain(emit, chain):
            for group in chain:
                _emit_node(emit, group.last, group)


def _emit_node(emit: Emission, node: Node, group: Group | None) -> None:
    """Emit a node, or the group whose last node it is."""
    if node.index in emit.absorbed or (group is not None and group.last is not node):
        return
    if node.index in emit.graph.why_host:
        emit_host(emit, node, _lower_bodies(emit, node))
        return
    if all(info.is_settled for info in node.infos):
        return
    for value, symbols in emit.graph.readings.get(node.index, ()):
        emit.read(emit.tensor(value), symbols, node)
    emit.nodes = group.nodes if group is not None else [node]
    try:
        with emit.attempt(), naming(node), emit.taking_halves(takes_halves(emit, node, group)):
            _demand_sizes(emit)
            if group is not None:
                _emit_group(emit, group)
            else:
                lower_node = emit.kernels.lowering(node.key) or OPERATORS[node.key].lower
                assert lower_node is not None
                lower_node(emit, node)
    except OnHost as reason:
        if emit.bodies:
            raise  # the node that the body belongs to goes to the host
        gated = [group.gate.product] if group is not None and group.gate else []
        for member in (*gated, *emit.nodes):
            emit.graph.why_host[member.index] = str(reason)
            emit_host(emit, member, _lower_bodies(emit, member))
    emit.nodes = ()


def _demand_sizes(emit: Emission) -> None:
    """Let a run of a body refuse sizes below zero of what its nodes give."""
    for node in emit.nodes:
        for size in node.demands:
            emit.check(minimum(size, 0), 0, f"a size of the results of {node.name!r}")


_MAKERS = (emit_quantized_planes, emit_scaled_bytes, emit_normalized_group)
"""What emits a group by kernels of the CPU that are no pointwise ones, if it can."""


def _emit_group(emit: Emission, group: Group) -> None:
    if group.head is None:
        if not emit.kernels.has_forms or not any(make(emit, group) for make in _MAKERS):
            emit_pointwise(emit, group)
        return
    fused = emit.kernels.lowering(group.head.key) or OPERATORS[group.head.key].fused
    assert fused is not None
    fused(emit, group.head, group)


def _emit_chain(emit: Emission, chain: Sequence[Group]) -> bool:
    """Emit groups that may run joined; False when one of them has no kernel."""
    for group in chain:
        emit.nodes = group.nodes
        _demand_sizes(emit)
    try:
        with emit.attempt(), emit.catching() as steps:
            for group in chain:
                emit.nodes = group.nodes
                takes = takes_halves(emit, group.last, group)
                with naming(group.last), emit.taking_halves(takes):
                    _emit_group(emit, group)
    except OnHost:
        return False
    finally:
        emit.nodes = ()
    for step in join(emit, steps):
        emit.add(step)
    return True

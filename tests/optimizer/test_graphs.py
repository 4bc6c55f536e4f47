"""Graphs of a model, as passes walk through them."""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx.defs import OpSchema
from sardonyx.optimizer import values


def _value(name: str) -> ir.Value:
    return ir.Value(name=name, shape=ir.Shape([]), type=ir.TensorType(ir.DataType.FLOAT))


def _graph(name: str, nodes: list[ir.Node]) -> ir.Graph:
    return ir.Graph([], [nodes[-1].outputs[0]], nodes=nodes, name=name, opset_imports={"": 24})


def _constant(number: float) -> ir.Node:
    return ir.node("Constant", [], {"value_float": number})


def _branch(name: str, depth: int) -> ir.Node:
    bodies = {
        f"{side}_branch": _graph(
            f"{name}.{side}", [_branch(f"{name}.{side}", depth - 1) if depth else _constant(1.0)]
        )
        for side in ("then", "else")
    }
    return ir.node("If", [_value("condition")], bodies)


def test_yields_those_of_onnx_ir_in_its_order() -> None:
    own = ir.node(
        "Own", [], {"bodies": [_graph(f"own{i}", [_branch(f"own{i}", 0)]) for i in range(2)]},
        domain="com.example",
    )  # fmt: skip
    nodes = [_branch("a", 2), _constant(2.0), own, _branch("b", 1)]
    model = ir.Model(_graph("main", nodes), ir_version=11)
    found = list(values.graphs(model))
    assert [graph.name for graph in found] == [graph.name for graph in model.graphs()]
    assert len(found) == 1 + 14 + 6 + 6
    assert all(a is b for a, b in zip(found, model.graphs(), strict=True))


def test_sees_what_a_pass_has_put_into_the_main_graph() -> None:
    model = ir.Model(_graph("main", [_constant(1.0)]), ir_version=11)
    walk = values.graphs(model)
    next(walk).append(_branch("late", 0))
    assert [graph.name for graph in walk] == ["late.then", "late.else"]


def test_knows_all_operators_of_the_standard_that_have_bodies() -> None:
    kinds = OpSchema.AttrType.GRAPH, OpSchema.AttrType.GRAPHS
    having = {
        schema.name
        for schema in onnx.defs.get_all_schemas_with_history()
        if schema.domain in values._WITHOUT_BODIES
        and any(attribute.type in kinds for attribute in schema.attributes.values())
    }
    assert having == values._WITH_BODIES

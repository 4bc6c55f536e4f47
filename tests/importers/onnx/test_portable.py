"""onnxruntime opens what is loaded and optimized, wherever it opened the model before."""

from __future__ import annotations

import functools
import warnings

import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
import sardonyx
from onnx import helper as oh
from sardonyx.importers.onnx.opset import CANONICAL_OPSET, OPSET_NOTE

X = ("x", (1, 2, 6, 6), 1)
MORE = {  # operators that onnx's own test cases lack
    "GlobalLpPool": ([X], {}),
    "MaxRoiPool": ([X, ("r", (1, 5), 1)], {"pooled_shape": [2, 2]}),
    "Multinomial": ([("x", (2, 3), 1)], {}),
    "RandomNormal": ([], {"shape": [2]}),
    "RandomNormalLike": ([X], {}),
    "RandomUniform": ([], {"shape": [2]}),
    "RandomUniformLike": ([X], {}),
}
NUMBERS = [1, 11, 7]  # float, double, int64


def opens(model):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        ort.InferenceSession(model.SerializeToString(), options)
    except Exception:  # onnxruntime has a class for each kind of error
        return False
    return True


@functools.cache
def single_nodes():
    """Models of one node, one for each operator of the standard domain."""
    from onnx.backend.test.case.node import collect_testcases

    found: dict[str, list[onnx.ModelProto]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    for case in cases:
        model = case.model
        if model is None or len(model.graph.node) != 1 or model.graph.node[0].domain:
            continue
        known = found.setdefault(model.graph.node[0].op_type, [])
        if not known and {entry.domain for entry in model.opset_import} == {""}:
            known.append(model)
    for op_type, (inputs, attributes) in MORE.items():
        node = oh.make_node(op_type, [name for name, *_ in inputs], ["y"], **attributes)
        values = [oh.make_tensor_value_info(name, kind, shape) for name, shape, kind in inputs]
        graph = oh.make_graph([node], "g", values, [onnx.ValueInfoProto(name="y")])
        opsets = [oh.make_opsetid("", CANONICAL_OPSET)]
        found[op_type] = [oh.make_model(graph, opset_imports=opsets)]
    return found


def variants(model):
    """Yield a model at each opset that changed its operator, with other types of its inputs."""
    op_type = model.graph.node[0].op_type
    history = onnx.defs.get_all_schemas_with_history()
    since = {s.since_version for s in history if s.name == op_type and not s.domain}
    versions = sorted({max(7, version) for version in since if version <= CANONICAL_OPSET})
    own = model.graph.input[0].type.tensor_type.elem_type if model.graph.input else 0
    if op_type == "GroupNormalization":
        versions.remove(18)  # where scale and bias are per group, which those of the cases are not
    for version in versions:
        for kind in NUMBERS if own == 1 else [own]:
            changed = onnx.ModelProto()
            changed.CopyFrom(model)
            changed.ir_version = 8
            changed.opset_import[0].version = version
            for value in (*changed.graph.input, *changed.graph.output):
                if value.type.tensor_type.elem_type == own:
                    value.type.tensor_type.elem_type = kind
            yield changed


def test_what_onnxruntime_opens_it_opens_after_import_and_optimization():
    tried, lost = 0, []
    for op_type, models in single_nodes().items():
        for model in models:
            for variant in variants(model):
                if not opens(variant):
                    continue
                tried += 1
                loaded = sardonyx.load(variant)
                results = (loaded, sardonyx.optimize(loaded))
                if not all(opens(ir.to_proto(result)) for result in results):
                    lost.append((op_type, variant.opset_import[0].version))
    assert tried > 250
    assert not lost


@pytest.mark.parametrize(("op_type", "reached"), [("RoiAlign", 21), ("GlobalLpPool", 21)])
def test_a_model_with_an_operator_that_onnxruntime_lacks_later_says_so(op_type, reached):
    model = onnx.ModelProto()
    model.CopyFrom(single_nodes()[op_type][0])
    model.opset_import[0].version = 16
    loaded = sardonyx.load(model)
    assert loaded.graph.opset_imports[""] == reached
    assert f"lacks {op_type} of opset {reached + 1}" in loaded.metadata_props[OPSET_NOTE]
    model.opset_import[0].version = CANONICAL_OPSET
    assert sardonyx.load(model).graph.opset_imports[""] == CANONICAL_OPSET

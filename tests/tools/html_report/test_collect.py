"""What a report is made of: times, nodes, memory, changes."""

import json

import numpy as np
import onnx.parser
import sardonyx
from sardonyx.tools.demo import DATA
from sardonyx.tools.html_report.collect import collect
from sardonyx.tools.html_report.original_nodes import original_nodes
from sardonyx.tools.profile import profile


def test_it_is_plain_data_that_json_keeps(data):
    assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_steps_have_times_and_add_up(data):
    median = data["columns"].index("median_ns")
    share = data["columns"].index("share")
    assert all(step[median] >= 0 for step in data["steps"])
    assert abs(sum(step[share] for step in data["steps"]) - 1) < 1e-3
    assert len({len(step) for step in data["steps"]}) == 1


def test_every_node_of_the_model_has_a_fate(data):
    model = sardonyx.load(DATA / "digits.onnx")
    names = [node.name for node in model.graph if node.op_type != "Constant"]
    assert [node[0] for node in data["nodes"]] == names
    rows = range(-1, len(data["steps"]))
    assert all(step in rows for _, _, step, _ in data["nodes"])
    assert {fate for *_, fate in data["nodes"]} <= {"runs", "fused", "folded", "removed"}


def test_memory_that_is_used_at_once_does_not_overlap(data):
    plan = data["memory"]["buffers"]
    assert (
        plan and max(offset + size for _, offset, size, *_ in plan) <= data["memory"]["arena_bytes"]
    )
    for index, (_, offset, size, first, last) in enumerate(plan):
        assert 0 <= first <= last < len(data["steps"])
        for _, other, other_size, begin, end in plan[index + 1 :]:
            if first <= end and begin <= last:
                assert offset + size <= other or other + other_size <= offset


def test_nodes_that_are_gone_lead_to_the_step_behind_them():
    model = sardonyx.load(
        onnx.parser.parse_model(
            """<ir_version: 8, opset_import: ["": 17]>
            g (float[2, 3] x) => (float[2, 3] y) <float[3] a = {1, 2, 3}, float[3] b = {4, 5, 6}> {
                [sum] c = Add(a, b)
                [same] s = Identity(x)
                [product] p = Mul(s, c)
                [root] y = Relu(p)
            }"""
        )
    )
    session = sardonyx.Session(model, threads=1)
    x = np.ones((2, 3), np.float32)
    rows = profile(session, {"x": x}, runs=1, with_reference=False).steps
    fates = {n.name: n for n in original_nodes(model, session.optimized_model(), rows)}
    assert fates["sum"].fate == "folded"
    assert fates["same"].fate in ("fused", "removed")
    assert fates["product"].step == fates["root"].step == 0


def test_a_model_without_a_file_is_compared_too():
    model = sardonyx.load(DATA / "digits.onnx")
    with sardonyx.Session(model, threads=1) as session:
        feeds = {"pixels": np.ones((1, 1, 8, 8), np.float32)}
        found = collect(model, session, feeds, name="digits", runs=1)
        alone = collect(model, session, feeds, name="digits", runs=1, with_reference=False)
    engines = [each["engine"] for each in found["engines"]]
    assert engines[0] == "sardonyx" and not any(each["error"] for each in found["engines"])
    assert [each["engine"] for each in alone["engines"]] == ["sardonyx"]

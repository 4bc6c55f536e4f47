import csv
import json

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import sardonyx
from rich.console import Console
from sardonyx import InvalidArgument, UnsupportedModel
from sardonyx.tools import profile as profiles
from sardonyx.tools import reference, report
from sardonyx.tools.profile import profile
from sardonyx.tools.roofline import Roofline

CEILING = Roofline("test", 1, 100.0, (10.0,) * 7)


@pytest.fixture(autouse=True)
def known_roofline(monkeypatch):
    monkeypatch.setattr(profiles, "roofline", lambda threads: CEILING)


@pytest.fixture
def measured(chain, chain_feeds, reference_session):
    return profile(reference_session(chain), chain_feeds, model="chain", runs=5)


def test_steps_have_times_shares_and_rates(measured):
    assert [step.median_ns for step in measured.steps] == [1000, 2000, 3000, 4000]
    assert [step.share for step in measured.steps] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert measured.steps[0].gflops == pytest.approx(4.0)
    assert measured.steps[1].gbps == pytest.approx(256 / 2000)
    assert measured.total_ns == 10500 and measured.outside_ns == 500


def test_roof_is_least_time_by_time(measured):
    first, relu = measured.steps[:2]
    # 4000 operations at 100 a nanosecond take 40 ns, 256 bytes at 10 a nanosecond 25.6 ns.
    assert (first.roof, first.bound) == (pytest.approx(0.04), "compute")
    assert (relu.roof, relu.bound) == (pytest.approx(25.6 / 2000), "memory")


def test_every_step_has_onnxruntimes_time_and_no_error(measured):
    # onnxruntime makes one Gemm of the second product and the sum, and names it after the first.
    assert [step.reference_ns is not None for step in measured.steps] == [True, True, True, False]
    assert all(step.max_abs == 0 for step in measured.steps)
    assert measured.reference_total_ns > 0


def test_errors_are_those_of_the_steps_outputs(chain, chain_feeds, reference_session):
    session = reference_session(chain, faults={"c": 0.5})
    found = profile(session, chain_feeds, runs=2)
    assert [step.max_abs for step in found.steps] == pytest.approx([0, 0, 0.5, 0.5], abs=1e-6)


def test_groups_are_sums(measured):
    groups = {group.op_type: group for group in measured.by_operator()}
    assert groups["MatMul"].count == 2
    assert groups["MatMul"].median_ns == 4000
    assert sum(group.share for group in groups.values()) == pytest.approx(1)
    assert [g.median_ns for g in measured.by_operator()] == sorted(
        (g.median_ns for g in groups.values()), reverse=True
    )


def test_profile_without_reference(chain, chain_feeds, reference_session):
    session = reference_session(chain)
    found = profile(session, chain_feeds, runs=2, with_reference=False)
    assert found.reference_total_ns is None
    assert all(step.reference_ns is None for step in found.steps)


def test_what_onnxruntime_refuses_of_the_optimizer_is_measured_as_the_file(
    chain, chain_feeds, reference_session, monkeypatch, tmp_path
):
    """The optimizer may leave operators of a type that onnxruntime does not take."""
    path = tmp_path / "chain.onnx"
    sardonyx.save(chain, path)
    opened = reference.open_session

    def refuse(model, **options):
        if not isinstance(model, str):
            raise UnsupportedModel("onnxruntime refuses the model: not implemented")
        return opened(model, **options)

    monkeypatch.setattr(reference, "open_session", refuse)
    session = reference_session(chain)
    result = profile(session, chain_feeds, runs=2, path=str(path))
    assert result.reference_total_ns > 0
    assert all(row.reference_ns is None for row in result.steps)
    assert ["not implemented" in note for note in result.notes] == [True]
    assert profile(session, chain_feeds, runs=2).reference_total_ns is None


def test_missing_onnxruntime_is_noted(chain, chain_feeds, reference_session, monkeypatch):
    monkeypatch.setattr(reference, "is_available", lambda: False)
    found = profile(reference_session(chain), chain_feeds, runs=2)
    assert "not installed" in found.notes[0]


def test_printed_tables_name_all_steps(measured):
    console = Console(width=240, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    report.print_profile(measured, console)
    printed = console.export_text()
    for word in ("first", "relu", "second", "last", "MatMul", "outside steps", "arena"):
        assert word in printed


def test_export_as_json_and_csv(measured, tmp_path):
    report.export(measured, tmp_path / "p.json")
    data = json.loads((tmp_path / "p.json").read_text())
    assert [step["name"] for step in data["steps"]] == ["first", "relu", "second", "last"]
    assert data["operators"][0]["median_ns"] >= data["operators"][-1]["median_ns"]
    report.export(measured, tmp_path / "p.csv")
    with open(tmp_path / "p.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["median_ns"]) for row in rows] == [1000, 2000, 3000, 4000]


def test_chrome_trace_lays_steps_end_to_end(measured, tmp_path):
    report.export(measured, tmp_path / "p.trace.json")
    events = json.loads((tmp_path / "p.trace.json").read_text())["traceEvents"]
    own = [event for event in events if event["ph"] == "X" and event["tid"] == 1]
    assert [event["ts"] for event in own] == [0, 1, 3, 6]
    assert [event["dur"] for event in own] == [1, 2, 3, 4]
    assert len([event for event in events if event.get("tid") == 2]) == 4


def test_unknown_format_is_refused(measured, tmp_path):
    with pytest.raises(InvalidArgument, match=r"trace\.json"):
        report.export(measured, tmp_path / "p.txt")


def test_nodes_fused_by_onnxruntime_keep_the_name_of_the_first(chain, chain_feeds):
    times = reference.node_times(chain, chain_feeds, runs=4, warmup=1)
    assert set(times) == {"first", "relu", "second"}
    assert all(len(found) == 4 and np.all(found >= 0) for found in times.values())


def test_a_node_of_several_steps_counts_once(chain, chain_feeds, reference_session):
    """A change of layout before a product belongs to the same node; the product has the time."""

    class Session(reference_session):
        def profile(self, feeds, runs=20, warmup=3):
            found = super().profile(feeds, runs, warmup)
            found.steps[1].nodes = ("first",)  # without operations, and slower
            return found

    found = profile(Session(chain), chain_feeds, runs=2)
    assert found.steps[0].reference_ns is not None
    assert found.steps[1].reference_ns is None


def test_nodes_in_onnxruntimes_own_layout_are_found_by_what_they_make():
    """It runs convolutions in blocks of channels, under other names, between nodes of its own."""
    rng = np.random.default_rng(0)
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["a"], "conv", pads=[1, 1, 1, 1]),
        onnx.helper.make_node("Relu", ["a"], ["b"], "relu"),
        onnx.helper.make_node("Softmax", ["b"], ["y"], "softmax"),
    ]
    weights = rng.standard_normal((64, 64, 3, 3)).astype(np.float32)
    graph = onnx.helper.make_graph(
        nodes,
        "test",
        [onnx.helper.make_tensor_value_info("x", 1, [1, 64, 8, 8])],
        [onnx.helper.make_tensor_value_info("y", 1, [1, 64, 8, 8])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    imports = [onnx.helper.make_opsetid("", 22)]
    model = ir.from_proto(onnx.helper.make_model(graph, opset_imports=imports, ir_version=10))
    feeds = {"x": rng.standard_normal((1, 64, 8, 8)).astype(np.float32)}
    times = reference.node_times(model, feeds, runs=3, warmup=1)
    # The convolution has taken in the activation, whose name it then has; or, where the machine
    # has no such layout, keeps its own.
    assert set(times) - {reference.LAYOUT_CHANGES} in ({"relu", "softmax"}, {"conv", "softmax"})
    assert all(len(found) == 3 for found in times.values())


@pytest.mark.parametrize("width", [60, 80, 100, 130, 240])
def test_a_table_has_the_columns_that_fit(measured, width):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    report.print_profile(measured, console)
    printed = console.export_text()
    head = next(line for line in printed.splitlines() if "nodes" in line)
    assert ("GFLOP/s" in head) == (width >= 100)
    assert ("layout" in head) == (width >= 130)
    if width >= 80:
        assert "…" not in printed and "of roof" in head


def test_long_names_and_kernels_do_not_widen_the_table(measured):
    step = measured.steps[0]
    step.nodes = ("model/" + 9 * "very/" + "deep/MatMul", "another")
    step.kernel = "pointwise.pointwise" + repr(40 * ["add"])
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    report.print_profile(measured, console)
    printed = console.export_text()
    assert "very/deep/MatMul+1" in printed and "layout" in printed


def test_a_step_faster_than_the_machine_has_it_measured_again(
    chain, chain_feeds, reference_session, monkeypatch
):
    low = Roofline("test", 1, 1.0, (10.0,) * 7)  # the first product has 4 GFLOP/s
    monkeypatch.setattr(profiles, "roofline", lambda threads: low)
    monkeypatch.setattr(profiles, "remeasure", lambda kept: CEILING)
    found = profile(reference_session(chain), chain_feeds, runs=2, with_reference=False)
    assert found.roofline is CEILING
    assert found.steps[0].roof == pytest.approx(0.04)


def test_time_of_host_steps_is_theirs_alone() -> None:
    """Steps before and after a host step are not charged its time, and the sum is the run's."""
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 21]>
        g (float[N] x, string[M] s) => (float[N] y, float[M] z) {
            a = Relu(x)
            m = RegexFullMatch<pattern = "[a-z]*b">(s)
            b = Exp(a)
            l = StringConcat(s, s)
            w = RegexFullMatch<pattern = "a*">(l)
            k = Cast<to = 1>(m)
            j = Cast<to = 1>(w)
            z = Add(k, j)
            y = Neg(b)
        }"""
    )
    feeds = {
        "x": np.zeros(8, np.float32),
        "s": np.array(["a" * 100] * 200, object),
    }
    session = sardonyx.Session(model, threads=1, optimize="none")
    measured = session.profile(feeds, runs=5)
    host = [step for step in measured.steps if step.layout == "host"]
    native = [step for step in measured.steps if step.layout != "host"]
    assert len(host) >= 3 and len(native) >= 3
    slowest = max(np.median(step.times_ns) for step in host)
    assert all(np.median(step.times_ns) < slowest / 2 for step in native)
    spent = np.sum([step.times_ns for step in measured.steps], axis=0)
    assert (spent <= measured.total_ns).all()

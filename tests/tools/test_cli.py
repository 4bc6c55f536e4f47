import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import sardonyx
from sardonyx import custom_operators
from sardonyx.optimizer import pipeline
from sardonyx.runtime import tuning
from sardonyx.runtime.session import Session
from sardonyx.tools import bench as benchmarks
from sardonyx.tools.demo import DATA

MODEL = str(DATA / "digits.onnx")


def test_version(call):
    found = call("--version")
    assert found.exit_code == 0
    assert found.stdout.strip() == f"sardonyx {sardonyx.__version__}"


def test_help_names_all_commands(call):
    shown = call("--help").stdout
    commands = ("convert", "optimize", "quantize", "run", "tune", "bench", "profile", "compare")
    for name in (*commands, "inspect"):
        assert re.search(rf"\b{name}\b", shown)


@pytest.mark.parametrize(
    "command", ["convert", "optimize", "quantize", "run", "tune", "profile", "compare", "inspect"]
)
def test_an_error_is_one_line_and_exit_code_1(call, command, tmp_path):
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"this is no model")
    more = ["-o", tmp_path / "out.onnx"] if command in ("convert", "optimize", "quantize") else []
    found = call(command, bad, *more)
    assert found.exit_code == 1
    assert found.stderr.startswith("error: ") and found.stderr.count("\n") == 1
    assert "bad.onnx" in found.stderr


def test_debug_shows_the_error_itself(call, tmp_path):
    found = call("--debug", "inspect", tmp_path / "missing.onnx")
    assert isinstance(found.exception, sardonyx.SardonyxError)


def test_inspect(call):
    shown = call("inspect", MODEL).stdout
    assert "images×1×8×8" in shown and "probabilities" in shown
    assert "dynamic dimensions: images" in shown
    assert re.search(r"\bConv +4 +kernel", shown)


@pytest.mark.parametrize("suffix", [".json", ".textproto", ".onnxtxt"])
def test_inspect_reads_models_written_as_text(call, suffix, tmp_path):
    path = tmp_path / f"digits{suffix}"
    onnx.save(onnx.load(MODEL), path)
    assert "images×1×8×8" in call("inspect", path).stdout
    path.write_bytes(path.read_bytes()[:3000])
    found = call("inspect", path)
    assert found.exit_code == 1 and path.name in found.stderr and found.stderr.count("\n") == 1


def test_convert_writes_a_model_that_computes_the_same(call, tmp_path):
    out = tmp_path / "out.onnx"
    found = call("convert", MODEL, "-o", out, "--opset", 18)
    assert found.exit_code == 0, found.stderr
    model = onnx.load(out)
    onnx.checker.check_model(model)
    assert model.opset_import[0].version == 18
    assert "opset 18" in found.stdout and "agrees" in found.stdout


def test_optimize_writes_a_smaller_model(call, tmp_path):
    out = tmp_path / "out.onnx"
    found = call("optimize", MODEL, "-o", out, "--verify")
    assert found.exit_code == 0, found.stderr
    operators = [node.op_type for node in ir.load(out).graph]
    # What is left: a division, four convolutions, three activations, one sum with its own, ...
    assert len(operators) <= 14 and "BatchNormalization" not in operators


def test_run_on_a_file(call, tmp_path):
    with np.load(DATA / "digits.npz") as data:
        np.save(tmp_path / "x.npy", data["images"].astype(np.float32))
        labels = data["labels"]
    found = call("run", MODEL, "-i", tmp_path / "x.npy", "-o", tmp_path / "y.npz")
    assert found.exit_code == 0, found.stderr
    with np.load(tmp_path / "y.npz") as results:
        assert np.mean(results["probabilities"].argmax(1) == labels) >= 0.97


def test_a_file_that_registers_operators_is_run_first(call, tmp_path, monkeypatch):
    monkeypatch.setattr(custom_operators, "_versions", {})
    node = onnx.helper.make_node("Thrice", ["x"], ["y"], domain="my.domain")
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2])
    graph = onnx.helper.make_graph([node], "g", [x], [onnx.ValueInfoProto(name="y")])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "m.onnx")
    (tmp_path / "own.py").write_text(
        "import sardonyx\n"
        "@sardonyx.operator('my.domain', 'Thrice')\n"
        "def thrice(x):\n"
        "    return 3 * x\n"
    )
    np.save(tmp_path / "x.npy", np.ones(2, np.float32))
    arguments = ("run", tmp_path / "m.onnx", "-i", tmp_path / "x.npy", "-o", tmp_path / "y.npz")
    assert call(*arguments).exit_code == 1
    assert call("--operators", tmp_path / "own.py", *arguments).exit_code == 0
    with np.load(tmp_path / "y.npz") as results:
        assert results["y"].tolist() == [3, 3]
    shown = call("--operators", tmp_path / "own.py", "inspect", tmp_path / "m.onnx").stdout
    assert re.search(r"Thrice.*kernel", shown)


def test_compare_agrees(call):
    found = call("compare", MODEL, "-d", "images=3")
    assert found.exit_code == 0, found.stdout + found.stderr
    assert "agrees" in found.stdout


def test_compare_reports_a_difference_and_fails(call, monkeypatch):
    right = Session.run
    monkeypatch.setattr(
        Session, "run", lambda *arguments: [y + np.float32(0.5) for y in right(*arguments)]
    )
    found = call("compare", MODEL, "--bisect")
    assert found.exit_code == 1
    assert "differs" in found.stdout and "10 of 10 elements" in " ".join(found.stdout.split())
    assert "no step is at fault" in found.stdout


def test_profile_prints_and_exports(call, tmp_path):
    out = tmp_path / "p.csv"
    found = call("profile", MODEL, "-d", "images=2", "--runs", 3, "-e", out)
    assert found.exit_code == 0, found.stderr
    assert "By operator" in found.stdout and "outside steps" in found.stdout
    assert out.read_text().startswith("index,")


def test_profile_runs_as_a_script():
    script = Path(sardonyx.__file__).parent / "tools" / "profile.py"
    command = [sys.executable, script, MODEL, "--runs", "2", "--no-reference"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "By operator" in done.stdout


def test_tune_prints_the_layers_and_keeps_the_answer(call, tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "_ROUNDS", (1, 1))
    copy = tmp_path / "digits.onnx"
    copy.write_bytes(Path(MODEL).read_bytes())
    first = call("tune", copy, "-d", "images=2", "-t", 2, "--again")
    assert first.exit_code == 0, first.stderr
    assert "pixels 2×1×8×8" in first.stdout and "2 thread(s)" in first.stdout
    assert re.search(r"Conv.*2×\d+×\d+×\d+ +(direct|winograd) \d+x\d", first.stdout)
    assert "whole run, forms by cost" in first.stdout and "kept on disk" in first.stdout
    assert "forms 1 of" in first.stderr
    again = call("tune", copy, "-d", "images=2", "-t", 2)
    assert again.exit_code == 0 and again.stdout == first.stdout
    assert "forms" not in again.stderr
    monkeypatch.setattr(tuning, "_measure", lambda *_: pytest.fail("measured again"))
    assert Session(copy, tune={"images": 2}, threads=2).tuning.shapes == {"pixels": (2, 1, 8, 8)}


def test_tune_on_a_file(call, tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "_ROUNDS", (1, 1))
    np.save(tmp_path / "x.npy", np.ones((3, 1, 8, 8), np.float32))
    found = call("tune", MODEL, "-i", tmp_path / "x.npy", "-t", 1)
    assert found.exit_code == 0, found.stderr
    assert "pixels 3×1×8×8" in found.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no size is given for ['images']"),
        (("-d", "images=1", "--precision", "fp8"), "precision must be one of"),
        (("-d", "imagse=1"), "no input or dimension 'imagse'"),
    ],
)
def test_tune_says_what_is_missing(call, arguments, message):
    found = call("tune", MODEL, *arguments)
    assert found.exit_code == 1
    assert message in " ".join(found.stderr.split()) and found.stderr.count("\n") == 1


def test_bench_of_a_file(call, tmp_path):
    found = call(
        "bench", MODEL, "-t", 1, "--seconds", 0.05, "--no-footprint", "-o", tmp_path / "b.md"
    )
    assert found.exit_code == 0, found.stdout + found.stderr
    assert "onnxruntime" in found.stdout
    assert "| digits | batch 1, 1 thread |" in (tmp_path / "b.md").read_text()


@pytest.fixture
def two_inputs(tmp_path):
    """``y = a + b * s``: a (n, 3), b (n, 3) float32, s a scalar int64."""
    nodes = [
        onnx.helper.make_node("Cast", ["s"], ["f"], to=1),
        onnx.helper.make_node("Mul", ["b", "f"], ["p"]),
        onnx.helper.make_node("Add", ["a", "p"], ["y"]),
    ]
    floats = [onnx.helper.make_tensor_value_info(name, 1, ["n", 3]) for name in "aby"]
    scale = onnx.helper.make_tensor_value_info("s", 7, [])
    graph = onnx.helper.make_graph(nodes, "test", [*floats[:2], scale], floats[2:])
    imports = [onnx.helper.make_opsetid("", 20)]
    path = tmp_path / "two.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=imports, ir_version=9), path)
    return path


def test_run_takes_files_and_numbers_for_several_inputs(call, two_inputs, tmp_path):
    a, b = np.float32([[1, 2, 3]]), np.float32([[10, 20, 30]])
    np.savez(tmp_path / "ab.npz", a=a, b=b)
    out = tmp_path / "y.npz"
    found = call("run", two_inputs, "-i", tmp_path / "ab.npz", "-i", "s=3", "-o", out)
    assert found.exit_code == 0, found.stderr
    with np.load(out) as results:
        np.testing.assert_array_equal(results["y"], a + 3 * b)


def test_an_error_of_a_run_names_the_inputs_that_were_random(call, two_inputs, tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 4), np.float32))
    found = call("run", two_inputs, "-i", f"a={tmp_path / 'a.npy'}")
    assert found.exit_code == 1
    assert "'a'" in found.stderr
    assert "random inputs: b 1×3, s scalar; give them with -i" in found.stderr


def test_an_error_about_options_says_nothing_of_inputs(call, two_inputs, tmp_path):
    for arguments in (("run", "--precision", "fp8"), ("profile", "-e", tmp_path / "p.txt")):
        found = call(arguments[0], two_inputs, *arguments[1:])
        assert found.exit_code == 1 and "random" not in found.stderr


def test_optimize_writes_an_older_opset(call, tmp_path):
    out = tmp_path / "old.onnx"
    assert call("optimize", MODEL, "-o", out, "--opset", "13", "--fold-limit", "0").exit_code == 0
    written = onnx.load(out)
    assert written.opset_import[0].version == 13
    images = np.random.default_rng(0).random((2, 1, 8, 8)).astype(np.float32)
    want, have = (Session(path, threads=1)(images) for path in (MODEL, str(out)))
    np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-6)


def test_optimize_verifies_on_given_inputs_and_explains(call, two_inputs, tmp_path):
    out = tmp_path / "out.onnx"
    found = call("optimize", two_inputs, "-o", out, "--verify", "-d", "n=5", "-i", "s=2")
    assert found.exit_code == 0, found.stderr
    assert "the results of every pass verified" in found.stdout
    found = call("optimize", MODEL, "-o", out, "--explain", "--level", "basic")
    assert found.exit_code == 0 and "others" in found.stdout
    assert call("optimize", MODEL, "-o", out, "--level", "most").exit_code == 1


def test_strings_run(call, tmp_path):
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    ports = [onnx.helper.make_tensor_value_info(n, 8, ["n"]) for n in "xy"]
    graph = onnx.helper.make_graph([node], "test", ports[:1], ports[1:])
    path = tmp_path / "strings.onnx"
    onnx.save(onnx.helper.make_model(graph, ir_version=10), path)
    found = call("run", path, "-i", "x=some,words")
    assert found.exit_code == 0, found.stderr
    assert "y" in found.stdout


def test_inspect_counts_weights_of_branches(call, tmp_path):
    def branch(name):
        weights = onnx.numpy_helper.from_array(np.ones(1000, np.float32))
        constant = onnx.helper.make_node("Constant", [], ["k"], value=weights)
        add = onnx.helper.make_node("Add", ["x", "k"], ["z"])
        out = onnx.helper.make_tensor_value_info("z", 1, [1000])
        return onnx.helper.make_graph([constant, add], name, [], [out])

    node = onnx.helper.make_node(
        "If", ["c"], ["y"], then_branch=branch("t"), else_branch=branch("e")
    )
    x, y = (onnx.helper.make_tensor_value_info(n, 1, [1000]) for n in "xy")
    c = onnx.helper.make_tensor_value_info("c", 9, [])
    graph = onnx.helper.make_graph([node], "test", [x, c], [y])
    path = tmp_path / "if.onnx"
    onnx.save(onnx.helper.make_model(graph, ir_version=10), path)
    shown = call("inspect", path).stdout
    assert "3 nodes, 2.0 k parameters, 7.8 KiB of weights" in shown


def test_compare_names_the_pass_at_fault(call, monkeypatch):
    def wrong(model, report):
        for node in model.graph:
            if node.op_type == "Relu":
                node.op_type = "Sigmoid"
                return 1
        return 0

    monkeypatch.setitem(pipeline.LEVELS, "all", {"wrong": wrong})
    monkeypatch.setattr("sardonyx.runtime.program_cache.opened_folder", lambda *_: None)
    found = call("compare", MODEL, "-d", "images=2", "--bisect")
    assert found.exit_code == 1
    assert "optimizer pass 'wrong' changed output 'probabilities'" in found.stdout


def test_models_of_the_zoo_go_by_their_names(call):
    found = call("inspect", "resnet18")
    assert found.exit_code == 0, found.stdout + found.stderr
    assert "GlobalAveragePool" in found.stdout
    assert "there is no file resnet19" in call("inspect", "resnet19").stderr


def test_bench_is_measured_in_parts_and_resumed(call, tmp_path, monkeypatch):
    asked = []

    def fake(name, path, feeds, setting, **_):
        asked.append((name, setting.batch, setting.threads))
        return [benchmarks.Result(name, setting, "sardonyx", 9, 1.0, 1.1)]

    monkeypatch.setattr(benchmarks, "bench", fake)
    arguments = ["-b", 1, "-b", 2, "--no-footprint", "-o", tmp_path / "b.md"]
    assert call("bench", "resnet18", "-t", 1, *arguments).exit_code == 0
    found = call("bench", "mobilenet_v2", "resnet18", "-t", 1, "-t", 2, "--resume", *arguments)
    assert found.exit_code == 0
    assert asked[:2] == [("resnet18", 1, 1), ("resnet18", 2, 1)]
    assert asked[6:] == [("resnet18", 1, 2), ("resnet18", 2, 2)]
    written = (tmp_path / "b.md").read_text()
    assert written.count("| mobilenet_v2 |") == written.count("| resnet18 |") == 4


@pytest.fixture
def measured_machine(monkeypatch):
    """A machine of which everything is known but its cost model, and the module that prints it."""
    from sardonyx.tools import machine, roofline

    ceilings = roofline.Roofline("test", 2, 400.0, (100.0,) * len(roofline.SIZES))
    monkeypatch.setattr(machine, "roofline", lambda threads, fresh: ceilings)
    monkeypatch.setattr(machine, "widths", lambda fresh: None)
    monkeypatch.setattr(machine, "rates", lambda *, fresh: {"float32": 200.0, "int8": 800.0})
    return machine


def test_machine_shows_the_cost_model_and_how_well_it_fits(call, measured_machine, monkeypatch):
    from sardonyx.kernels.cost_tables import FAMILIES
    from sardonyx.tools import cost_fit, sharing_trials

    costs = FAMILIES[0].costs._replace(step=0.125)
    fits = [cost_fit.Fit("tiles of float32", 72, 0.0064, 0.028)]
    tiles = {"register": {"1 x 1 x 16": 2.0, "14 x 2 x 64": 1.25}}
    sharing = sharing_trials.Sharing(207.0, 9100.0)
    found = cost_fit.Measured(costs, fits, tiles, {"gather": 26.0}, sharing)
    monkeypatch.setattr(measured_machine, "measured", lambda fresh, progress: found)
    monkeypatch.setattr(measured_machine, "measured_costs", lambda: None)
    shown = call("machine", "--threads", 2).stdout
    assert re.search(r"rows +1 x 16 +2 x 64", shown) and re.search(r"\b14 +0.80", shown)
    assert re.search(r"gather +26.00", shown) and re.search(r"sharing a step.* 207 ns", shown)
    assert re.search(r"step +0.125", shown) and re.search(r"tile +multiply_add +", shown)
    assert re.search(r"tiles of float32 +72 +0.6% +2.8%", shown)
    assert "not kept" in shown


def test_machine_says_in_one_line_that_a_measurement_was_disturbed(
    call, measured_machine, monkeypatch
):
    from sardonyx.tools.cost_fit import Disturbed

    def refuse(fresh, progress):
        raise Disturbed("times of the same kernel differ by 50%")

    monkeypatch.setattr(measured_machine, "measured", refuse)
    found = call("machine", "--threads", 2)
    assert found.exit_code == 0
    assert "differ by 50%; forms of steps are chosen by costs of its processor" in found.stdout


def test_machine_checks_its_choices(call, monkeypatch):
    from sardonyx.runtime.tuning import Layer
    from sardonyx.tools import choice_check

    layers = (
        Layer("a", "Conv", (1, 8, 4, 4), "direct 14x1", 1e6, "direct 14x1", 1e6),
        Layer("b", "Conv", (1, 8, 4, 4), "direct 14x1", 3e6, "winograd 4x4", 2e6),
    )
    asked = []
    monkeypatch.setattr(
        choice_check, "compare_forms", lambda *args: asked.append(args[2]) or layers
    )
    shown = call("machine", "--check", "--model", "mnist", "-t", 2).stdout
    assert asked == [2]
    assert re.search(r"mnist +2 +4.000 +3.000 +1.333 +1.50", shown)
    assert re.search(r"\bb\b.*direct 14x1 +3000.0 +winograd 4x4 +2000.0 +1.500", shown)


def test_machine_shows_units_and_bandwidth(call, measured_machine, monkeypatch):
    from sardonyx.tools.cost_fit import Disturbed

    def refuse(fresh, progress):
        raise Disturbed("not measured here")

    monkeypatch.setattr(measured_machine, "measured", refuse)
    shown = call("machine", "--threads", 2).stdout
    assert re.search(r"\bint8 +avx512.vpdpbusd.[0-9]+ +800 +4.00", shown)
    assert re.search(r"\bint16\b.* - +-", shown)
    assert re.search(r"2 threads, 400 GFLOP/s", shown) and re.search(
        r"16 KiB +100.0 \(4.0\)", shown
    )

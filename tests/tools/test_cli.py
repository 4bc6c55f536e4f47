import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import sardonyx
from sardonyx.runtime.session import Session
from sardonyx.tools.cli import app
from sardonyx.tools.demo import DATA
from typer.testing import CliRunner

MODEL = str(DATA / "digits.onnx")


@pytest.fixture
def call():
    def run(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


def test_version(call):
    found = call("--version")
    assert found.exit_code == 0
    assert found.stdout.strip() == f"sardonyx {sardonyx.__version__}"


def test_help_names_all_commands(call):
    shown = call("--help").stdout
    for name in ("convert", "optimize", "run", "bench", "profile", "compare", "inspect"):
        assert re.search(rf"\b{name}\b", shown)


@pytest.mark.parametrize("command", ["convert", "optimize", "run", "profile", "compare", "inspect"])
def test_an_error_is_one_line_and_exit_code_1(call, command, tmp_path):
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"this is no model")
    more = ["-o", tmp_path / "out.onnx"] if command in ("convert", "optimize") else []
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


def test_convert_writes_a_model_that_computes_the_same(call, tmp_path):
    out = tmp_path / "out.onnx"
    found = call("convert", MODEL, "-o", out, "--opset", 18)
    assert found.exit_code == 0, found.stderr
    model = onnx.load(out)
    onnx.checker.check_model(model)
    assert model.opset_import[0].version == 18


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


def test_bench_of_a_file(call, tmp_path):
    found = call(
        "bench", MODEL, "-t", 1, "--seconds", 0.05, "--no-footprint", "-o", tmp_path / "b.md"
    )
    assert found.exit_code == 0, found.stdout + found.stderr
    assert "onnxruntime" in found.stdout
    assert "| digits | 1 | sardonyx |" in (tmp_path / "b.md").read_text()

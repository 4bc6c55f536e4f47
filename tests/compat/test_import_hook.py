"""Import of onnxruntime, answered here; models that are refused, opened by the real one."""

import os
import subprocess
import sys

import onnx
import pytest

from .models import SUM, made

# Runs in onnxruntime, whose own domain it is of, and not here.
FOREIGN = made("agraph (float[N, 4] x) => (float[N, 4] y) { y = com.microsoft.SampleOp(x) }")


def run(*arguments, strict=False, cwd=None):
    environment = {**os.environ, "SARDONYX_COMPAT": "strict" if strict else ""}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, cwd=cwd
    )


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(SUM, path)
    return str(path)


SCRIPT = """
import sys
import numpy as np
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument
session = onnxruntime.InferenceSession(sys.argv[1])
x, b = np.ones((2, 3), np.float32), np.ones(3, np.float32)
print(onnxruntime.__name__, session.run(["y"], {"x": x, "b": b})[0].sum(), __name__)
try:
    session.run(["y"], {"x": x[0], "b": b})
except InvalidArgument as error:
    print("refused")
"""


def test_a_script_finds_sardonyx(tmp_path, model):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    (tmp_path / "beside.py").write_text("")
    script.write_text("import beside\n" + SCRIPT)
    done = run("-m", "sardonyx.compat", "-v", str(script), model, "-v")
    assert done.stdout.split() == ["sardonyx.compat.onnxruntime", "12.0", "__main__", "refused"]
    assert "model.onnx: sardonyx, 2 runs" in done.stderr


def test_code_and_modules_find_sardonyx(tmp_path, model):
    done = run("-m", "sardonyx.compat", "-c", SCRIPT, model)
    assert done.stdout.split()[0] == "sardonyx.compat.onnxruntime", done.stderr
    (tmp_path / "mine.py").write_text(SCRIPT)
    done = run("-m", "sardonyx.compat", "-m", "mine", model, cwd=tmp_path)
    assert done.stdout.split()[0] == "sardonyx.compat.onnxruntime", done.stderr


def test_what_is_not_offered_is_that_of_the_real_package(model):
    pytest.importorskip("onnxruntime")
    code = """
import sardonyx.compat
sardonyx.compat.install()
import onnxruntime
import onnxruntime.quantization
print(onnxruntime.LoraAdapter.__module__, onnxruntime.quantization.__name__)
print(onnxruntime is onnxruntime.quantization.calibrate.onnxruntime)
sardonyx.compat.uninstall()
import onnxruntime
print(onnxruntime.__name__)
"""
    done = run("-c", code)
    assert done.stdout.split() == [
        "onnxruntime.capi.onnxruntime_pybind11_state",
        "onnxruntime.quantization",
        "True",
        "onnxruntime",
    ], done.stderr
    done = run("-c", code, strict=True)
    assert "onnxruntime.quantization" in done.stderr and done.returncode


def test_a_model_that_is_refused_opens_in_the_real_one(tmp_path):
    pytest.importorskip("onnxruntime")
    path = tmp_path / "foreign.onnx"
    onnx.save(FOREIGN, path)
    code = f"""
import numpy as np
import sardonyx.compat
sardonyx.compat.install()
import onnxruntime as ort
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument
options = ort.SessionOptions()
options.intra_op_num_threads = 1
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
session = ort.InferenceSession({str(path)!r}, options)
x = np.ones((2, 4), np.float32)
print(session.run(None, {{"x": x}}, ort.RunOptions())[0].sum())
try:
    session.run(None, {{"x": x[0]}})
except InvalidArgument:
    print("refused")
print([(r.engine, r.runs, "SampleOp" in r.reason) for r in sardonyx.compat.report()])
"""
    done = run("-c", code)
    assert done.stdout.split("\n")[:3] == ["8.0", "refused", "[('onnxruntime', 2, True)]"], (
        done.stderr
    )
    done = run("-c", code, strict=True)
    assert "NotImplemented" in done.stderr and done.returncode

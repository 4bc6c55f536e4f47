"""Without the frameworks."""

from __future__ import annotations

import subprocess
import sys

import pytest
import sardonyx


@pytest.mark.parametrize(
    ("package", "module", "extra"),
    [
        ("torch", "torch.nn.modules.module", "torch"),
        ("onnxscript", "torch.nn.modules.module", "torch"),
        ("tensorflow", "tensorflow.python", "tensorflow"),
        ("tf2onnx", "tensorflow.python", "tensorflow"),
        ("keras", "keras.src.models.model", "keras"),
    ],
)
def test_a_missing_framework_names_the_extra(monkeypatch, package, module, extra):
    monkeypatch.setitem(sys.modules, package, None)
    first = {"onnxscript": "torch", "tf2onnx": "tensorflow"}.get(package)
    if first is not None:
        pytest.importorskip(first, reason=f"{first} is not installed")
    source = type("Net", (), {"__module__": module})()
    with pytest.raises(sardonyx.ImportFailed, match=rf"pip install 'sardonyx\[{extra}\]'"):
        sardonyx.load(source)


def test_the_core_imports_no_framework():
    code = (
        "import sys, sardonyx; sardonyx.Session, sardonyx.load, sardonyx.optimize;"
        "print({'torch', 'tensorflow', 'keras', 'tf2onnx', 'onnxscript'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

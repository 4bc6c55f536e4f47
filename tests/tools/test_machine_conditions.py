"""``sardonyx machine`` and sessions after it, where something is wrong with the machine.

A cache folder that cannot be written, caches of the processor that are hidden or absurd, other
work, and a processor that changes under the same folder: results are right, and a line says so.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from sardonyx.kernels import folders
from sardonyx.kernels.target import target
from sardonyx.runtime import artifact
from sardonyx.runtime.choices import Suggestions

_DROP, _CAPABILITIES = 24, (1, 2, 3)
"""Of Linux: a process without these obeys the modes of files, whoever its user is."""
_OPEN = """
import sys, numpy as np, sardonyx
from sardonyx.kernels.machine_costs import measured_costs
from sardonyx.kernels.target import target
x = np.load(sys.argv[1] + ".npy")
y, = sardonyx.Session(sys.argv[1], threads=2).run(None, {"x": x})
np.save(sys.argv[2], y)
costs = measured_costs()
print(target().cpu, target().l1, target().l2, costs and costs.step)
"""
_MACHINE = """
import sys
from sardonyx.kernels.machine_costs import machine_costs
from sardonyx.tools import cli, cost_fit
step = float(sys.argv[1])
cost_fit._measure = lambda progress: cost_fit.Measured(
    machine_costs()._replace(step=step), [cost_fit.Fit("tiles", 1, 0.01, 0.02)], {}, {}, None)
cli.main(["machine", "-t", "1", *sys.argv[2:]])
"""
_HIDDEN = """
import pathlib, sys
real, fake = pathlib.Path.glob, pathlib.Path(sys.argv[3])
pathlib.Path.glob = lambda own, pattern: real(
    fake if str(own).endswith("cpu0/cache") else own, pattern)
"""


def _obey() -> None:
    for capability in _CAPABILITIES:
        ctypes.CDLL(None).prctl(_DROP, capability, 0, 0, 0)


def child(*arguments: object, obeys: bool = False, **environment: str) -> tuple[str, str]:
    """Return what Python prints, to its output and as errors."""
    path = os.pathsep.join(filter(None, sys.path))
    found = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": path, **environment},
        preexec_fn=_obey if obeys else None,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-2000:]
    return found.stdout, found.stderr


def built(x: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Return a model of a product, and what it makes of x."""
    w = np.random.default_rng(1).standard_normal((x.shape[1], 80)).astype("f4")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Relu", ["a"], ["y"])],
        "g", [helper.make_tensor_value_info("x", 1, x.shape)], [onnx.ValueInfoProto(name="y")],
        [onnx.numpy_helper.from_array(w, "w")],
    )  # fmt: skip
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 22)])
    return model.SerializeToString(), np.maximum(x.astype("f8") @ w, 0)


@pytest.fixture
def model(tmp_path):
    """A model's file beside its input, and its result by numpy."""
    x = np.random.default_rng(0).standard_normal((50, 70)).astype("f4")
    data, expected = built(x)
    (tmp_path / "m.onnx").write_bytes(data)
    np.save(tmp_path / "m.onnx.npy", x)
    return tmp_path / "m.onnx", expected


def assert_right(model, *arguments: object, code: str = "", **environment) -> tuple[str, str]:
    path, expected = model
    result = path.with_name("y.npy")
    found = child("-c", code + _OPEN, path, result, *arguments, **environment)
    np.testing.assert_allclose(np.load(result), expected, rtol=1e-4, atol=1e-4)
    return found


def make_read_only(folder: Path) -> None:
    for each in (folder, *folder.rglob("*")):
        if each.is_dir():
            each.chmod(0o500)


def test_a_cache_that_cannot_be_written(own_cache, model):
    """What is measured again is shown, and a line says that it is not kept."""
    first, _ = child("-c", _MACHINE, 3.25)
    assert "3.25" in first and "not kept" not in first
    make_read_only(own_cache)
    shown, told = child("-c", _MACHINE, 7.75, "--fresh", obeys=True)
    assert "7.75" in shown and "not kept" in shown
    assert told.count("nothing new is kept in") == 1
    assert assert_right(model, obeys=True)[0].split()[-1] == "3.25"


def test_an_empty_cache_that_cannot_be_written(tmp_path, model):
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o500)
    _, told = assert_right(model, obeys=True, SARDONYX_CACHE=str(cache))
    assert told.count("nothing new is kept in") == 1
    assert not list(cache.iterdir())


def test_caches_that_are_hidden_or_absurd(own_cache, tmp_path, model):
    for size in (None, "0K", "1K", "4G"):
        caches = tmp_path / f"caches {size}"
        caches.mkdir()
        for level in (1, 2, 3) if size else ():
            (caches / f"index{level}").mkdir()
            for name, value in (("level", level), ("type", "Unified"), ("size", size)):
                (caches / f"index{level}" / name).write_text(f"{value}\n")
        found, _ = assert_right(model, caches, code=_HIDDEN)
        assert found.split()[1:3] == [str(32 << 10), str(512 << 10)], size
    code = f"{_HIDDEN}\nfrom sardonyx.tools import machine, text\nfrom rich.console import Console"
    code += "\ntext.show(Console(width=120), machine._processor())"
    shown, _ = child("-c", code, "-", "-", caches)
    assert shown.count("assumed") == 3


OTHERS = [{"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma"}]
OTHERS += [{"SARDONYX_VECTOR_BITS": "256"}] if target().lanes == 16 else []


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: next(iter(other)))
def test_a_processor_that_changes_under_the_same_cache(own_cache, model, other):
    """Each, and each width of vectors, has its own costs, kernels and programs."""
    kept = (
        "from sardonyx.kernels import machine_costs as m\n"
        "m.keep(m.machine_costs()._replace(step=7.0))\n"
    )
    here = {"NUMBA_CPU_NAME": "", "NUMBA_CPU_FEATURES": ""}
    here = {name: os.environ.get(name, "") for name in here if os.environ.get(name)}
    first, _ = assert_right(model, code=kept, **here)
    assert first.split()[-1] == "7.0"
    before = _files(own_cache)
    older, _ = assert_right(model, **other)
    assert older.split()[0] == other.get("NUMBA_CPU_NAME", target().cpu)
    assert older.split()[-1] == "None"
    new = _files(own_cache) - before
    assert any(".o" in name for name in new) and any(".program" in name for name in new)
    assert assert_right(model, **here)[0] == first
    assert _files(own_cache) == before | new


def _files(cache: Path) -> set[str]:
    kept = (path for path in cache.rglob("*") if path.suffix in (".o", ".program"))
    return {str(path.relative_to(cache)) for path in kept}


def layer(x: np.ndarray) -> bytes:
    w = np.random.default_rng(1).standard_normal((32, x.shape[1], 3, 3)).astype("f4")
    node = helper.make_node("Conv", ["x", "w"], ["y"], "layer", pads=[1] * 4)
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", 1, x.shape)],
        [onnx.ValueInfoProto(name="y")], [onnx.numpy_helper.from_array(w, "w")],
    )  # fmt: skip
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 22)])
    return model.SerializeToString()


def test_choices_of_another_processor_are_left_out_and_a_line_says_so(
    tmp_path, monkeypatch, lowered_anew
):
    """In artifacts, and in sessions that are pickled: tiles for registers that this one lacks."""
    import sardonyx

    x = np.random.default_rng(0).standard_normal((1, 16, 12, 12)).astype("f4")
    data, choices = layer(x), {"layer": "direct 99x9"}
    expected = sardonyx.Session(data, threads=1).run(None, {"x": x})[0]
    path = tmp_path / "m.sdx"
    path.write_bytes(artifact.pack(data, {"precision": "fp32", "choices": choices}))
    with pytest.raises(sardonyx.InvalidArgument, match="has no form 'direct 99x9'"):
        sardonyx.Session(data, choices=choices)
    pickled = sardonyx.Session(data, threads=1)
    pickled._options["choices"] = choices
    for reopen in (
        lambda: sardonyx.Session(path, threads=1),
        lambda: pickle.loads(pickle.dumps(pickled)),
    ):
        monkeypatch.setattr(folders, "_warned", set())
        with pytest.warns(RuntimeWarning, match="1 of 1 forms.*another processor.*'layer'"):
            session = reopen()
        np.testing.assert_allclose(session.run(None, {"x": x})[0], expected, atol=1e-5)
    again = pickle.loads(pickle.dumps(session))
    assert again.choices == choices and isinstance(Suggestions(choices), dict)

"""The cache of GPUs' kernels: they are loaded without a compiler, if nobody has changed them."""

import importlib.util
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import sardonyx
from sardonyx.kernels.ref import KernelRef

MISSING = [
    name
    for name in ("numba_cuda", "cuda.bindings", "nvidia.cu13")
    if importlib.util.find_spec(name.partition(".")[0]) is None
    or not importlib.util.find_spec(name)
]
pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"needs {MISSING}: pip install 'sardonyx[cuda]'"
)

REFS = [KernelRef("kernels.cuda.fill", "fill", (2,)), KernelRef("kernels.cuda.fill", "fill", (4,))]


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """Kernels in a cache of their own, and a list of those that are compiled."""
    from sardonyx.kernels.cuda import compilation
    from sardonyx.kernels.cuda.kernel import find

    monkeypatch.setenv("SARDONYX_CACHE", str(tmp_path / "cache"))
    compile_, compiled = compilation.compiled, []

    def noted(kernel, capability):
        compiled.append((kernel.ref, capability))
        return compile_(kernel, capability)

    monkeypatch.setattr(compilation, "compiled", noted)
    return SimpleNamespace(kernels=[find(ref) for ref in REFS], compiled=compiled, root=tmp_path)


def files(cached):
    return sorted(cached.root.glob("cache/kernels/*/*.cubin"))


def test_code_is_compiled_once_for_each_capability(cached):
    from sardonyx.kernels.cuda.cubins import cubins

    first = cubins(cached.kernels, (9, 0))
    assert set(first) == set(REFS)
    assert all(each.code[:4] == b"\x7fELF" for each in first.values())
    assert all(each.entry.encode() in each.code for each in first.values())
    assert cubins(cached.kernels, (9, 0)) == first
    assert cached.compiled == [(ref, (9, 0)) for ref in REFS]
    assert cubins(cached.kernels[:1], (8, 0))[REFS[0]].code != first[REFS[0]].code
    assert len(files(cached)) == 3
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files(cached))


def test_what_others_have_written_is_compiled_again(cached):
    from sardonyx.kernels.cuda.cubins import cubins

    good = cubins(cached.kernels, (9, 0))
    a, b = files(cached)
    texts = [a.read_bytes(), b.read_bytes()]
    for change in (
        lambda: a.write_bytes(texts[0][:-1] + b"x"),
        lambda: a.write_bytes(texts[1]),  # of the other kernel
        lambda: a.write_bytes(b""),
        a.unlink,
    ):
        change()
        cached.compiled.clear()
        assert set(cubins(cached.kernels, (9, 0))) == set(good)
        assert len(cached.compiled) == 1


def test_no_cache_and_one_that_is_only_read(cached, monkeypatch):
    from sardonyx.kernels.cuda.cubins import cubins

    good = cubins(cached.kernels, (9, 0))
    folder = files(cached)[0].parent
    files(cached)[0].unlink()
    if os.geteuid():
        folder.chmod(0o500)
        with pytest.warns(RuntimeWarning, match="nothing new is kept"):
            assert set(cubins(cached.kernels, (9, 0))) == set(good)
        folder.chmod(0o700)
    monkeypatch.setenv("SARDONYX_CACHE", "off")
    cached.compiled.clear()
    assert set(cubins(cached.kernels, (9, 0))) == set(good)
    assert len(cached.compiled) == 2


def test_a_kernel_that_does_not_compile_is_named(cached, monkeypatch):
    from sardonyx.kernels.cuda import compilation
    from sardonyx.kernels.cuda.cubins import cubins

    def broken(ptx):
        raise RuntimeError("line 3: bad code")

    monkeypatch.setattr(compilation, "assembled", broken)
    with pytest.raises(
        sardonyx.KernelError, match=r"the kernel fill.fill\[2\] does not compile: line 3: bad code"
    ):
        cubins(cached.kernels, (9, 0))
    monkeypatch.setitem(sys.modules, compilation.__name__, None)
    with pytest.raises(sardonyx.KernelError, match=r"no compiler.*pip install 'sardonyx\[cuda\]'"):
        cubins(cached.kernels, (9, 0))


def test_the_assembler_says_what_is_wrong():
    from sardonyx.kernels.cuda.compilation import assembled

    text = b".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry f() { rett; }\n"
    with pytest.raises(RuntimeError, match=r"line 4.*rett"):
        assembled(text)
    assert assembled(text.replace(b"rett", b"ret"))[:4] == b"\x7fELF"


def test_a_session_whose_kernels_are_cached_imports_no_compiler(tmp_path):
    """Two processes: the first one compiles, the second one has all it needs."""
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from fake_cuda import FakeCuda
import sardonyx
from sardonyx.runtime.devices.cuda import requirements
fake = FakeCuda()
fake._cuModuleGetFunction = lambda module, name: None
fake._cuLaunchKernel = fake._cuGraphLaunch = lambda *_: None
requirements._bindings = lambda: fake
import numpy as np
session = sardonyx.Session(sys.argv[2], device="cuda")
[port] = session.get_inputs()
shape = [size if isinstance(size, int) else 1 for size in port.shape]
for _ in range(3):
    session.run(None, {port.name: np.zeros(shape, np.float32)})
binding = session.io_binding()
binding.bind_input(port.name, np.zeros(shape, np.float32))
binding.run()
names = ("numba", "llvmlite", "onnx", "onnx_ir", "cuda.bindings.nvvm", "cuda.bindings.nvjitlink")
print(session.device, [name for name in names if name in sys.modules])
"""
    from pathlib import Path

    from onnx import TensorProto, helper

    tests, model = Path(__file__).parents[1], tmp_path / "model.onnx"
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in "xy")
    nodes = [helper.make_node("Exp", ["x"], ["a"]), helper.make_node("Softmax", ["a"], ["y"])]
    graph = helper.make_graph(nodes, "g", [x], [y])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    model.write_bytes(proto.SerializeToString())
    environment = os.environ | {"SARDONYX_CACHE": str(tmp_path / "cache")}
    environment.pop("NUMBA_ENABLE_CUDASIM", None)
    command = [sys.executable, "-c", code, str(tests), str(model)]
    for _ in range(2):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == "cuda:90 []"

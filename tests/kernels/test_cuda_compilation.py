"""Kernels of GPUs become PTX without a GPU: the simulator takes more than the compiler does."""

import importlib.util
from pathlib import Path

import pytest
from sardonyx import kernels

from .cuda_kernels import REFS


def find_assembler():
    """Tell whether NVIDIA's assembler is installed."""
    from sardonyx.kernels.cuda.offline import NoCompiler, assembler

    try:
        assembler()
    except NoCompiler:
        return False
    return True


MISSING = [
    name
    for name in ("numba_cuda", "cuda.bindings", "nvidia.cu13")
    if importlib.util.find_spec(name.partition(".")[0]) is None
    or not importlib.util.find_spec(name)
]
HAS_ASSEMBLER = not MISSING and find_assembler()
pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"needs {MISSING}: pip install 'sardonyx[cuda]'"
)


def targets_of(ref):
    """Return what a kernel is assembled for: 9.0, and some kernels also older GPUs."""
    older = {0: ["sm_80"], 1: ["sm_89"]}.get(REFS.index(ref) % 6, [])
    return ["sm_90", *older]


@pytest.mark.parametrize("ref", REFS, ids=str)
def test_a_kernel_compiles(ref):
    from sardonyx.kernels.cuda.compilation import compiled
    from sardonyx.kernels.cuda.kernel import find
    from sardonyx.kernels.cuda.offline import assembled

    kernel = find(ref)
    ptx, entry = compiled(kernel, (8, 0))
    assert kernel.ref == ref or set(ref.parameters) <= set(kernel.ref.parameters)
    assert ptx.count(b".param") >= len(kernel.fields) + 1
    # Sines of large numbers are reduced by a table of digits.
    assert b".local" not in ptx or "sin(" in str(ref)
    assert b" call" not in ptx  # all functions have become part of it
    assert entry in ptx
    for target in targets_of(ref) if HAS_ASSEMBLER else ():
        found = assembled(ptx.decode(), target)
        assert (found.spill_stores, found.spill_loads, found.warnings) == (0, 0, ())


def test_each_module_with_kernels_is_compiled():
    folder = Path(kernels.__file__).parent / "cuda"
    having = {
        path.stem
        for path in folder.glob("*.py")
        if "\n@cuda_factory" in (text := path.read_text()) or "\n@cuda_kernel" in text
    }
    assert having == {ref.module.rpartition(".")[2] for ref in REFS}

"""Kernels of GPUs become PTX without a GPU: the simulator takes more than the compiler does."""

import importlib.util
from pathlib import Path

import pytest
from sardonyx import kernels

from .cuda_kernels import REFS

MISSING = [
    name
    for name in ("numba_cuda", "cuda.bindings", "nvidia.cu13")
    if importlib.util.find_spec(name.partition(".")[0]) is None
    or not importlib.util.find_spec(name)
]
pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"needs {MISSING}: pip install 'sardonyx[cuda]'"
)


@pytest.mark.parametrize("ref", REFS, ids=str)
def test_a_kernel_compiles(ref):
    from sardonyx.kernels.cuda.compilation import compiled
    from sardonyx.kernels.cuda.kernel import find

    kernel = find(ref)
    ptx, entry = compiled(kernel, (8, 0))
    assert kernel.ref == ref or set(ref.parameters) <= set(kernel.ref.parameters)
    assert ptx.count(b".param") >= len(kernel.fields) + 1
    # Sines of large numbers are reduced by a table of digits.
    assert b".local" not in ptx or "sin(" in str(ref)
    assert b" call" not in ptx  # all functions have become part of it
    assert entry in ptx


def test_each_module_with_kernels_is_compiled():
    folder = Path(kernels.__file__).parent / "cuda"
    having = {
        path.stem
        for path in folder.glob("*.py")
        if "\n@cuda_factory" in (text := path.read_text()) or "\n@cuda_kernel" in text
    }
    assert having == {ref.module.rpartition(".")[2] for ref in REFS}

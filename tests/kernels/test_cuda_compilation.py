"""Kernels of GPUs become PTX without a GPU: the simulator takes more than the compiler does."""

import importlib.util
from pathlib import Path

import pytest
from sardonyx import kernels
from sardonyx.kernels.cuda.plain_kernels import REFS


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
DOCS = Path(kernels.__file__).parents[1] / "docs" / "cuda_kernels.md"


@pytest.fixture(scope="module")
def table():
    """The lines of the table, if it was made by the compilers that are here."""
    from sardonyx.tools import cuda_table

    lines = DOCS.read_text().splitlines()
    return lines if cuda_table.versions() in lines else []


def test_a_kernel_has_an_entry_with_its_words():
    from sardonyx.kernels.cuda.compilation import compiled
    from sardonyx.kernels.cuda.kernel import find

    kernel = find(REFS[0])
    ptx, entry = compiled(kernel, (8, 0))
    assert ptx.count(b".param") >= len(kernel.fields) + 1
    assert entry in ptx


@pytest.mark.parametrize("ref", REFS, ids=str)
def test_a_kernel_compiles(ref):
    from sardonyx.kernels.cuda.kernel import find
    from sardonyx.kernels.cuda.offline import plain_text

    kernel = find(ref)
    ptx = plain_text(kernel)
    assert kernel.ref == ref or set(ref.parameters) <= set(kernel.ref.parameters)
    # Sines of large numbers are reduced by a table of digits.
    assert ".local" not in ptx or "sin(" in str(ref)
    assert " call" not in ptx  # all functions have become part of it


@pytest.mark.parametrize("ref", REFS, ids=str)
def test_a_kernel_is_assembled_without_spills(ref, table):
    from sardonyx.kernels.cuda.kernel import Limits, find
    from sardonyx.kernels.cuda.machines import Gpu
    from sardonyx.kernels.cuda.offline import NoCompiler, assemble_plain, assembler
    from sardonyx.tools import cuda_table

    try:
        assembler()
    except NoCompiler as reason:
        pytest.skip(str(reason))
    for target in ("sm_80", "sm_89", "sm_90"):
        done = assemble_plain(find(ref), target)
        assert (done.spill_stores, done.spill_loads, done.warnings) == (0, 0, ())
        assert done.stack == 0 or "sin(" in str(ref)
        assert -(-done.registers // 8) * 8 * Limits().threads <= Gpu.REGISTERS
        assert done.shared <= 48 * 1024  # of a launch that asks for no more
    line = cuda_table.plain(ref)
    assert not table or line in table, "docs/cuda_kernels.md is old: see tools/cuda_table.py"


def test_the_table_has_a_line_for_each_kernel():
    text = DOCS.read_text()
    assert [str(ref) for ref in REFS if f"| `{ref}` |" not in text] == []
    assert text.count("| `") == len(REFS)


def test_each_module_with_kernels_is_compiled():
    folder = Path(kernels.__file__).parent / "cuda"
    having = {
        path.stem
        for path in folder.glob("*.py")
        if "\n@cuda_factory" in (text := path.read_text()) or "\n@cuda_kernel" in text
    }
    assert having == {ref.module.rpartition(".")[2] for ref in REFS}

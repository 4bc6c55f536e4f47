"""Every kernel of the catalogue, compiled and assembled for its targets without a GPU."""

import subprocess
from pathlib import Path

import pytest
from sardonyx import kernels
from sardonyx.kernels.cuda.basic import store, thread_index
from sardonyx.kernels.cuda.catalogue import entries
from sardonyx.kernels.cuda.machines import Gpu
from sardonyx.kernels.cuda.offline import NoCompiler, assembler, compile_kernel
from sardonyx.kernels.cuda.ptx import Instruction
from sardonyx.tools import cuda_table


@pytest.fixture(autouse=True)
def compiler():
    try:
        assembler()
    except NoCompiler as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.name)
def test_kernels_keep_what_their_launches_assume(entry):
    for target in entry.targets:
        done = entry.compiled(target)
        assert done.cubin[:4] == b"\x7fELF"
        assert (done.stack, done.spill_stores, done.spill_loads) == (0, 0, 0)
        assert done.warnings == ()  # among them that wgmma is serialized
        registers = -(-done.registers // 8) * 8
        assert registers * entry.tile.threads * entry.blocks <= Gpu.REGISTERS
        for gpu in entry.gpus(target):
            assert entry.shared_bytes <= gpu.block_bytes
            assert (entry.shared_bytes + gpu.RESERVED) * entry.blocks <= gpu.shared_bytes
    table = (Path(kernels.__file__).parents[1] / "docs/cuda_kernels.md").read_text().splitlines()
    if cuda_table.versions() in table:
        lines = {*cuda_table.compiled(entry), *cuda_table.expected(entry)}
        assert lines <= set(table), "docs/cuda_kernels.md is old"


def test_wgmma_is_compiled_for_the_target_that_has_it():
    (entry,) = (each for each in entries() if each.name == "bulk product bf16 128 x 256")
    done = entry.compiled("sm_90a")
    assert ".target sm_90a" in done.ptx
    assert done.ptx.count("wgmma.mma_async") == 4
    assert "setmaxnreg.inc.sync.aligned.u32 232" in done.ptx


def test_the_name_of_the_entry_is_known():
    put = store("global", "i32")

    def kernel(x):
        put(x + 4 * thread_index(), 1)

    done = compile_kernel(kernel, "i", "sm_80", 32)
    assert f".visible .entry {done.entry}(" in done.ptx


def test_what_the_assembler_refuses_is_told():
    wrong = Instruction("wrong", ("add.u32 1, 2;",))

    def kernel(x):
        wrong()

    with pytest.raises(subprocess.CalledProcessError) as error:
        compile_kernel(kernel, "i", "sm_80", 32)
    assert "kernel.ptx" in error.value.__notes__[0]

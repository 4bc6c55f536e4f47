"""Compilation of kernels without a GPU, and what the assembler says of them.

numba-cuda turns a kernel into PTX; `ptxas` of NVIDIA's wheel (``nvidia-cuda-nvcc``) assembles it
for a processor, and reports registers, spills and shared memory, and whether it had to serialize
wgmma (warning C7515 and its relatives).
"""

from __future__ import annotations

import functools
import importlib.util
import re
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .kernel import CudaKernel
from .numba_backend import bound

TARGETS = {"sm_80": (8, 0), "sm_89": (8, 0), "sm_90": (8, 0), "sm_90a": (9, 0)}
"""Targets of ``ptxas``, with what numba compiles for: text for 8.0 serves what needs no more."""


class NoCompiler(ImportError):
    """numba-cuda or one of NVIDIA's compilers is not installed."""


@dataclass(frozen=True)
class Compiled:
    """A kernel for one target, and what the assembler reports.

    Attributes
    ----------
    target : str
        Of `TARGETS`.
    entry : str
        Its name in the code.
    ptx : str
        Its text.
    cubin : bytes
        What a driver loads.
    registers, stack, spill_stores, spill_loads : int
        Of a thread; the latter in bytes.
    warnings : tuple of str
        Lines of the assembler that are no plain report.
    shared : int
        Shared memory of a block, in bytes, but for what a launch adds.
    """

    target: str
    entry: str
    ptx: str
    cubin: bytes
    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    warnings: tuple[str, ...]
    shared: int


@functools.cache
def assembler() -> Path:
    """Return the path of ``ptxas``.

    Raises
    ------
    NoCompiler
        It is not installed, or numba-cuda is not; the message says which package has it.
    """
    if importlib.util.find_spec("numba_cuda") is None:
        raise NoCompiler("numba-cuda is not installed")
    spec = importlib.util.find_spec("nvidia")
    for folder in spec.submodule_search_locations or () if spec else ():
        for path in sorted(Path(folder).glob("**/bin/ptxas")):
            return path
    raise NoCompiler("ptxas is not installed: the package nvidia-cuda-nvcc has it")


def compile_kernel(
    kernel: Callable[..., None],
    parameters: str,
    target: str,
    threads: int,
    blocks: int = 1,
) -> Compiled:
    """Compile a kernel and assemble it.

    Parameters
    ----------
    kernel : function
        Its names may stand for instructions and functions of ours (`ptx`).
    parameters : str
        A letter for each parameter: ``i`` for int64, ``f`` for float32, ``d`` for float64.
    target : str
        Of `TARGETS`.
    threads, blocks : int
        Threads of a block, and blocks that have to fit a multiprocessor at a time: the launch
        bounds, from which the assembler takes the registers that a thread may have.

    Raises
    ------
    NoCompiler
        A compiler is not installed.
    subprocess.CalledProcessError
        The assembler refuses the text; its message is a note.
    """
    assembler()  # missing, this is told before numba compiles
    return assembled(_text(kernel, parameters, TARGETS[target], threads, blocks), target)


@functools.cache
def assemble_plain(kernel: CudaKernel, target: str) -> Compiled:
    """Assemble a kernel that the runtime compiles, as a driver does for a GPU of a target.

    Raises
    ------
    NoCompiler, subprocess.CalledProcessError
        As `compile_kernel`.
    """
    return assembled(plain_text(kernel), target)


@functools.cache
def plain_text(kernel: CudaKernel) -> str:
    """Return the PTX of a kernel that the runtime compiles, for 8.0."""
    from .compilation import compiled

    return compiled(kernel, TARGETS["sm_80"])[0].decode()


@functools.lru_cache(64)
def _text(
    kernel: Callable[..., None], parameters: str, capability: tuple[int, int], *bounds: int
) -> str:
    from numba import cuda
    from numba.cuda import types

    words = {"i": types.int64, "f": types.float32, "d": types.float64}
    signature = types.void(*(words[letter] for letter in parameters))
    ptx, _ = cuda.compile_ptx(bound(kernel), signature, cc=capability, launch_bounds=bounds)
    return str(ptx)


def assembled(ptx: str, target: str) -> Compiled:
    """Assemble the text of a kernel for one of `TARGETS`; errors are those of `compile_kernel`."""
    program = assembler()
    ptx = re.sub(r"^\.target \w+", f".target {target}", ptx, flags=re.MULTILINE)
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        source.write_text(ptx)
        command = [str(program), "-v", f"-arch={target}", str(source), "-o", str(result)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            error = subprocess.CalledProcessError(done.returncode, "ptxas", stderr=done.stderr)
            error.add_note(done.stderr[:2000])
            raise error
        cubin = result.read_bytes()
    report = done.stderr + done.stdout
    plain = ("Compiling entry", "Function properties", "bytes stack frame", "Used ", "gmem", "time")
    warnings = [line for line in report.splitlines() if not any(word in line for word in plain)]
    return Compiled(
        target,
        names[1] if (names := re.search(r"\.entry (\w+)", ptx)) else "",
        ptx,
        cubin,
        _number(report, r"Used (\d+) registers"),
        _number(report, r"(\d+) bytes stack frame"),
        _number(report, r"(\d+) bytes spill stores"),
        _number(report, r"(\d+) bytes spill loads"),
        tuple(warnings),
        _number(report, r"(\d+) bytes smem"),
    )


def _number(report: str, pattern: str) -> int:
    match = re.search(pattern, report)
    return int(match[1]) if match else 0

"""Compilation of kernels without a GPU: numba.cuda makes PTX of them, NVIDIA's linker machine code.

The linker (nvJitLink) has the assembler in it, so no driver has to assemble anything, and a driver
takes what a newer compiler has made.
"""

from __future__ import annotations

import contextlib
import re

from .kernel import CudaKernel, argument_types
from .numba_backend import bound


def compiled(kernel: CudaKernel, capability: tuple[int, int]) -> tuple[bytes, bytes]:
    """Return the PTX of a kernel for GPUs of a compute capability, and the name of its entry.

    Its parameters are words of 64 bits, side by side.
    """
    from numba import cuda
    from numba.cuda import types

    own = [getattr(types, name) for name in ("void", *argument_types(kernel))]
    signature = own[0](*own[1:])
    bounds = None if kernel.bounds is None else kernel.bounds[:2]
    ptx, _ = cuda.compile_ptx(
        bound(kernel.function), signature, cc=capability, launch_bounds=bounds
    )
    if kernel.maps is not None:
        # What has tensor maps has wgmma, which no later architecture has.
        ptx = re.sub(r"^\.target (sm_90)\b", r".target \1a", ptx, flags=re.MULTILINE)
    entry = re.search(r"\.visible\s+\.entry\s+(\w+)", ptx)
    assert entry is not None
    return ptx.encode(), entry[1].encode()


def assembled(ptx: bytes) -> bytes:
    """Assemble PTX to machine code (a cubin) of the target that it names, such as ``sm_90a``.

    Raises
    ------
    RuntimeError
        The text is wrong; says where.
    """
    from cuda.bindings import nvjitlink

    target = re.search(rb"^\.target (\w+)", ptx, re.MULTILINE)
    assert target is not None
    linker = nvjitlink.create(2, [f"-arch={target[1].decode()}", "-O3"])
    try:
        nvjitlink.add_data(linker, nvjitlink.InputType.PTX, ptx, len(ptx), "kernel")
        nvjitlink.complete(linker)
        code = bytearray(nvjitlink.get_linked_cubin_size(linker))
        nvjitlink.get_linked_cubin(linker, code)
    except nvjitlink.nvJitLinkError as error:
        raise RuntimeError(_log(linker) or str(error)) from error
    finally:
        nvjitlink.destroy(linker)
    return bytes(code)


def _log(linker: int) -> str:
    from cuda.bindings import nvjitlink

    with contextlib.suppress(nvjitlink.nvJitLinkError):
        log = bytearray(nvjitlink.get_error_log_size(linker))
        nvjitlink.get_error_log(linker, log)
        return log.decode(errors="replace").strip("\0\n ")
    return ""

"""Compilation of kernels to PTX, NVIDIA's portable assembly, by numba.cuda."""

from __future__ import annotations

import re

from .kernel import CudaKernel, argument_types


def compiled(kernel: CudaKernel, capability: tuple[int, int]) -> tuple[bytes, bytes]:
    """Return the PTX of a kernel for GPUs of a compute capability, and the name of its entry.

    Its parameters are words of 64 bits, side by side.
    """
    from numba import cuda
    from numba.cuda import types

    own = [getattr(types, name) for name in ("void", *argument_types(kernel))]
    signature = own[0](*own[1:])
    ptx, _ = cuda.compile_ptx(kernel.function, signature, cc=capability)
    entry = re.search(r"\.visible\s+\.entry\s+(\w+)", ptx)
    assert entry is not None
    return ptx.encode(), entry[1].encode()

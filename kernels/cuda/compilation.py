"""Compilation of kernels to PTX, NVIDIA's portable assembly, by numba.cuda."""

from __future__ import annotations

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
    if kernel.bounds is None:
        ptx, _ = cuda.compile_ptx(kernel.function, signature, cc=capability)
    else:
        bounds = kernel.bounds[:2]
        ptx, _ = cuda.compile_ptx(
            bound(kernel.function), signature, cc=capability, launch_bounds=bounds
        )
    if kernel.maps is not None:
        # What has tensor maps has wgmma, which no later architecture has.
        ptx = re.sub(r"^\.target (sm_90)\b", r".target \1a", ptx, flags=re.MULTILINE)
    entry = re.search(r"\.visible\s+\.entry\s+(\w+)", ptx)
    assert entry is not None
    return ptx.encode(), entry[1].encode()

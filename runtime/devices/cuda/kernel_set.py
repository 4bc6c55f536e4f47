"""Kernels of a GPU: the twins of the CPU's, and operators that are lowered otherwise."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

from ....kernels.cuda.kernel import CudaKernel, find
from ....kernels.ref import KernelRef
from ...emission import Emission
from ...graph import Node
from ...ops.convolution import Convolution
from ..kernel_set import AnyKernel, KernelSet
from .convolution import emit_convolution, lower_conv
from .integers import (
    lower_conv_integer,
    lower_matmul_integer,
    lower_qlinear_conv,
    lower_qlinear_matmul,
)
from .pool import lower_average, lower_max
from .product import lower_gemm, lower_matmul
from .recurrent import lower_recurrent
from .tensor_tiles import takes_epilogue

_LOWERINGS: dict[tuple[str, str], Callable[..., None]] = {
    ("", "MatMul"): lower_matmul, ("", "Gemm"): lower_gemm, ("", "Conv"): lower_conv,
    ("", "MaxPool"): lower_max, ("", "AveragePool"): lower_average,
    ("", "LSTM"): lower_recurrent, ("", "GRU"): lower_recurrent, ("", "RNN"): lower_recurrent,
    ("", "MatMulInteger"): lower_matmul_integer, ("", "QLinearMatMul"): lower_qlinear_matmul,
    ("", "ConvInteger"): lower_conv_integer, ("", "QLinearConv"): lower_qlinear_conv,
}  # fmt: skip


class CudaKernels(KernelSet):
    """Kernels of a GPU."""

    has_forms = False

    def __init__(self) -> None:
        self._twins: dict[KernelRef, CudaKernel | None] = {}

    def kernel(self, kernel: AnyKernel) -> AnyKernel:
        """Return the kernel of the same name, or that of the CPU where there is none."""
        if isinstance(kernel, CudaKernel):
            return kernel
        if kernel.ref not in self._twins:
            self._twins[kernel.ref] = _twin(kernel)
        return self._twins[kernel.ref] or kernel

    def lowering(self, key: tuple[str, str]) -> Callable[..., None] | None:
        """Return what emits products, convolutions and poolings."""
        return _LOWERINGS.get(key)

    def leads(self, emit: Emission, node: Node) -> bool:
        """Tell whether a node is a product or convolution whose kernel has an epilogue."""
        return takes_epilogue(emit, node)

    def convolve(self, emit: Emission, conv: Convolution) -> bool:
        """Emit a convolution of floats without an epilogue."""
        return emit_convolution(emit, conv)


def _twin(kernel: AnyKernel) -> CudaKernel | None:
    """Return the kernel of a GPU that has the name of one of the CPU."""
    ref = kernel.ref
    module = "kernels.cuda." + ref.module.removeprefix("kernels.").removeprefix("cpu.")
    if not ref.module.startswith("kernels.") or not importlib.util.find_spec(_absolute(module)):
        return None
    twin: CudaKernel | None = find(KernelRef(module, ref.function, ref.parameters))
    if twin is not None and not set(twin.fields) <= set(kernel.fields):
        missing = sorted(set(twin.fields) - set(kernel.fields))
        raise TypeError(f"{twin.ref} has fields that {ref} has not: {missing}")
    return twin


def _absolute(module: str) -> str:
    return f"{__package__.rpartition('.runtime.')[0]}.{module}"

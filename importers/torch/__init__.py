"""PyTorch importer: modules, exported programs and files, through PyTorch's two exporters."""

from __future__ import annotations

from ..importer import Importer, Reader


def _reader() -> Reader:
    from .convert import from_torch

    return from_torch


TORCH = Importer(
    "PyTorch",
    _reader,
    modules=("torch",),
    suffixes=(".pt2", ".pt", ".pth", ".jit", ".ts"),
    packages=("torch", "onnxscript"),
    extra="torch",
    unsafe={"allow_pickle": True, "allow_code": True},  # unpickles modules; runs TorchScript
)

"""Calls of PyTorch modules and programs, and comparison of their results."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from .call import Call
from .results import tensors_of


def runs(module: Any, call: Call) -> bool:
    """Whether a module takes a call."""
    with suppress(Exception):
        run_purely(module, call)
        return True
    return False


def run_purely(module: Any, call: Call) -> Any:
    """Call a module; what it writes into its buffers goes into copies."""
    import torch

    buffers = {name: value.clone() for name, value in module.named_buffers()}
    with torch.no_grad():
        return torch.func.functional_call(module, buffers, call.args, call.kwargs)


def unconditional(program: Any) -> Any:
    """Return an exported program as a module without its conditions, as its ONNX model is."""
    module = program.module(check_guards=False)
    for key, hook in list(module._forward_pre_hooks.items()):
        if "constraints" in getattr(hook, "__name__", ""):
            del module._forward_pre_hooks[key]
            module._forward_pre_hooks_with_kwargs.pop(key, None)
    return module


def varied(call: Call) -> Call:
    """Multiply floats by numbers around 1, so that no two parts of an input are the same.

    Zeros, as in masks, stay, except where a tensor has nothing else.
    """
    import torch

    generator = torch.Generator().manual_seed(0)

    def visit(tensor: Any) -> Any:
        if not tensor.is_floating_point():
            return tensor
        noise = torch.rand(tensor.shape, generator=generator).to(tensor)
        return tensor * (0.75 + noise / 2) if tensor.any() else noise

    return call.with_tensors([visit(tensor) for tensor in call.tensors])


def close(result: Any, expected: Any) -> bool:
    """Whether the tensors of two results are nearly the same."""
    import torch

    pairs = tensors_of(result), tensors_of(expected)
    if len(pairs[0]) != len(pairs[1]):
        return False
    for found, wanted in zip(*pairs, strict=True):
        if found.shape != wanted.shape or found.dtype != wanted.dtype:
            return False
        if not wanted.is_floating_point():
            same = torch.equal(found, wanted)
        else:
            finite = wanted[wanted.isfinite()]
            scale = float(finite.abs().max()) if finite.numel() else 0.0
            same = torch.allclose(
                found, wanted, rtol=1e-3, atol=1e-4 * scale + 1e-6, equal_nan=True
            )
        if not same:
            return False
    return True

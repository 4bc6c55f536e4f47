"""PyTorch: modules and exported programs, through ``torch.export`` and its ONNX exporter."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .. import ImportFailed, InvalidArgument
from .frameworks import batches, conversion, require
from .onnx import from_onnx

if TYPE_CHECKING:
    import onnx_ir as ir


def from_torch(
    source: Any,
    example_inputs: Any = None,
    dynamic_shapes: Any = None,
    input_names: list[str] | None = None,
    output_names: list[str] | None = None,
) -> ir.Model:
    """Convert a module in inference mode, or an exported program.

    Parameters
    ----------
    source : torch.nn.Module, torch.export.ExportedProgram, or path of a .pt2 file
        A module's mode (train or eval) is as before afterwards.
    example_inputs : tensor, sequence or mapping
        What a module is called with: one tensor, positional, or keyword arguments.
    dynamic_shapes : optional
        As ``torch.export.export`` takes it. By default the first axis of all tensors is the
        dynamic dimension ``batch`` where they agree on its size and the module allows it, and
        all others are fixed; ``()`` fixes that one, too.
    input_names, output_names : list of str, optional
        Names in the model; those of the module's signature when not given.

    Raises
    ------
    ImportFailed
        PyTorch is not installed, or it cannot export the module; says why.
    InvalidArgument
        A module without example inputs.
    """
    torch = require("torch", "torch")
    require("onnxscript", "torch")
    names: dict[str, Any] = {"input_names": input_names, "output_names": output_names}
    if isinstance(source, str | os.PathLike):
        with conversion("PyTorch", os.fspath(source)):
            source = torch.export.load(source)
    if isinstance(source, torch.export.ExportedProgram):
        return _convert(torch, source, "the exported program", **names)
    what = type(source).__name__
    if not isinstance(source, torch.nn.Module):
        raise InvalidArgument(f"a {what} is neither an nn.Module nor an ExportedProgram")
    if example_inputs is None:
        raise InvalidArgument(f"{what} needs example_inputs= to be traced with")
    args, kwargs = _arguments(torch, example_inputs)
    with _inference(source):
        if dynamic_shapes is None:
            program = _with_dynamic_batch(torch, source, args, kwargs)
            if program is not None:
                return _convert(torch, program, what, **names)
        with conversion("PyTorch", what):
            shapes = dynamic_shapes or None
            program = torch.export.export(source, args, kwargs, dynamic_shapes=shapes)
        return _convert(torch, program, what, **names)


def _arguments(torch: Any, example_inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example_inputs, Mapping):
        return (), dict(example_inputs)
    if isinstance(example_inputs, torch.Tensor):
        return (example_inputs,), {}
    return tuple(example_inputs), {}


@contextmanager
def _inference(module: Any) -> Iterator[None]:
    """Switch to evaluation and back, each part to the mode it had."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def _with_dynamic_batch(
    torch: Any, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Export with a dynamic first axis; None where that cannot be."""
    tensors = [v for v in [*args, *kwargs.values()] if isinstance(v, torch.Tensor)]
    if len(tensors) != len(args) + len(kwargs) or not batches(tensors):
        return None

    def double(value: Any) -> Any:
        # An axis of size 1 would be taken for a constant.
        return torch.cat([value, value]) if value.shape[0] == 1 else value

    batch = torch.export.Dim("batch", min=1)
    shapes = [{0: batch} for _ in args] or {name: {0: batch} for name in kwargs}
    try:
        return torch.export.export(
            module,
            tuple(map(double, args)),
            {name: double(value) for name, value in kwargs.items()},
            dynamic_shapes=shapes if not args else tuple(shapes),
        )
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        warnings.warn(
            f"{type(module).__name__} is imported with a fixed batch size: {reason}", stacklevel=4
        )
        return None


def _convert(torch: Any, program: Any, what: str, **names: Any) -> ir.Model:
    given = {key: value for key, value in names.items() if value is not None}
    with conversion("PyTorch", what), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.onnx.export(program, dynamo=True, verbose=False, **given)
    if exported is None:
        raise ImportFailed(f"PyTorch could not convert {what}: its exporter gave no model")
    return from_onnx(exported.model)

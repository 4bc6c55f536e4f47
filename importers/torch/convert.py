"""Conversion of PyTorch modules, exported programs and files to ONNX."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import ImportFailed, InvalidArgument, reason
from ..notes import Notes
from .call import Call
from .explain import conversion, explain
from .files import read_file
from .notes import in_evaluation_mode, take_notes
from .objects import with_plain_arguments
from .program import ProgramExport, convert_source
from .results import with_plain_results
from .script import ScriptExport

if TYPE_CHECKING:
    import onnx_ir as ir


def from_torch(
    source: Any,
    notes: Notes,
    example_inputs: Any = None,
    dynamic_shapes: Any = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    module: Any = None,
    submodule: str | None = None,
    allow_pickle: bool = False,
    allow_code: bool = False,
    expansion_limit: int | None = None,
) -> ir.Model:
    """Convert a module in inference mode, a TorchScript module, or an exported program.

    Modules go through ``torch.export``; what it cannot export through the TorchScript exporter,
    with a warning that says why. TorchScript modules go through the latter.

    Parameters
    ----------
    source : torch.nn.Module, torch.export.ExportedProgram, or path
        A module is converted in evaluation mode; its mode (train or eval) is as before
        afterwards. Files: exported programs (.pt2), TorchScript archives, and with ``module=``
        the weights of a module (a state dict, alone or in a checkpoint under ``state_dict``,
        ``model_state_dict`` or ``model``).
    notes : Notes
        Filled in: how to run the source, labels, normalization.
    example_inputs : tensor, sequence or mapping
        What a module is called with: one tensor, positional, or keyword arguments.
    dynamic_shapes : optional
        As ``torch.export.export`` takes it, where names may stand for dimensions, too, as in
        ``({0: "batch"}, {1: "batch"})``. By default the dimensions that the module leaves open
        are dynamic: ``batch``, ``sequence``, and ``{input}_{axis}`` for others (the rule is that
        of `dims`; through the TorchScript exporter it is ``batch`` and ``sequence`` only);
        ``()`` fixes all.
    input_names, output_names : list of str, optional
        Names in the model; those of the module's signature when not given.
    module : torch.nn.Module or callable that returns one, optional
        What the weights of a file are loaded into.
    submodule : str, optional
        Dotted name of the part to convert, for models whose outermost module does more than
        compute.
    allow_pickle : bool
        Whether a file may be unpickled that holds a whole module. **This runs code of the file.**
    allow_code : bool
        Whether a TorchScript archive or an exported program may be opened whose code may do more
        than compute, such as write files. **This runs it.**
    expansion_limit : int, optional
        Bytes that the entries of an archive, and its tensors, may take in memory; by default
        256 MiB, or eight times the file's size.

    Raises
    ------
    ImportFailed
        PyTorch is not installed, or it cannot export the module; says why.
    InvalidArgument
        A module without example inputs, or with ones that it cannot be called with; weights
        without module, or of another one; a file that holds no model, a pickled one, or code that
        may do more than compute.
    UnsupportedModel
        A file takes too much memory.
    """
    import torch

    title = "the exported program"
    if isinstance(source, str | os.PathLike):
        title = os.fspath(source)
        source = read_file(title, module, allow_pickle, allow_code, expansion_limit)
    elif module is not None:
        raise InvalidArgument("module= goes with a file of weights; the source is not a file")
    if isinstance(source, torch.export.ExportedProgram):
        model = convert_source(source, title, input_names, output_names)
        if source.example_inputs is not None:
            module = source.module()
            take_notes(notes, module, module, Call(*source.example_inputs), model)
        return model
    title = type(source).__name__
    if not isinstance(source, torch.nn.Module):
        raise InvalidArgument(
            f"a {title} is neither an nn.Module, nor a TorchScript module, nor an ExportedProgram"
        )
    if submodule is not None:
        source = _part(source, submodule)
        title = type(source).__name__
    if isinstance(source, torch.jit.ScriptModule):
        title = source.original_name
    if example_inputs is None:
        raise InvalidArgument(f"{title} needs example_inputs= to be traced with")
    call = Call.of(source, example_inputs)
    with in_evaluation_mode(source):
        compiled = isinstance(source, torch.jit.ScriptModule)
        module, call = (source, call) if compiled else with_plain_arguments(source, call)
        call = call.unshared()
        module = module if compiled else with_plain_results(module, call)
        export = ProgramExport(module, title, call, input_names, output_names)
        with _checked_call(export):
            if compiled:
                with conversion(title):
                    model = ScriptExport.like(export).with_shapes(dynamic_shapes)
            else:
                model = _from_module(export, dynamic_shapes)
    take_notes(notes, source, module, call, model)
    return model


def _part(module: Any, name: str) -> Any:
    parts = dict(module.named_modules())
    if name not in parts:
        raise InvalidArgument(f"there is no submodule {name!r}, only {[p for p in parts if p]}")
    return parts[name]


@contextlib.contextmanager
def _checked_call(export: ProgramExport) -> Iterator[None]:
    """When a conversion fails, find out whether the module can be called at all.

    Raises
    ------
    InvalidArgument
        It cannot; says with which inputs, and why.
    """
    import torch

    try:
        yield
    except ImportFailed:
        try:
            with torch.no_grad():
                export.call.run(export.module)
        except Exception as error:
            kinds = [
                f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
                for value in export.call.tensors
            ]
            raise InvalidArgument(
                f"{export.title} cannot be called with these example_inputs= "
                f"({', '.join(kinds)}): {reason(error)}"
            ) from error
        raise


def _from_module(export: ProgramExport, shapes: Any) -> ir.Model:
    try:
        if shapes is None:
            return export.with_most_open_dimensions()
        return export.with_shapes(shapes)
    except Exception as error:
        why = explain(error).removeprefix(f"PyTorch could not convert {export.title}: ")
    try:
        model = ScriptExport.like(export).compiled_or_traced(shapes)
    except Exception as error:
        raise ImportFailed(
            f"PyTorch could not convert {export.title}. torch.export: {why}. "
            f"TorchScript exporter: {explain(error)}"
        ) from None
    warnings.warn(
        f"{export.title} went through the TorchScript exporter, since torch.export failed: {why}",
        stacklevel=5,
    )
    return model

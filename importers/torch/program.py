"""PyTorch: modules, exported programs and files, through its two exporters to ONNX."""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ImportFailed, InvalidArgument, UnsupportedModel
from . import torch_dims, torch_files, torch_notes, torch_script
from .frameworks import conversion, reason, rename, require
from .notes import Notes
from .onnx import from_onnx
from .torch_types import promote_numbers

if TYPE_CHECKING:
    import onnx_ir as ir


def from_torch(
    source: Any,
    notes: Notes,
    example_inputs: Any = None,
    dynamic_shapes: Any = None,
    input_names: list[str] | None = None,
    output_names: list[str] | None = None,
    module: Any = None,
    submodule: str | None = None,
    allow_pickle: bool = False,
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
        Gets what is learnt besides.
    example_inputs : tensor, sequence or mapping
        What a module is called with: one tensor, positional, or keyword arguments.
    dynamic_shapes : optional
        As ``torch.export.export`` takes it, where names may stand for dimensions, too, as in
        ``({0: "batch"}, {1: "batch"})``. By default the dimensions that the module leaves open
        are dynamic: ``batch``, ``sequence``, and ``{input}_{axis}`` for others (the rule is that
        of `torch_dims`; through the TorchScript exporter it is ``batch`` and ``sequence`` only);
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

    Raises
    ------
    ImportFailed
        PyTorch is not installed, or it cannot export the module; says why.
    InvalidArgument
        A module without example inputs, or with ones that it cannot be called with; weights
        without module, or of another one; a file that holds no model, or a pickled one.
    """
    torch = require("torch", "torch")
    require("onnxscript", "torch")
    names = {"input_names": input_names, "output_names": output_names}
    what = "the exported program"
    if isinstance(source, str | os.PathLike):
        what = os.fspath(source)
        source = torch_files.read(torch, what, module, allow_pickle)
    elif module is not None:
        raise InvalidArgument("module= goes with a file of weights; the source is no file")
    if isinstance(source, torch.export.ExportedProgram):
        model = _convert(torch, source, what, (), names)
        if source.example_inputs is not None:
            torch_notes.take(torch, notes, source.module(), source.example_inputs, model)
        return model
    what = type(source).__name__
    if not isinstance(source, torch.nn.Module):
        raise InvalidArgument(
            f"a {what} is neither an nn.Module, nor a TorchScript module, nor an ExportedProgram"
        )
    if submodule is not None:
        source = _part(source, submodule)
    if isinstance(source, torch.jit.ScriptModule):
        what = source.original_name
    if example_inputs is None:
        raise InvalidArgument(f"{what} needs example_inputs= to be traced with")
    call = torch_dims.unshared(torch, _arguments(torch, source, example_inputs))
    with torch_notes.inference(source), _blaming_inputs(torch, source, what, call):
        if isinstance(source, torch.jit.ScriptModule):
            with conversion("PyTorch", what):
                model = torch_script.convert(torch, source, what, call, dynamic_shapes, names)
        else:
            model = _from_module(torch, source, call, dynamic_shapes, names)
    torch_notes.take(torch, notes, source, call, model)
    return model


def _part(module: Any, name: str) -> Any:
    parts = dict(module.named_modules())
    if name not in parts:
        raise InvalidArgument(f"there is no submodule {name!r}, only {[p for p in parts if p]}")
    return parts[name]


def _arguments(torch: Any, module: Any, example_inputs: Any) -> torch_dims.Call:
    if isinstance(example_inputs, Mapping):
        if isinstance(module, torch.jit.ScriptModule):
            order = [argument.name for argument in module.forward.schema.arguments]
        else:
            order = list(inspect.signature(module.forward).parameters)
        known = [name for name in order if name in example_inputs]
        rest = [name for name in example_inputs if name not in order]
        return (), {name: example_inputs[name] for name in [*known, *rest]}
    if isinstance(example_inputs, torch.Tensor):
        return (example_inputs,), {}
    if isinstance(example_inputs, list | tuple):
        return tuple(example_inputs), {}
    raise InvalidArgument(
        f"example_inputs= is a {type(example_inputs).__name__}: give a tensor, a tuple of the "
        "positional arguments, or a mapping of the keyword arguments"
    )


@contextlib.contextmanager
def _blaming_inputs(torch: Any, module: Any, what: str, call: torch_dims.Call) -> Iterator[None]:
    """When a conversion fails, see whether the module can be called at all."""
    try:
        yield
    except ImportFailed:
        try:
            with torch.no_grad():
                module(*call[0], **call[1])
        except Exception as error:
            kinds = [
                f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
                for value in torch_dims.tensors(torch, call)
            ]
            raise InvalidArgument(
                f"{what} cannot be called with these example_inputs= ({', '.join(kinds)}): "
                f"{reason(error)}"
            ) from error
        raise


def _from_module(
    torch: Any, module: Any, call: torch_dims.Call, shapes: Any, names: Mapping[str, Any]
) -> ir.Model:
    what = type(module).__name__
    try:
        if shapes is None:
            return _with_open_dimensions(torch, module, call, names)
        plain = torch_dims.plain_shapes(torch, shapes) or None
        program = _export(torch, module, plain, call)
        return _convert(torch, program, what, torch_dims.given_names(torch, shapes, call), names)
    except Exception as error:
        first = error.__cause__ if isinstance(error, ImportFailed) and error.__cause__ else error
        why = reason(first) if isinstance(first, Exception) else str(first)
    try:
        model = torch_script.convert_module(torch, module, what, call, shapes, names)
    except Exception as error:
        raise ImportFailed(
            f"PyTorch could not convert {what}. torch.export: {why} "
            f"TorchScript exporter: {reason(error)}"
        ) from error
    warnings.warn(
        f"{what} went through the TorchScript exporter, since torch.export failed: {why}",
        stacklevel=4,
    )
    return model


def export_with(
    torch: Any,
    module: Any,
    what: str,
    call: torch_dims.Call,
    dims: Sequence[Mapping[int, str]],
    names: Mapping[str, Any],
) -> ir.Model:
    """Export an nn.Module, whose arguments are ``*tensors``, with the dimensions that are open.

    Raises
    ------
    UnsupportedModel
        It computes otherwise for other sizes.
    Exception
        PyTorch's, where it cannot, or the module is one for the sizes of the examples only.
    """
    free = torch.export.Dim.DYNAMIC  # which fails where AUTO would take the size of the example
    shapes = (tuple(dict.fromkeys(axes, free) for axes in dims),)  # of all the ``*arguments``
    program = _export(torch, module, shapes, call)
    _check_other_sizes(torch, module, what, program, call, dims)
    return _convert(torch, program, what, dims, names)


def _check_other_sizes(
    torch: Any,
    module: Any,
    what: str,
    program: Any,
    call: torch_dims.Call,
    dims: Sequence[Mapping[int, str]],
) -> None:
    """Compare the program with its module for sizes that the program says it is not for.

    Where the module decides by a size (such as between a padding on one side and on both), PyTorch
    keeps its decision for the examples as a condition of the program, and says nothing. Often both
    ways come to the same.

    Raises
    ------
    UnsupportedModel
        They differ.
    """
    tensors = torch_dims.tensors(torch, call)
    axes = {(n, axis): tensors[n].shape[axis] for n, given in enumerate(dims) for axis in given}
    for more in (1, 3) if axes else ():
        sizes = {place: size + more for place, size in axes.items()}
        arguments, keywords = torch_dims.resized(torch, call, sizes)
        with contextlib.suppress(AssertionError):
            program.module()(*arguments, **keywords)
            continue
        found = program.module(check_guards=False)(*arguments, **keywords)
        if not _alike(torch, found, module(*arguments, **keywords)):
            raise UnsupportedModel(
                f"{what} computes otherwise for other sizes of its open dimensions, such as an "
                "average pooling that pads one side or both; give its inputs all sizes but that "
                "of the batch"
            )


def _alike(torch: Any, found: Any, wanted: Any) -> bool:
    flat = torch.utils._pytree.tree_leaves
    return all(
        a.shape == b.shape and torch.allclose(a, b, rtol=1e-3, atol=1e-4)
        for a, b in zip(flat(found), flat(wanted), strict=True)
    )


def _with_open_dimensions(
    torch: Any, module: Any, call: torch_dims.Call, names: Mapping[str, Any]
) -> ir.Model:
    """Export with as many open dimensions as can be."""
    what = type(module).__name__
    failed: Exception | None = None
    for shapes, traced in torch_dims.plans(torch, call):
        try:
            program = _export(torch, module, shapes(frozenset()), traced)
            fixed = torch_dims.closed(torch, module, program, traced)
            if fixed:
                program = _export(torch, module, shapes(fixed), traced)
            model = _convert(torch, program, what, (), names)
        except Exception as error:
            failed = failed or error
            continue
        if failed is not None:
            warnings.warn(
                f"{what} is imported with a fixed batch size: {reason(failed)}", stacklevel=5
            )
        return model
    raise failed or ImportFailed(f"PyTorch gave no model for {what}")


def _export(torch: Any, module: Any, shapes: Any, call: torch_dims.Call) -> Any:
    with _quiet():
        return torch.export.export(module, *call, dynamic_shapes=shapes)


def _convert(
    torch: Any,
    program: Any,
    what: str,
    given: Sequence[Mapping[int, str]],
    names: Mapping[str, Any],
) -> ir.Model:
    changed = _changed_buffers(program)
    if changed:
        warnings.warn(
            f"{what} changes its {', '.join(changed)} when it is called; as a model it begins "
            "with the present value in every run",
            stacklevel=2,
        )
    with conversion("PyTorch", what), _quiet():
        exported = torch.onnx.export(program, dynamo=True, verbose=False)
    if exported is None:
        raise ImportFailed(f"PyTorch could not convert {what}: its exporter gave no model")
    graph = exported.model.graph
    promote_numbers(graph)
    rename(exported.model, graph.inputs, names["input_names"] or ())
    rename(exported.model, graph.outputs, names["output_names"] or _output_names(torch, program))
    torch_dims.name_dimensions(exported.model, given)
    return from_onnx(exported.model)


def _changed_buffers(program: Any) -> list[str]:
    schemas = [getattr(node.target, "_schema", None) for node in program.graph.nodes]
    if any(schema is not None and schema.is_mutable for schema in schemas):
        with _quiet():  # only then the program says what is changed
            program = program.run_decompositions({})
    return list(program.graph_signature.buffers_to_mutate.values())


def _output_names(torch: Any, program: Any) -> list[str]:
    """Keys of a mapping, such as transformers' models return; none for other results."""
    spec = program.call_spec.out_spec
    try:
        result = torch.utils._pytree.tree_unflatten(range(spec.num_leaves), spec)
    except Exception:  # a class that takes no numbers for tensors
        return []
    flat = isinstance(result, Mapping) and list(result.values()) == list(range(spec.num_leaves))
    return [str(key) for key in result] if flat else []


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep PyTorch's notes off the terminal; what goes wrong is raised."""
    loggers = [logging.getLogger(f"torch.{part}") for part in ("onnx", "export", "fx")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

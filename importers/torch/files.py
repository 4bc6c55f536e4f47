"""Files of PyTorch, read without running any code of theirs that does more than compute.

`trust` reads TorchScript archives and exported programs before PyTorch opens them. Everything else
is a pickle, or may contain some; these are read with PyTorch's restricted unpickler
(``weights_only=True``), which makes tensors and plain containers only.
"""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ...errors import InvalidArgument, reason
from ...logs import exclusive
from ..limits import Budget, check_archive
from .explain import conversion
from .trust import check_code

_CHECKPOINT_KEYS = ("state_dict", "model_state_dict", "model")
_FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


def read_file(
    path: str,
    module: Any = None,
    allow_pickle: bool = False,
    allow_code: bool = False,
    limit: int | None = None,
) -> Any:
    """Return the TorchScript module, exported program or nn.Module of a file.

    Parameters
    ----------
    path : str
    module : torch.nn.Module or callable, optional
        What weights are loaded into, or a function that makes it.
    allow_pickle : bool
        Unpickle objects of any class in the file, which runs its code.
    allow_code : bool
        Open TorchScript archives and exported programs that may do more than compute.
    limit : int, optional
        Bytes that an archive's entries, and its tensors, may take in memory.

    Raises
    ------
    InvalidArgument
        The file is not one of PyTorch, needs `module`, `allow_pickle` or `allow_code`, or holds the
        weights of another module.
    ImportFailed
        The archive is damaged or of another version of PyTorch.
    UnsupportedModel
        An entry or a tensor is too large; names it.
    """
    import torch

    kind = _kind(path, limit)
    if module is not None and kind != "pickle":
        raise InvalidArgument(f"{path} holds {kind}, not weights: leave out module=")
    if kind != "pickle" and not allow_code:
        check_code(path, kind)
    if kind == "TorchScript":
        with conversion(path), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            script = torch.jit.load(path, map_location="cpu")
        _check_tensors([*script.named_parameters(), *script.named_buffers()], path, limit)
        return script
    if kind == "an exported program":
        with conversion(path), _weights_only(not allow_pickle):
            program = torch.export.load(path)
        _check_tensors([*program.state_dict.items(), *program.constants.items()], path, limit)
        return program
    contents = _unpickle(path, allow_pickle)
    if isinstance(contents, torch.nn.Module):  # only with allow_pickle
        return contents
    weights = _weights(contents)
    if weights is None:
        raise InvalidArgument(
            f"{path} holds a {type(contents).__name__}, which is neither a module nor a state dict"
        )
    if module is None:
        some = ", ".join(list(weights)[:3])
        raise InvalidArgument(
            f"{path} holds weights only ({some}, ...): give the module that they belong to as "
            "module= (an nn.Module, or a function that makes one)"
        )
    return _load_into(module, weights, path)


def _check_tensors(tensors: Iterable[tuple[str, Any]], path: str, limit: int | None) -> None:
    """Refuse tensors that are too large: with strides of 0, a few bytes are any number."""
    import torch

    budget = Budget(path, limit)
    for name, tensor in tensors:
        if isinstance(tensor, torch.Tensor):
            budget.spend(tensor.numel() * tensor.element_size(), f"tensor {name!r}", tensor.shape)


def _kind(path: str, limit: int | None) -> str:
    if not zipfile.is_zipfile(path):
        return "pickle"
    with zipfile.ZipFile(path) as archive:
        check_archive(archive, Budget(path, limit))
        names = {name.partition("/")[2] for name in archive.namelist()} | set(archive.namelist())
    if "constants.pkl" in names:
        return "TorchScript"
    if names & {"archive_format", "serialized_exported_program.json"}:
        return "an exported program"
    return "pickle"


@contextmanager
def _weights_only(enabled: bool) -> Iterator[None]:
    """Keep ``torch.export.load`` from unpickling anything but tensors; it has no such argument."""
    if not enabled:
        yield
        return
    with exclusive:
        before = os.environ.get(_FORCE)
        os.environ[_FORCE] = "1"
        try:
            yield
        finally:
            if before is None:
                del os.environ[_FORCE]
            else:
                os.environ[_FORCE] = before


def _unpickle(path: str, allow_pickle: bool) -> Any:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if not allow_pickle:
            _, _, refused = str(error).partition("WeightsUnpickler error: ")
            why = " ".join(refused.split(". ")[0].split()) or reason(error)
            raise InvalidArgument(
                f"{path} is neither a TorchScript archive, nor an exported program, nor a file "
                f"of weights ({why}). If it is a pickled module: reading it runs code of the "
                "file. Where you trust it, allow_pickle=True does so; better, save the module "
                "with torch.export.save, or its state_dict() and give module="
            ) from error
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:
        raise InvalidArgument(f"{path} cannot be unpickled: {reason(error)}") from error


def _weights(contents: Any) -> dict[str, Any] | None:
    """Find the state dict in the contents of a file."""
    import torch

    if not isinstance(contents, Mapping) or not contents:
        return None
    if all(isinstance(value, torch.Tensor) for value in contents.values()):
        return {str(key): value for key, value in contents.items()}
    for key in _CHECKPOINT_KEYS:
        weights = _weights(contents.get(key))
        if weights is not None:
            return weights
    return None


def _load_into(module: Any, weights: dict[str, Any], path: str) -> Any:
    import torch

    if not isinstance(module, torch.nn.Module):
        if not callable(module):
            raise InvalidArgument(
                f"module= is a {type(module).__name__}: give an nn.Module or a function"
            )
        module = module()
        if not isinstance(module, torch.nn.Module):
            raise InvalidArgument(
                f"module= returned a {type(module).__name__} instead of an nn.Module"
            )
    if all(name.startswith("module.") for name in weights):  # saved from inside DataParallel
        weights = {name.removeprefix("module."): value for name, value in weights.items()}
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise InvalidArgument(
            f"the weights in {path} are not those of module=: {reason(error)}"
        ) from error
    return module

"""Notes on a PyTorch module: how it is run, its parts for training, labels and normalization."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from ..notes import Notes, Run, labels_of
from .call import Call
from .results import tensors_of

if TYPE_CHECKING:
    import onnx_ir as ir

_TRAINING = ("Dropout", "DropPath", "StochasticDepth", "GaussianNoise", "DropBlock")


def take_notes(notes: Notes, module: Any, called: Any, call: Call, model: ir.Model) -> None:
    """Note how to run a module, its parts for training, and its labels and normalization.

    Parameters
    ----------
    notes : Notes
        Filled in.
    module : torch.nn.Module
        What the caller gave.
    called : torch.nn.Module
        The same, or what takes and returns its tensors without objects.
    call : Call
        What ``called`` was exported with.
    model : onnx_ir.Model
    """
    import torch

    notes.framework = f"PyTorch {torch.__version__}"
    names = [str(value.name) for value in model.graph.inputs]
    examples = call.tensors
    if len(names) == len(examples):
        arrays = (example.detach().cpu().numpy() for example in examples)
        notes.examples = dict(zip(names, arrays, strict=True))
        notes.run = _runner(called, call, names)
    notes.drop(
        (type(part).__name__, name)
        for name, part in module.named_modules()
        if any(word in type(part).__name__ for word in _TRAINING)
    )
    config = getattr(module, "config", None)  # of transformers
    settings = getattr(module, "pretrained_cfg", None)  # of timm
    settings = settings if isinstance(settings, Mapping) else {}
    for names_of_classes in (
        getattr(config, "id2label", None), settings.get("label_names"),
        getattr(module, "names", None),
    ):  # fmt: skip
        notes.labels = notes.labels or labels_of(names_of_classes)
    notes.mean = [float(number) for number in settings.get("mean") or ()]
    notes.std = [float(number) for number in settings.get("std") or ()]


def _runner(module: Any, call: Call, names: list[str]) -> Run:
    def run(feeds: Mapping[str, np.ndarray]) -> list[Any]:
        import torch

        tensors = [torch.from_numpy(np.array(feeds[name])) for name in names]
        with torch.no_grad(), in_evaluation_mode(module):
            results = call.with_tensors(tensors).run(module)
        return [value.detach().cpu().numpy() for value in tensors_of(results)]

    return run


@contextmanager
def in_evaluation_mode(module: Any) -> Iterator[None]:
    """Switch to evaluation and back, each part to the mode it had."""
    modes = [(part, part.training) for part in module.modules()]
    with suppress(NotImplementedError):  # exported programs have one mode only
        module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training

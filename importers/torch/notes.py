"""What a PyTorch module tells besides its graph, and how it is run for comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from . import torch_dims
from .notes import Notes, Run, labels_of

if TYPE_CHECKING:
    import onnx_ir as ir

_TRAINING = ("Dropout", "DropPath", "StochasticDepth", "GaussianNoise", "DropBlock")


def take(torch: Any, notes: Notes, module: Any, call: torch_dims.Call, model: ir.Model) -> None:
    """Note how to run a module, what of it is for training, and its labels and normalization."""
    notes.framework = f"PyTorch {torch.__version__}"
    names = [str(value.name) for value in model.graph.inputs]
    examples = torch_dims.tensors(torch, call)
    if len(names) == len(examples):
        arrays = (example.detach().cpu().numpy() for example in examples)
        notes.examples = dict(zip(names, arrays, strict=True))
        notes.run = _runner(torch, module, call, names)
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


def _runner(torch: Any, module: Any, call: torch_dims.Call, names: list[str]) -> Run:
    def run(feeds: Mapping[str, np.ndarray]) -> list[Any]:
        given = iter([torch.from_numpy(np.array(feeds[name])) for name in names])

        def visit(leaf: Any) -> Any:
            return next(given) if isinstance(leaf, torch.Tensor) else leaf

        args, kwargs = torch.utils._pytree.tree_map(visit, call)
        with torch.no_grad(), inference(module):
            results = module(*args, **kwargs)
        return [value.detach().cpu().numpy() for value in torch_dims.tensors(torch, results)]

    return run


@contextmanager
def inference(module: Any) -> Iterator[None]:
    """Switch to evaluation and back, each part to the mode it had."""
    modes = [(part, part.training) for part in module.modules()]
    with suppress(NotImplementedError):  # exported programs know one mode only
        module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training

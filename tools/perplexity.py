"""Perplexity of a decoder: how surprised it is by a text, with weights of 8 bits and of 4.

The decoder is SmolLM2-135M of the registry (`zoo`). The texts come with Python and with packages
that read the decoder: the reference of the language, documentation, source code, and descriptions
of packages.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..runtime.session import Session
from . import zoo

if TYPE_CHECKING:
    import onnx_ir as ir

_NEEDED = ("torch", "transformers", "gguf")
_TOKENS = 2048
"""Of each text."""
_LETTERS = 8 * _TOKENS
WINDOW = 256
"""Tokens of a run."""


def decoder() -> tuple[ir.Model, np.ndarray]:
    """Return the decoder, from tokens (1, n) to logits (1, n, words), and the tokens of all texts.

    Raises
    ------
    zoo.Unavailable
        A package is missing, or the registry cannot be reached.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise zoo.Unavailable(f"{', '.join(missing)} not installed")
    path = zoo.model("smollm2_gguf")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    parts = [tokenizer(text[:_LETTERS])["input_ids"][:_TOKENS] for text in _texts()]
    return _model(path), np.array([token for part in parts for token in part], np.int64)


def _texts() -> Iterator[str]:
    """Yield texts of different kinds, each longer than is looked at."""
    import argparse
    import decimal
    import difflib
    import doctest
    import pickle
    import statistics
    from pydoc_data.topics import topics

    yield "\n".join(topics[name] for name in sorted(topics))
    modules = (doctest, difflib, pickle, argparse, decimal)
    members = [value for module in modules for _, value in sorted(vars(module).items())]
    yield "\n\n".join(inspect.getdoc(each) or "" for each in (*modules, *members))
    yield inspect.getsource(statistics)
    yield "\n\n".join(metadata(name)["Description"] or "" for name in ("transformers", "torch"))


def _model(path: Path) -> ir.Model:
    import torch

    from ..importers import load

    class Logits(torch.nn.Module):
        """A decoder without its cache."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = _decoder(path)

        def forward(self, input_ids: Any) -> Any:
            return self.inner(input_ids, use_cache=False).logits

    return load(Logits().eval(), example_inputs={"input_ids": torch.ones(1, 64, dtype=torch.long)})


def _decoder(path: Path) -> Any:
    """Return the decoder of a GGUF file, widened to float32.

    ``from_pretrained`` does the same, but asks for another package that it then does not use.
    """
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    config = AutoConfig.from_pretrained(path.parent, gguf_file=path.name)
    found = AutoModelForCausalLM.from_config(config)
    parts = load_gguf_checkpoint(str(path), return_tensors=True, model_to_load=found)
    missing, unknown = found.load_state_dict(parts["tensors"], strict=False)
    tied = set(getattr(found, "_tied_weights_keys", None) or ())
    if unknown or set(missing) - tied:
        wrong = f"{len(missing)} weights are missing, {len(unknown)} unknown"
        raise zoo.Unavailable(f"{path.name}: {wrong}")
    return found.float()


def perplexity(session: Session, tokens: np.ndarray, window: int = WINDOW) -> float:
    """Exponential of the mean cross entropy of each token behind those before it in its window.

    Parameters
    ----------
    session : Session
        From tokens (1, n) to logits (1, n, words).
    tokens : ndarray of int64, shape (n,)
        Those that fill no window at the end are left out.
    window : int
        Tokens of a run.
    """
    name = session.get_inputs()[0].name
    losses = []
    for start in range(0, len(tokens) - window + 1, window):
        part = tokens[start : start + window]
        (logits,) = session.run(None, {name: part[None]})
        scores = logits[0, :-1].astype(np.float64)
        scores -= scores.max(-1, keepdims=True)
        normalizers = np.log(np.exp(scores).sum(-1))
        losses.append(normalizers - scores[np.arange(window - 1), part[1:]])
    return float(np.exp(np.mean(losses)))

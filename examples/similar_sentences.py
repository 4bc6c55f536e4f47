"""Similarity of sentences, by a sentence encoder of PyTorch: from its weights to similarities.

    python examples/similar_sentences.py
    python examples/similar_sentences.py "A first sentence." "A second one." "And a third."

The encoder is MiniLM, from the package registry.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sardonyx
from sardonyx.tools import text, zoo
from side_by_side import Times, times

SENTENCES = (
    "A man is playing the guitar on stage.",
    "A musician performs a song for the audience.",
    "The stock market fell sharply this morning.",
    "Share prices dropped at the opening of trade.",
)


def encoder(folder: Path) -> tuple[Callable[[Sequence[str]], dict[str, np.ndarray]], Any]:
    """Open what turns sentences into tokens, and tokens into embeddings.

    Returns
    -------
    tokens : callable
        From sentences to ``input_ids``, ``attention_mask`` and ``token_type_ids``, each of shape
        (sentences, tokens), int64.
    module : torch.nn.Module
        From these to embeddings of shape (sentences, 384) and of length 1.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)

    class Encoder(torch.nn.Module):
        """The mean of the tokens that are no padding, scaled to length 1."""

        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            hidden = self.inner(input_ids, attention_mask, token_type_ids).last_hidden_state
            mask = attention_mask[..., None].to(hidden.dtype)
            mean = (hidden * mask).sum(1) / mask.sum(1)
            return torch.nn.functional.normalize(mean)

    def tokens(sentences: Sequence[str]) -> dict[str, np.ndarray]:
        return dict(tokenizer(list(sentences), padding=True, return_tensors="np"))

    return tokens, Encoder(AutoModel.from_pretrained(folder, local_files_only=True)).eval()


def print_table(sentences: Sequence[str], alike: np.ndarray, error: float, measured: Times) -> None:
    """Print all pairs, the most similar first, and the times of encoding all sentences."""
    table = text.table("similarity of sentences", "one", "other", "similarity:")
    pairs = itertools.combinations(range(len(sentences)), 2)
    for i, j in sorted(pairs, key=lambda pair: -alike[pair]):
        table.add_row(sentences[i], sentences[j], f"{alike[i, j]:.2f}")
    speed = text.table(f"{len(sentences)} sentences at once", "error:", *Times.COLUMNS)
    speed.add_row(text.error(error), *measured.cells())
    text.show(text.console(), table, speed)


def main(argv: Sequence[str] | None = None) -> np.ndarray:
    """Encode sentences; give their similarities, shape (sentences, sentences)."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sentences", nargs="*", default=SENTENCES)
    sentences = parser.parse_args(argv).sentences
    import torch  # after the arguments, so that --help need not wait

    tokens, module = encoder(zoo.model("minilm_transformers"))
    feeds = tokens(sentences)
    tensors = {name: torch.from_numpy(array) for name, array in feeds.items()}
    model = sardonyx.load(module, example_inputs=tensors)
    session = sardonyx.Session(model)
    (embeddings,) = session.run(None, feeds)

    @torch.inference_mode()
    def run() -> Any:
        return module(**tensors)

    error = float(np.abs(embeddings - run().numpy()).max())
    measured = times(model, session, feeds, run)
    alike: np.ndarray = embeddings @ embeddings.T
    print_table(sentences, alike, error, measured)
    return alike


if __name__ == "__main__":
    main()

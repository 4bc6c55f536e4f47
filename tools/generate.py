"""Generation of text by a decoder: a folder with an ONNX model and a tokenizer.

The folder is what exporters of decoders write: ``model.onnx`` (inputs ``input_ids`` and past keys
and values, outputs ``logits`` and present ones; or a model with a branch for the first run, which
``use_cache_branch`` chooses), ``tokenizer.json``, and ``generation_config.json`` or ``config.json``
with the tokens that end a text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ImportFailed, InvalidArgument
from ..given_numbers import is_finite, whole
from ..runtime.session import Session
from ..runtime.stateful import Stateful, matched_states

_KNOWN = {"input_ids", "attention_mask", "position_ids", "use_cache_branch"}


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Attributes
    ----------
    temperature : float
        0 takes the most probable token; else logits are divided by it.
    top_k : int
        Only so many of the most probable tokens count; 0 stands for all.
    top_p : float
        Only the most probable tokens count whose probabilities add up to so much.
    seed : int
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not is_finite(self.temperature) or self.temperature < 0:
            raise InvalidArgument(f"temperature must not be below 0, not {self.temperature!r}")
        if not is_finite(self.top_p) or not 0 < self.top_p <= 1:
            raise InvalidArgument(f"top_p must be above 0 and at most 1, not {self.top_p!r}")
        whole(self.top_k, "top_k must be a number of tokens")
        whole(self.seed, "seed must be a whole number from 0")

    def chooser(self) -> Callable[[np.ndarray], int]:
        """Return a function that chooses a token by the logits of all."""
        random = np.random.default_rng(self.seed)

        def choose(logits: np.ndarray) -> int:
            if not self.temperature:
                return int(logits.argmax())
            order = np.argsort(-logits, kind="stable")[: self.top_k or None]
            scores = logits[order].astype(np.float64) / self.temperature
            weights = np.exp(scores - scores.max())
            weights /= weights.sum()
            # The first token that reaches the sum is one of them.
            count = int(np.searchsorted(np.cumsum(weights), self.top_p)) + 1
            kept = weights[:count] / weights[:count].sum()
            return int(random.choice(order[:count], p=kept))

        return choose


class Decoder:
    """A decoder with its cache, for one text at a time.

    Parameters
    ----------
    session : Session

    Raises
    ------
    InvalidArgument
        The model is no decoder with a cache, or wants an input that is not known.
    """

    def __init__(self, session: Session) -> None:
        names = [[each.name for each in e] for e in (session.get_inputs(), session.get_outputs())]
        if not matched_states(*names):
            raise InvalidArgument(
                "the model has no cache: none of its outputs "
                f"{names[1][:3]} is named as the next value of one of its inputs {names[0][:3]} "
                "(present.0.key of past_key_values.0.key); export it with its past"
            )
        self._model: Stateful = session.stateful(capacity=256)
        outputs = self._model.output_names
        self._logits = "logits" if "logits" in outputs else outputs[0]
        states = self._model.state_names
        self._inputs = [each.name for each in session.get_inputs() if each.name not in states]
        unknown = sorted(set(self._inputs) - _KNOWN)
        if unknown or "input_ids" not in self._inputs:
            raise InvalidArgument(f"a decoder takes 'input_ids'; this model takes {self._inputs}")

    def read(self, tokens: Sequence[int]) -> np.ndarray:
        """Put tokens behind those that are read already; returns the logits of the next one."""
        if not tokens:
            raise InvalidArgument("there is no token to begin with: the prompt is empty")
        start, end = self._model.length, self._model.length + len(tokens)
        feeds: dict[str, Any] = {
            "input_ids": np.array([tokens], np.int64),
            "attention_mask": np.ones((1, end), np.int64),
            "position_ids": np.arange(start, end, dtype=np.int64)[np.newaxis],
            "use_cache_branch": np.array([start > 0]),
        }
        (logits,) = self._model.run([self._logits], {name: feeds[name] for name in self._inputs})
        return np.asarray(logits[0, -1], np.float32)


def generate_tokens(
    session: Session,
    prompt: Sequence[int],
    *,
    most: int,
    ends: Sequence[int] = (),
    sampling: Sampling | None = None,
) -> Iterator[int]:
    """Yield the tokens that continue a prompt.

    Parameters
    ----------
    session : Session
        Of a decoder with a cache.
    prompt : sequence of int
    most : int
        Number of tokens after which to stop.
    ends : sequence of int
        Tokens that end a text; they are not yielded.
    sampling : Sampling, optional
        The most probable token when not given.
    """
    decoder, choose = Decoder(session), (sampling or Sampling()).chooser()
    unread = list(prompt)
    for _ in range(most):
        token = choose(decoder.read(unread))
        if token in ends:
            return
        yield token
        unread = [token]


@dataclass(frozen=True)
class TextModel:
    """A decoder, the tokenizer of its texts, and the tokens that end one."""

    session: Session
    tokenizer: Any
    ends: list[int]

    @classmethod
    def open(cls, folder: Path, threads: int | None = None) -> TextModel:
        """Open what a folder holds.

        Raises
        ------
        InvalidArgument
            The folder has no decoder or no tokenizer.
        ImportFailed
            The package ``tokenizers`` is not installed.
        """
        tokenizer, ends = _tokenizer(folder), _ends(folder)
        return cls(Session(_model_file(folder), threads=threads), tokenizer, ends)

    def write(
        self, prompt: str, *, most: int = 128, sampling: Sampling | None = None
    ) -> Iterator[str]:
        """Yield what each token adds to a prompt; a character of several comes with the last."""
        tokens = self.tokenizer.encode(prompt).ids
        read: list[int] = []
        shown = ""
        for token in generate_tokens(
            self.session, tokens, most=most, ends=self.ends, sampling=sampling
        ):
            read.append(token)
            text = self.tokenizer.decode(read)
            is_whole = text.startswith(shown) and not text.endswith("\N{REPLACEMENT CHARACTER}")
            yield text[len(shown) :] if is_whole else ""
            shown = text if is_whole else shown
        text = self.tokenizer.decode(read)
        if text.startswith(shown) and text != shown:
            yield text[len(shown) :]


def _tokenizer(folder: Path) -> Any:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise InvalidArgument(
            f"{folder} has no tokenizer.json; the tokenizer of transformers writes it "
            "(tokenizer.save_pretrained)"
        )
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ImportFailed("pip install 'sardonyx[generate]' for tokenizers") from error
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # it has no class of its own
        raise InvalidArgument(f"{path} is no tokenizer: {error}") from error


def _model_file(folder: Path) -> Path:
    """Return the decoder of a folder."""
    names = (
        "model.onnx",
        "decoder_model_merged.onnx",
        "decoder_with_past_model.onnx",
        "decoder_model.onnx",
    )
    for place in (folder, folder / "onnx"):
        for name in names:
            if (place / name).is_file():
                return place / name
    raise InvalidArgument(f"{folder} has no model: one of {', '.join(names)}")


def _ends(folder: Path) -> list[int]:
    """Tokens that end a text, as the folder's files say."""
    for name in ("generation_config.json", "config.json"):
        path = folder / name
        if not path.is_file():
            continue
        try:
            config = json.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise InvalidArgument(f"{path} is not valid JSON: {error}") from error
        found = config.get("eos_token_id") if isinstance(config, Mapping) else None
        if found is not None:
            return [int(each) for each in (found if isinstance(found, list) else [found])]
    return []

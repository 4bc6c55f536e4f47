"""Strings: case, stop words, splitting, and counts of n-grams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .operator import Mover, Operator

_CASES: dict[str, Callable[[str], str]] = {"LOWER": str.lower, "UPPER": str.upper, "NONE": str}


def _texts(texts: Sequence[str], shape: tuple[int, ...]) -> np.ndarray:
    y = np.empty(shape, object)
    y.reshape(-1)[:] = texts
    return y


class StringNormalizer(Mover):
    """StringNormalizer: elements that are stop words are left out; accents stay."""

    def _run(
        self, x: np.ndarray, *, case_change_action: str, is_case_sensitive: int, locale: Any,
        stopwords: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        if x.ndim > 2 or (x.ndim == 2 and x.shape[0] != 1):
            raise ValueError(f"strings of shape {x.shape}: one axis, or a row, was expected")
        fold: Callable[[str], str] = str if is_case_sensitive else str.lower
        left_out = self.once("left out", lambda: {fold(word) for word in stopwords or ()})
        change = _CASES[case_change_action]
        kept = [change(t) for t in map(str, x.reshape(-1)) if fold(t) not in left_out] or [""]
        return (_texts(kept, (*x.shape[:-1], len(kept))),)


class StringConcat(Mover):
    """StringConcat."""

    def _run(self, x: np.ndarray, y: np.ndarray) -> tuple[Any, ...]:
        return (np.asarray(np.add(x, y), object),)


class StringSplit(Mover):
    """StringSplit: parts along a new axis, filled up with empty strings, and their numbers."""

    def _run(
        self, x: np.ndarray, *, delimiter: str | None, maxsplit: int | None
    ) -> tuple[Any, ...]:
        limit = -1 if maxsplit is None else maxsplit
        parts = [_split(str(text), delimiter or None, limit) for text in x.reshape(-1)]
        width = max(map(len, parts), default=0)
        flat = [part for line in parts for part in [*line, *[""] * (width - len(line))]]
        counts = np.array([len(line) for line in parts], np.int64)
        return _texts(flat, (*x.shape, width)), counts.reshape(x.shape)


def _split(text: str, delimiter: str | None, limit: int) -> list[str]:
    """Empty parts count only between delimiters; of an empty text there are none."""
    if delimiter is None:
        return text.strip().split(None, limit)
    return text.split(delimiter, limit) if text else []


class TfIdfVectorizer(Operator):
    """TfIdfVectorizer: counts of n-grams, with skips, as they are, weighted, or as flags."""

    def _run(
        self, x: np.ndarray, *, max_gram_length: int, max_skip_count: int, min_gram_length: int,
        mode: str, ngram_counts: Sequence[int], ngram_indexes: Sequence[int], pool_int64s: Any,
        pool_strings: Any, weights: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        pool = list(pool_strings or pool_int64s)
        places = self.once("places", lambda: _pool(pool, ngram_counts, ngram_indexes))
        width = max(ngram_indexes, default=-1) + 1
        rows = x.reshape(1, -1) if x.ndim < 2 else x
        counts = np.zeros((len(rows), width), np.float32)
        for count, row in zip(counts, rows.tolist(), strict=True):
            for size in range(min_gram_length, max_gram_length + 1):
                # A single word has no gaps to skip.
                for step in range(1, (1 if size == 1 else max_skip_count + 1) + 1):
                    for begin in range(len(row) - (size - 1) * step):
                        at = places.get(tuple(row[begin : begin + (size - 1) * step + 1 : step]))
                        if at is not None:
                            count[at] += 1
        if mode != "TF":
            factors = np.ones(width, np.float32)
            if weights is not None:
                factors[list(ngram_indexes)] = weights
            counts = (np.minimum(counts, 1) if mode == "IDF" else counts) * factors
        return (counts.reshape(*x.shape[:-1], width),)


def _pool(
    pool: list[Any], starts: Sequence[int], indexes: Sequence[int]
) -> dict[tuple[Any, ...], int]:
    """Places of n-grams in the result."""
    places: dict[tuple[Any, ...], int] = {}
    number = 0
    for size, begin in enumerate(starts, 1):
        end = starts[size] if size < len(starts) else len(pool)
        for at in range(begin, end, size):
            places[tuple(pool[at : at + size])] = indexes[number]
            number += 1
    return places

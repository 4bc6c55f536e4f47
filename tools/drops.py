"""Drops: how much worse results are than those of the float model, in points of a metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InvalidArgument

Feed = Mapping[str, np.ndarray]
Results = Sequence[Sequence[np.ndarray]]
"""Outputs of the model, for each run."""
Metric = Callable[[Any, Any], float]

BOUNDS = ("cosine", "top1", "kl")
"""Metrics that need no labels: results are compared with those of the float model."""
_POINTS = 100.0


@dataclass(frozen=True)
class Held:
    """Data that calibration has not seen.

    Attributes
    ----------
    feeds : list of mapping of str to ndarray
    labels : sequence, optional
        Of the samples of all feeds, or one for each feed.
    """

    feeds: list[Feed]
    labels: Any = None

    @property
    def samples(self) -> int:
        """Number of samples: labels, or rows of the feeds, or feeds."""
        counts = _rows(self.feeds)
        return len(self.feeds) if counts is None else sum(counts)


def split(feeds: Sequence[Feed], labels: Any, step: int) -> tuple[list[Feed], Held]:
    """Split data: every ``step``-th feed is held back, with its labels.

    Parameters
    ----------
    feeds : sequence of mapping of str to ndarray
    labels : sequence, optional
        One for each sample along the first axis, or for each feed.
    step : int

    Returns
    -------
    feeds : list
        To calibrate on.
    held : Held

    Raises
    ------
    InvalidArgument
        There is only one sample, or another number of labels.
    """
    if len(feeds) < 2:
        feeds = [part for feed in feeds for part in _halved(feed)]
    places = _places(feeds, labels)
    taken = range(step - 1, len(feeds), step) if len(feeds) >= step else range(1, len(feeds))
    chosen = None
    if labels is not None:
        chosen = np.concatenate([places[i] for i in taken])
        chosen = np.asarray(labels)[chosen]
    held = Held([feeds[i] for i in taken], chosen)
    return [feed for i, feed in enumerate(feeds) if i not in taken], held


def held_back(feeds: Sequence[Feed], labels: Any) -> Held:
    """Return validation data, checked as `split` does."""
    _places(feeds, labels)
    return Held(list(feeds), None if labels is None else np.asarray(labels))


def _halved(feed: Feed) -> list[Feed]:
    counts = _rows([feed])
    if counts is None or counts[0] < 2:
        raise InvalidArgument(
            "one sample cannot both calibrate and verify: give more data, or validation="
        )
    middle = counts[0] // 2
    return [{k: v[part] for k, v in feed.items()} for part in (slice(middle), slice(middle, None))]


def _rows(feeds: Sequence[Feed]) -> list[int] | None:
    """Samples of each feed, where all inputs have as many along the first axis."""
    lengths = [{np.shape(array)[:1] for array in feed.values()} for feed in feeds]
    if any(len(each) != 1 or not next(iter(each)) for each in lengths):
        return None
    return [next(iter(each))[0] for each in lengths]


def _places(feeds: Sequence[Feed], labels: Any) -> list[np.ndarray]:
    """Indices of the labels of each feed."""
    if labels is None:
        return []
    counts = _rows(feeds)
    if counts is not None and len(labels) == sum(counts):
        ends = np.cumsum(counts)
        return [np.arange(end - count, end) for end, count in zip(ends, counts, strict=True)]
    if len(labels) == len(feeds):
        return [np.array([i]) for i in range(len(feeds))]
    samples = "" if counts is None else f"{sum(counts)} samples in "
    raise InvalidArgument(f"there are {len(labels)} labels for {samples}{len(feeds)} runs")


def metric_name(metric: str | Metric | None, labels: Any) -> str:
    """Return what a drop is measured in, checked.

    Raises
    ------
    InvalidArgument
        It is not known, or needs labels.
    """
    if callable(metric):
        return getattr(metric, "__name__", "metric")
    name = metric
    if name is None:
        name = "cosine" if labels is None else "accuracy"
    if not isinstance(name, str) or name not in ("accuracy", *BOUNDS):
        known = ", ".join(("accuracy", *BOUNDS))
        raise InvalidArgument(f"metric must be {known} or a function, not {metric!r}")
    if name == "accuracy" and labels is None:
        raise InvalidArgument("metric 'accuracy' needs labels")
    return name


def drop(metric: str | Metric | None, expected: Results, found: Results, labels: Any) -> float:
    """Compare results with those of the float model.

    Parameters
    ----------
    metric : str or callable, optional
        ``"accuracy"`` (default where there are labels): how much rarer the largest element of the
        first output is at the label. ``"cosine"`` (default without): 1 minus the cosine of a
        sample's results and the float ones, of the worst output; of all samples together where each
        has one number. ``"top1"``: how often the largest
        element is another one. ``"kl"``: Kullback-Leibler divergence, in nats, of the
        distributions over the last axis. A function of outputs and labels gives a score, of which
        1 is best: how much less that is. Outputs are one array where the model has one output,
        else a list of them; where their sizes differ between runs, a list of runs of these.
    expected, found : sequence of sequence of ndarray
        Outputs of each run.
    labels : sequence, optional

    Returns
    -------
    float
        In points: a hundredth is one. Infinite, but for functions, where results are NaN that were
        not in float.

    Raises
    ------
    InvalidArgument
        The metric does not fit the results.
    """
    if callable(metric):
        scores = [_score(metric, _joined(each), labels) for each in (expected, found)]
        if not np.isfinite(scores).all():
            raise InvalidArgument(f"the metric gives {scores[0]} in float, {scores[1]} quantized")
        return _POINTS * (scores[0] - scores[1])
    name = metric_name(metric, labels)
    if any(
        _breaks(e, f)
        for pair in zip(expected, found, strict=True)
        for e, f in zip(*pair, strict=True)
    ):
        return np.inf
    if name == "accuracy":
        return _POINTS * (_accuracy(expected, labels) - _accuracy(found, labels))
    compare = {"cosine": _angle, "top1": _disagreement, "kl": _divergence}[name]
    outputs = [i for i, array in enumerate(expected[0]) if is_floats(array)]
    if not outputs:
        raise InvalidArgument(f"metric {name!r} needs an output of floats")
    pairs = list(zip(expected, found, strict=True))
    if name != "cosine":
        outputs = [i for i in outputs if _is_row(expected[0][i])]
        if not outputs:
            raise InvalidArgument(
                f"metric {name!r} compares elements along the last axis, and all outputs have one: "
                "use 'cosine', or a function"
            )
    parts = [[compare(*each) for each in _samples(pairs, i)] for i in outputs]
    return _POINTS * float(np.max([np.mean(np.concatenate(each)) for each in parts]))


def _score(metric: Metric, outputs: Any, labels: Any) -> float:
    score: Any = metric(outputs, labels)
    if np.ndim(score) or np.asarray(score).dtype.kind not in "biuf":
        raise InvalidArgument(f"the metric gives {score!r}, expected one number")
    return float(score)


def is_floats(array: Any) -> bool:
    """Tell whether a result can be compared: an array of floats that is not empty."""
    return isinstance(array, np.ndarray) and array.dtype.kind == "f" and array.size > 0


def _is_row(array: np.ndarray) -> bool:
    """Tell whether there are several elements along the last axis."""
    return array.ndim > 0 and array.shape[-1] > 1


def _samples(pairs: Sequence[Any], index: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """An output of both models in each run; in all at once where a sample has one number.

    Two numbers have no angle.
    """
    arrays = [(e[index], f[index]) for e, f in pairs]
    if any(one.size > max(len(one) if one.ndim else 1, 1) for one, _ in arrays):
        return arrays
    joined = (np.concatenate([each.reshape(1, -1) for each in some], 1)
              for some in zip(*arrays, strict=True))  # fmt: skip
    one, other = joined
    return [(one, other)]


def _breaks(expected: np.ndarray, found: np.ndarray) -> bool:
    """Tell whether an array has NaN that the expected one has not."""
    if not isinstance(found, np.ndarray) or found.dtype.kind != "f":
        return False
    if found.shape != expected.shape:
        raise InvalidArgument(
            f"results have the shape {found.shape} quantized, {expected.shape} in float: "
            "give a function as metric"
        )
    return bool((np.isnan(found) & ~np.isnan(expected)).any())


def _joined(results: Results) -> Any:
    """Return the outputs of all runs as one array each, where their sizes allow it."""
    single = len(results[0]) == 1
    try:
        arrays = [np.concatenate(each) for each in zip(*results, strict=True)]
    except ValueError:
        return [run[0] if single else list(run) for run in results]
    return arrays[0] if single else arrays


def _accuracy(results: Results, labels: Any) -> float:
    if not _is_row(results[0][0]):
        raise InvalidArgument(
            "accuracy takes the largest of the elements along the last axis, and the first output "
            "has one; give a function as metric"
        )
    found = np.concatenate([np.argmax(run[0], -1).reshape(-1) for run in results])
    wanted = np.asarray(labels).reshape(-1)
    if found.shape != wanted.shape or wanted.dtype.kind not in "iu":
        raise InvalidArgument(
            f"accuracy needs a whole number for each of the {found.size} rows of the first output, "
            f"not {wanted.size} labels of {wanted.dtype}; give a function as metric"
        )
    classes = results[0][0].shape[-1]
    beyond = wanted[(wanted < 0) | (wanted >= classes)]
    if beyond.size:
        raise InvalidArgument(
            f"label {beyond[0]} is none of the {classes} classes of the first output, "
            f"0 to {classes - 1}; give a function as metric"
        )
    return float((found == wanted).mean())


def _angle(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """1 minus the cosine, of each sample; two zero vectors are equal."""
    a, b = (array.reshape(len(array) if array.ndim > 1 else 1, -1) for array in (expected, found))
    a, b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    products = np.einsum("ij,ij->i", a, b)
    same = (a == b).all(1)
    cosines = np.where(lengths > 0, products / np.where(lengths > 0, lengths, 1), same)
    angles: np.ndarray = np.where(same, 0.0, 1 - cosines)
    return angles


def _disagreement(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    different: np.ndarray = np.argmax(expected, -1) != np.argmax(found, -1)
    return different.reshape(-1)


def _divergence(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Of each row of the last axis; rows that are no distributions are logarithms of them."""
    p, q = _logarithms(expected), _logarithms(found)
    divergence: np.ndarray = (np.exp(p) * (p - q)).sum(-1)
    return np.maximum(divergence, 0.0).reshape(-1)


_LEAST = 1e-12


def _logarithms(rows: np.ndarray) -> np.ndarray:
    numbers = rows.astype(np.float64)
    if (numbers >= 0).all() and np.allclose(numbers.sum(-1), 1, atol=1e-3):
        logs: np.ndarray = np.log(np.maximum(numbers, _LEAST))
        return logs
    shifted = numbers - numbers.max(-1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return logs

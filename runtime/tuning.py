"""Tuning: the fastest form of each layer, measured on real shapes and kept on disk.

A form is measured where it will run, as a step of the program with its epilogue: one program has
every layer's second form, the next one every layer's third, and so on. Each program takes turns
with the program of the cost model, so that what else the machine does meets both; a layer's form
is judged by the ratio of the two.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..difference import largest_error
from ..errors import InvalidArgument
from ..given_numbers import is_whole
from ..kernels.storage import cache_folder, remembered, replaced
from ..random_arrays import random_array
from .engine import Engine
from .options import sorted_choices
from .program import Port
from .program_cache import content_key, open_program, optimized
from .sources import is_artifact

_SECONDS = 1.0
"""For each program, beside the fewest rounds."""
_ROUNDS = (5, 60)
_TURN_NS = 10_000_000
"""A turn is one run or, of small models, as many as fit."""
_RUN_LIMIT = 20
_GAIN = 0.97
"""A form has to take less than this part of the time to replace the cost model's."""
_STILL_GAIN = 0.99
"""The same when all that won run together."""
_SUSPECT, _REPEATS = 1.05, 5
"""Ratio of times from which a comparison is repeated, and how often, before it is believed."""
_TOLERANCE = 2e-4
"""Between outputs before and after, relative to the largest; each may be off by half of it."""


@dataclass(frozen=True)
class Layer:
    """A layer that was measured.

    Attributes
    ----------
    name, op_type, shape
        First node, operators and output's shape of its step.
    cost_form, cost_ns
        What the cost model chooses, and the time it takes, in nanoseconds.
    form, ns
        What is fastest, and its time.
    """

    name: str
    op_type: str
    shape: tuple[int, ...]
    cost_form: str
    cost_ns: float
    form: str
    ns: float

    @property
    def ratio(self) -> float:
        """How many times as long as the fastest form that of the cost model takes."""
        return self.cost_ns / max(self.ns, 1.0)


@dataclass(frozen=True)
class Tuning:
    """Measurements of forms, the sizes they were made at, and the choices that follow.

    Attributes
    ----------
    shapes
        Of the inputs.
    threads
        Of a run.
    layers
        Those with a choice, in the order of the steps.
    before_ns, after_ns
        Whole runs with the cost model's choices and with the fastest forms.
    error
        Largest difference between the outputs of the two, relative to the largest value.
    note
        Why the cost model's choices stay, when they do although a form was faster.
    """

    shapes: dict[str, tuple[int, ...]]
    threads: int
    layers: tuple[Layer, ...]
    before_ns: float
    after_ns: float
    error: float
    note: str = ""

    @property
    def choices(self) -> dict[str, str]:
        """Forms that replace the cost model's, by the layers' names."""
        return {each.name: each.form for each in self.layers if each.form != each.cost_form}


def tuned(
    source: Any,
    options: Mapping[str, Any],
    threads: int,
    sizes: Mapping[str, Any],
    again: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Tuning:
    """Measure the forms of a model's layers, or return what was measured before.

    Parameters
    ----------
    source
        Anything ``sardonyx.load`` takes.
    options : mapping
        ``precision``, ``optimize`` and ``choices`` of a session; what is chosen stays.
    threads : int
    sizes : mapping
        See ``Session``.
    again : bool
        Forget what was measured before.
    progress : callable
        Is told what is measured.

    Raises
    ------
    InvalidArgument
        The source is an artifact, a size is missing, or a name is not known.
    """
    if is_artifact(source):
        raise InvalidArgument("an artifact cannot be tuned; open the model itself")
    stated = {name: _statement(name, value) for name, value in sizes.items()}
    key = content_key(source, {**options, "threads": threads, "tuned": sorted(stated.items())})
    question = None if key is None else f"tuned\n{key}"

    def answer() -> str:
        return _to_text(_measure(source, options, threads, sizes, progress))

    if again and question is not None:
        text = answer()
        replaced(question, text)
        return _from_text(text)
    return _from_text(remembered(question, answer))


def is_kept(source: Any) -> bool:
    """Tell whether answers about a source are kept on disk."""
    return cache_folder() is not None and content_key(source, {}) is not None


def _statement(name: str, value: Any) -> str:
    """State a size as far as times depend on it: an array's shape, and contents that may be sizes.

    Raises
    ------
    InvalidArgument
        It is neither a size, nor a shape, nor an array.
    """
    if isinstance(value, np.ndarray):
        plain = value.dtype.kind == "f" or value.dtype.hasobject
        contents = "" if plain else hashlib.sha256(value.tobytes()).hexdigest()
        return f"array {value.dtype} {value.shape} {contents}"
    shape = value if isinstance(value, tuple | list) else (value,)
    if not all(is_whole(n) and n >= 0 for n in shape):
        raise InvalidArgument(
            f"tune: {name!r} is given as {value!r}; give an array or a shape for an input, "
            "or a size for a dimension"
        )
    return str([int(n) for n in shape])


def _to_text(tuning: Tuning) -> str:
    return json.dumps(asdict(tuning), separators=(",", ":"))


def _from_text(line: str) -> Tuning:
    fields = json.loads(line)
    layers = (Layer(**{**each, "shape": tuple(each["shape"])}) for each in fields["layers"])
    shapes = {name: tuple(shape) for name, shape in fields["shapes"].items()}
    return Tuning(**{**fields, "layers": tuple(layers), "shapes": shapes})


# --- inputs -----------------------------------------------------------------------------------


def _feeds(ports: list[Port], sizes: Mapping[str, Any]) -> dict[str, Any]:
    """Make inputs: those given, random ones of the sizes given."""
    names = [port.name for port in ports]
    dims = list(dict.fromkeys(d for p in ports for d in p.dims or () if isinstance(d, str)))
    for name in sizes:
        if name not in (*names, *dims):
            raise InvalidArgument(f"tune: no input or dimension {name!r}; there are {names + dims}")
    rng = np.random.default_rng(0)
    feeds = {}
    for port in ports:
        size = sizes.get(port.name)
        if isinstance(size, np.ndarray):
            feeds[port.name] = size
        elif port.dtype == "object":
            raise InvalidArgument(f"tune: input {port.name!r} is not a plain tensor: give an array")
        else:
            feeds[port.name] = random_array(_shape(port, sizes), port.dtype, rng)
    return feeds


def _shape(port: Port, sizes: Mapping[str, Any]) -> tuple[int, ...]:
    size = sizes.get(port.name)
    if size is not None:
        return tuple(size) if isinstance(size, tuple | list) else (size,)
    if port.dims is None:
        raise InvalidArgument(f"tune: input {port.name!r} states no rank: give its shape")
    missing = [dim for dim in port.dims if not isinstance(dim, int) and dim not in sizes]
    if missing:
        named = next((dim for dim in missing if dim is not None), None)
        each = f"one for each, as tune={{{named!r}: 1}}, or " if None not in missing else ""
        raise InvalidArgument(
            f"tune: no size is given for {missing} of input {port.name!r}, which has the shape "
            f"{port.dims}: give {each}its shape, as tune={{{port.name!r}: (1, ...)}}"
        )
    return tuple(d if isinstance(d, int) else int(sizes[str(d)]) for d in port.dims)


# --- measuring --------------------------------------------------------------------------------


def compare_forms(
    source: Any,
    options: Mapping[str, Any],
    threads: int,
    sizes: Mapping[str, Any],
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[Layer, ...]:
    """Measure the forms of a model's layers as `tuned` does; nothing follows from it.

    Where the cost model's form seems much slower than another, all are measured again, by programs
    that are opened anew: other work on the machine may have disturbed one of them, and weights that
    lie elsewhere in memory may take longer to read.

    Returns
    -------
    tuple of Layer
        Of each with the fastest form, as it was confirmed together with those of the others.
    """
    trial = _Trial(source, options, threads, sizes)
    chosen = trial.fastest(progress)
    progress("the fastest together")
    winners, _, before, after = trial.confirmed(chosen)
    found = [trial.layers(winners, before, after)]
    while len(found) < _REPEATS and any(each.ratio > _SUSPECT for each in _medians(found)):
        progress("the fastest together, again")
        found.append(trial.layers(winners, *trial.compared(winners)))
    return _medians(found)


def _medians(found: Sequence[Sequence[Layer]]) -> tuple[Layer, ...]:
    """Return of each layer the measurement whose ratio is in the middle (the lower one of two)."""
    of_layers = (sorted(own, key=lambda each: each.ratio) for own in zip(*found, strict=True))
    return tuple(own[(len(own) - 1) // 2] for own in of_layers)


def _measure(
    source: Any, options: Mapping[str, Any], threads: int, sizes: Mapping[str, Any],
    progress: Callable[[str], None],
) -> Tuning:  # fmt: skip
    trial = _Trial(source, options, threads, sizes)
    chosen = trial.fastest(progress)
    progress("the fastest together")
    winners, final, before, after = trial.confirmed(chosen)
    error = largest_error(final.run(trial.feeds), trial.expected) or 0.0
    note = ""
    if winners and after.total() >= before.total():
        note = "the whole was not faster"
    elif not error <= _TOLERANCE:
        note = f"the outputs would differ by {error:.1e}"
    if note:
        winners, after = {}, before
    shapes = {name: np.shape(array) for name, array in trial.feeds.items()}
    layers = trial.layers(winners, before, after)
    return Tuning(
        shapes, trial.base.threads, layers, before.total(), after.total(), float(error), note
    )  # fmt: skip


class _Trial:
    """A model whose layers are measured in the forms they may take."""

    def __init__(
        self, source: Any, options: Mapping[str, Any], threads: int, sizes: Mapping[str, Any]
    ) -> None:
        self._model, self._options = optimized(source, options), options
        self._threads = threads
        self.base = self._with_choices({})
        self.feeds = _feeds(self.base.program.inputs, sizes)
        self.expected = self.base.run(self.feeds)
        self._offered = {
            name: forms
            for name, forms in self.base.program.metadata["forms"].items()
            if name not in options["choices"] and len(forms) > 1
        }

    def _with_choices(self, choices: Mapping[str, str]) -> Engine:
        chosen = sorted_choices({**choices, **self._options["choices"]})
        options = {**self._options, "optimize": "none", "choices": chosen}
        return Engine(open_program(self._model, options), self._threads)

    def fastest(self, progress: Callable[[str], None]) -> dict[str, str]:
        """Measure all forms; those that are faster than the cost model's, by layer."""
        offered = self._offered
        programs = max((len(forms) for forms in offered.values()), default=1)
        best: dict[str, tuple[float, str]] = {}
        for number in range(1, programs):
            progress(f"forms {number} of {programs - 1}")
            forms = {n: forms[number] for n, forms in offered.items() if number < len(forms)}
            before, after = _compared(self.base, self._with_choices(forms), self.feeds)
            for name, form in forms.items():
                ratio = after.of(name) / max(before.of(name), 1.0)
                best[name] = min((ratio, form), best.get(name, (_GAIN, "")))
        return {name: form for name, (_, form) in best.items() if form}

    def confirmed(self, chosen: dict[str, str]) -> tuple[dict[str, str], Engine, _Times, _Times]:
        """Measure forms together, and leave out those that do not win there."""
        final = self._with_choices(chosen) if chosen else self.base
        before, after = _compared(self.base, final, self.feeds)
        winners = {n: f for n, f in chosen.items() if after.of(n) <= _STILL_GAIN * before.of(n)}
        if winners != chosen:
            final = self._with_choices(winners) if winners else self.base
            before, after = _compared(self.base, final, self.feeds)
        return winners, final, before, after

    def compared(self, winners: Mapping[str, str]) -> tuple[_Times, _Times]:
        """Measure the cost model's forms and others together, by programs that are opened anew."""
        pair = self._with_choices({}), self._with_choices(winners)
        return _compared(*pair, self.feeds)

    def layers(
        self, winners: Mapping[str, str], before: _Times, after: _Times
    ) -> tuple[Layer, ...]:
        """Describe the layers, of which some have other forms than the cost model's."""
        layers = []
        for name, forms in self._offered.items():
            op_type, shape = before.describe(name)
            times = before.of(name), (after if name in winners else before).of(name)
            form = winners.get(name, forms[0])
            layers.append(Layer(name, op_type, shape, forms[0], times[0], form, times[1]))
        return tuple(layers)


class _Times:
    """Times of a program's steps and runs, as its turns add to them."""

    def __init__(self, engine: Engine, feeds: Mapping[str, Any]) -> None:
        self.engine = engine
        self._feeds = feeds
        self._runs = 1
        self._steps: list[np.ndarray] = []
        self._totals: list[np.ndarray] = []

    def take_turn(self) -> None:
        """Run a few times; the first run finds its weights out of the caches and does not count."""
        profile = self.engine.profile(self._feeds, runs=self._runs, warmup=1)
        self._profile = profile
        self._steps.append(np.array([step.times_ns for step in profile.steps]))
        self._totals.append(profile.total_ns)
        shortest = max(float(profile.total_ns.min()), 1.0)
        self._runs = int(min(max(_TURN_NS / shortest, 1), _RUN_LIMIT))

    def of(self, name: str) -> float:
        """Nanoseconds of the steps that a node takes part in."""
        steps = [i for i, step in enumerate(self._profile.steps) if name in step.nodes]
        return _typical(np.concatenate(self._steps, axis=1)[steps].sum(axis=0))

    def total(self) -> float:
        """Nanoseconds of a run."""
        return _typical(np.concatenate(self._totals))

    def describe(self, name: str) -> tuple[str, tuple[int, ...]]:
        """Operators and output's shape of a node's last step."""
        steps = [step for step in self._profile.steps if name in step.nodes]
        return (steps[-1].op_type, steps[-1].shapes[0]) if steps else ("", ())


def _typical(times: np.ndarray) -> float:
    """Return a time that is rarely undercut: what else runs on the machine only adds to it."""
    return float(np.quantile(times, 0.2))


def _compared(a: Engine, b: Engine, feeds: Mapping[str, Any]) -> tuple[_Times, _Times]:
    """Let two programs take turns."""
    pair = _Times(a, feeds), _Times(b, feeds)
    end = time.perf_counter() + 2 * _SECONDS
    fewest, limit = _ROUNDS
    for done in range(limit):
        if done >= fewest and time.perf_counter() > end:
            break
        for each in pair if done % 2 else pair[::-1]:
            each.take_turn()
    return pair

"""Sessions with states: outputs of a run that are inputs of the next, and stay in memory.

Caches, which each run makes longer, grow in place (``growth``): their memory has room for a number
of runs, and is doubled when it is full. Other states are the arrays that the last run returned.

Where an input decides which branch of an If makes the states (a decoder with a branch for the first
run and one for all others), each of its numbers has a program of its own, and the states are handed
from one to the other: what one returns, the other may let grow in place.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..errors import InvalidArgument, UnsupportedModel
from .arguments import Shapes
from .devices.bound import Bound
from .engine import Engine
from .memory import allocated
from .program import Cache, Port, Program

if TYPE_CHECKING:
    from .variant_inputs import VariantInputs

_MOST = 16
"""Programs for certain numbers; other numbers run in the one for any."""

Numbers: TypeAlias = tuple[tuple[str, tuple[int, ...]], ...]
"""Inputs that decide about branches, and what they are."""


class _Variant:
    """A program for certain numbers, and the context that it runs in."""

    def __init__(self, engine: Engine, states: Mapping[str, str]) -> None:
        program = engine.program
        self.engine = engine
        self.context = engine.own_context()
        self.caches: dict[str, Cache] = {cache.input: cache for cache in program.caches}
        self.outputs = [port.name for port in program.outputs]
        self._lengths = np.array(
            [program.tensors[cache.tensor].shape[cache.axis] for cache in program.caches], np.int64
        )
        # A branch that leaves a state as it is gives a constant without elements in its place.
        empty = {port.name for port in program.outputs if 0 in (port.dims or ())}
        self.kept = {
            output: name
            for output, name in states.items()
            if name not in self.caches and output not in empty
        }

    def lengths(self) -> dict[str, int]:
        """Lengths of the caches behind a run, as bound, by their inputs."""
        lengths = self.context.binding.values(self._lengths)
        return dict(zip(self.caches, lengths, strict=True))


class Stateful:
    """A model whose states are kept from run to run. For one thread at a time.

    Parameters
    ----------
    program : Program
        Of the session: says which inputs and outputs there are, and what decides about branches.
    open_engine : callable
        Returns the engine of the program with the states, and what it is to assume.
    states : mapping of str to str
        Input of each state by the output that is its next value.
    capacity : int
        Length that caches have room for at first.
    own : optional
        What keeps states on another device than the processor.

    Attributes
    ----------
    length : int
        Of the caches: what all runs so far have put into them; 0 if there are none.
    """

    def __init__(
        self,
        program: Program,
        open_engine: Callable[[VariantInputs], Engine],
        states: Mapping[str, str],
        capacity: int,
        own: Any = None,
    ) -> None:
        self._open, self._states = open_engine, dict(states)
        self._ports = {port.name: port for port in program.inputs}
        self._outputs = [port.name for port in program.outputs]
        self._inputs = frozenset(states.values())
        self._first_capacity = capacity
        self._variants: dict[Numbers, _Variant] = {}
        self._deciding = _inputs_of_variants(program)
        self._axes: dict[str, int] = {}
        self._own = own
        ports = [self._ports[name] for name in self._deciding]
        flags = all(port.dtype == "bool" and _count(port) == 1 for port in ports)
        for numbers in itertools.product([(0,), (1,)], repeat=len(self._deciding)) if flags else ():
            self._opened(tuple(zip(self._deciding, numbers, strict=True)))
        self.reset()

    def reset(self) -> None:
        """Forget the states: the next run is the first."""
        self._capacity = self._first_capacity
        self._arrays: dict[str, np.ndarray] = {}
        self._lengths: dict[str, int] = {}  # of arrays with room

    @property
    def length(self) -> int:
        """Length of the caches."""
        lengths = [
            self._lengths[name] if name in self._lengths else self._arrays[name].shape[axis]
            for name, axis in self._axes.items()
            if name in self._arrays
        ]
        return max(lengths, default=0)

    @property
    def output_names(self) -> list[str]:
        """Outputs that a run returns: all but the states."""
        return [name for name in self._outputs if name not in self._states]

    @property
    def state_names(self) -> list[str]:
        """Inputs that are states."""
        return sorted(self._inputs)

    def run(self, output_names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[Any]:
        """Run the model with the states that the last run left.

        Parameters
        ----------
        output_names : sequence of str, optional
            Outputs wanted; all but the states when None.
        feeds : mapping
            An array for each input but the states; a state that is given replaces what was kept.
            Before the first run states are empty along axes whose size nothing says, else zeros.

        Raises
        ------
        InvalidArgument
            An input is missing, unknown, or of the wrong type or shape.
        KernelError
            A step failed, or there is no memory for a cache.
        """
        if not isinstance(feeds, Mapping):
            raise InvalidArgument(f"inputs must be a mapping, not a {type(feeds).__name__}")
        wanted = self.output_names if output_names is None else list(output_names)
        variant = self._variant(feeds)
        unknown = [name for name in wanted if name not in variant.outputs]
        if unknown:
            raise InvalidArgument(f"no output {unknown[0]!r}; the outputs are {self.output_names}")
        given = self._take_states(variant, feeds)
        signature = variant.engine.signature
        others, places = variant.engine.device.inputs(given)
        arrays, shapes = signature.arrays({**others, **self._arrays})
        shapes = self._logical(shapes)
        signature.check_shapes(shapes)
        arrays = self._bound(variant, arrays, shapes)
        results = self._results(variant, arrays, shapes, places)
        self._lengths |= variant.lengths()
        for output, name in variant.kept.items():
            value = results[output]
            self._arrays[name] = value if self._own is None else self._own.keep(name, value)
        return [results[name] for name in wanted]

    def _results(
        self,
        variant: _Variant,
        arrays: list[Any],
        shapes: Shapes,
        places: Mapping[int, Any],
    ) -> dict[str, Any]:
        """Run; returns the outputs by name, of which states stay on the device."""
        if self._own is None:
            return dict(zip(variant.outputs, variant.context.run(arrays), strict=True))
        pairs = zip(self._ports, arrays, strict=True)
        states = {name: array for name, array in pairs if name in self._inputs}
        self._arrays |= states
        targets = {i: None for i, name in enumerate(variant.outputs) if name in variant.kept}
        bound = Bound(arrays, shapes, {**places, **self._own.places(states)}, targets, ())
        results = variant.engine.device.run(variant.context, bound)
        return dict(zip(variant.outputs, results, strict=True))

    def state(self, name: str) -> np.ndarray:
        """Return a copy of a state, by the name of its input.

        Raises
        ------
        InvalidArgument
            There is no such state, or no run has been yet.
        """
        if name not in self._arrays:
            raise InvalidArgument(
                f"no state {name!r} has a value; states are {sorted(self._inputs)}"
            )
        return self._held(name).copy()

    # --- programs -----------------------------------------------------------------------------

    def _variant(self, feeds: Mapping[str, Any]) -> _Variant:
        """Return the program for the numbers among the feeds that decide about branches."""
        numbers: Numbers = ()
        names = self._deciding
        while names:
            numbers += tuple((name, self._numbers(feeds, name)) for name in names)
            if numbers not in self._variants and len(self._variants) >= _MOST:
                return self._opened(())
            known = dict(numbers)
            found = _inputs_of_variants(self._opened(numbers).engine.program)
            names = [name for name in found if name not in known]
        return self._opened(numbers)

    def _numbers(self, feeds: Mapping[str, Any], name: str) -> tuple[int, ...]:
        if name not in feeds:
            raise InvalidArgument(f"inputs missing: {[name]}")
        value, port = np.asarray(feeds[name]), self._ports[name]
        count = _count(port)
        if value.size != count or value.dtype != port.dtype:
            expected = f"{'one element' if count == 1 else f'{count} elements'} of {port.dtype}"
            raise InvalidArgument(
                f"input {name!r}: expected {expected}, got {value.dtype} of shape {value.shape}"
            )
        return tuple(int(number) for number in value.reshape(-1).tolist())

    def _opened(self, numbers: Numbers) -> _Variant:
        """Return the program for certain numbers; the one for any if there are none."""
        if numbers not in self._variants:
            values = [[name, list(each)] for name, each in numbers]
            assumed: VariantInputs = {"values": values} if numbers else {}
            variant = _Variant(self._open(assumed), self._states)
            for name, cache in variant.caches.items():
                if self._axes.setdefault(name, cache.axis) != cache.axis:
                    raise UnsupportedModel(f"branches let the state {name!r} grow along other axes")
            self._variants[numbers] = variant
        return self._variants[numbers]

    # --- states -------------------------------------------------------------------------------

    def _take_states(self, variant: _Variant, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Keep the states among the feeds, and make those that are missing; returns the others."""
        others = {name: value for name, value in feeds.items() if name not in self._inputs}
        for name in self._inputs:
            if name in feeds:
                self._set(variant, name, np.asarray(feeds[name]))
            elif name in self._arrays and (name in variant.caches) != (name in self._lengths):
                self._set(variant, name, self._held(name))
        missing = [name for name in self._inputs if name not in self._arrays]
        if missing:
            sizes = self._named_sizes(
                {**others, **{n: feeds[n] for n in self._inputs if n in feeds}}
            )
            for name in missing:
                self._set(variant, name, self._empty(name, sizes))
        self._grow(self._capacity)
        return others

    def _set(self, variant: _Variant, name: str, value: np.ndarray) -> None:
        """Keep the value of a state, with room where the program lets it grow in place."""
        cache = variant.caches.get(name)
        if cache is None:
            self._arrays[name] = value
            self._lengths.pop(name, None)
            return
        port = self._ports[name]
        if port.dims is None or value.ndim != len(port.dims):
            raise InvalidArgument(f"state {name!r}: expected {port.dims}, got shape {value.shape}")
        if value.dtype != port.dtype:
            raise InvalidArgument(f"state {name!r}: expected {port.dtype}, got {value.dtype}")
        length = value.shape[cache.axis]
        self._capacity = max(self._capacity, length)
        shape = list(value.shape)
        shape[cache.axis] = self._capacity
        self._arrays[name] = allocated(tuple(shape), port.dtype, f"the cache {name!r}")
        self._lengths[name] = length
        self._held(name)[...] = value

    def _held(self, name: str) -> np.ndarray:
        """View of what a state holds."""
        array = self._arrays[name]
        if self._own is not None:
            self._own.fetch(name, array)
        if name not in self._lengths:
            return array
        return array[(*[slice(None)] * self._axes[name], slice(self._lengths[name]))]

    def _named_sizes(self, feeds: Mapping[str, Any]) -> dict[str, int]:
        """Sizes of the dimensions that inputs name."""
        described = (
            (self._ports[name].dims or (), np.shape(value))
            for name, value in feeds.items()
            if name in self._ports
        )
        return {
            dim: size
            for dims, shape in described
            for dim, size in zip(dims, shape, strict=False)
            if isinstance(dim, str)
        }

    def _empty(self, name: str, sizes: Mapping[str, int]) -> np.ndarray:
        """First value of a state."""
        port = self._ports[name]
        if port.dims is None or port.dtype == "object":
            raise InvalidArgument(f"state {port.name!r} has no known shape: give its first value")
        shape = [dim if isinstance(dim, int) else sizes.get(dim or "", 0) for dim in port.dims]
        if name in self._axes:
            shape[self._axes[name]] = 0
        return np.zeros(shape, port.dtype)

    # --- memory -------------------------------------------------------------------------------

    def _logical(self, shapes: Shapes) -> Shapes:
        """Return the shapes of the inputs with the lengths of the caches, not of their memory."""
        found = list(shapes)
        for index, name in enumerate(self._ports):
            length = self._lengths.get(name)
            if length is not None:
                shape, axis = shapes[index], self._axes[name]
                found[index] = (*shape[:axis], length, *shape[axis + 1 :])
        return tuple(found)

    def _bound(self, variant: _Variant, arrays: list[Any], shapes: Shapes) -> list[Any]:
        """Bind to sizes, and let the caches have memory for what the run puts into them."""
        binding = variant.context.binding
        binding.bind(shapes, self._capacity)
        needed = max(variant.lengths().values(), default=0)
        if needed > self._capacity:
            self._grow(max(needed, 2 * self._capacity))
            binding.bind(shapes, self._capacity)
        # Only caches may have been moved; others are as the signature has made them.
        pairs = zip(self._ports, arrays, strict=True)
        return [self._arrays[n] if n in self._lengths else a for n, a in pairs]

    def _grow(self, capacity: int) -> None:
        """Let all caches have the same room: the program knows one number for all."""
        for name in self._lengths:
            axis = self._axes[name]
            shape = list(self._arrays[name].shape)
            if shape[axis] == capacity:
                continue
            shape[axis] = capacity
            dtype = self._ports[name].dtype
            larger = allocated(tuple(shape), dtype, f"the cache {name!r}")
            held = self._held(name)
            self._arrays[name] = larger
            self._held(name)[...] = held
        self._capacity = capacity


def _count(port: Port) -> int:
    """Elements of an input that decides: their number is known."""
    return math.prod(dim for dim in port.dims or () if isinstance(dim, int))


def _inputs_of_variants(program: Program) -> list[str]:
    """Inputs whose numbers decide about branches."""
    inputs: VariantInputs = program.metadata.get("variant_inputs") or {}
    return list(inputs.get("values", ()))


_PREFIX = re.compile("^(present|past_key_values|past|cache)(_key_values)?_")


def matched_states(inputs: Sequence[str], outputs: Sequence[str]) -> dict[str, str]:
    """Pair outputs and inputs by name, as exporters name caches; input by output.

    ``present.0.key`` and ``past_key_values.0.key``, ``cache.layers.0.keys`` and
    ``cache_layers_0_keys``, ``present_0`` and ``past_0``: one text behind the prefix.
    """

    def stem(name: str) -> str | None:
        plain = re.sub(r"\W", "_", name)
        found = _PREFIX.match(plain)
        return None if found is None else plain[found.end() :]

    by_stem = {key: name for name in inputs if (key := stem(name)) is not None}
    pairs = ((name, by_stem.get(key)) for name in outputs if (key := stem(name)) is not None)
    return {output: name for output, name in pairs if name is not None}

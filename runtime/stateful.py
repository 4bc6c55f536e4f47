"""Sessions with states: outputs of a run that are inputs of the next, and stay in memory.

Caches, which each run makes longer, grow in place (``growth``): their memory has room for a number
of runs, and is doubled when it is full. Other states are the arrays that the last run returned.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import InvalidArgument
from .arguments import Shapes
from .engine import Engine
from .memory import allocated
from .program import Cache, Port, Program

_FIRST_CAPACITY = 256


class Stateful:
    """A model whose states are kept from run to run. For one thread at a time.

    Parameters
    ----------
    program : Program
        Lowered with the option ``states``.
    states : mapping of str to str
        Input of each state by the output that is its next value.
    threads : int
    capacity : int
        Length that caches have room for at first.

    Attributes
    ----------
    length : int
        Of the caches: what all runs so far have put into them; 0 if there are none.
    """

    def __init__(
        self, program: Program, states: Mapping[str, str], threads: int, capacity: int
    ) -> None:
        self._engine = Engine(program, threads)
        self._context = self._engine.own_context()
        self._ports = {port.name: port for port in program.inputs}
        self._caches: dict[str, Cache] = {cache.input: cache for cache in program.caches}
        self._kept = {o: i for o, i in states.items() if i not in self._caches}
        self._inputs = frozenset(states.values())
        self._outputs = [port.name for port in program.outputs]
        self._first_capacity = capacity
        self.reset()

    def reset(self) -> None:
        """Forget the states: the next run is the first."""
        self._capacity = self._first_capacity
        self._arrays: dict[str, np.ndarray] = {}
        self._lengths = dict.fromkeys(self._caches, 0)

    @property
    def length(self) -> int:
        """Length of the caches."""
        return max(self._lengths.values(), default=0)

    @property
    def output_names(self) -> list[str]:
        """Outputs that a run returns: all but the states."""
        return [name for name in self._outputs if name not in self._kept]

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
        wanted = self.output_names if output_names is None else list(output_names)
        unknown = [name for name in wanted if name not in self._outputs]
        if unknown:
            raise InvalidArgument(f"no output {unknown[0]!r}; the outputs are {self.output_names}")
        given = self._take_states(feeds)
        arrays, shapes = self._engine.signature.arrays({**given, **self._arrays})
        shapes = self._logical(shapes)
        self._engine.signature.check_shapes(shapes)
        arrays = self._bound(arrays, shapes)
        results = dict(zip(self._outputs, self._context.run(arrays), strict=True))
        for cache in self._caches.values():
            self._lengths[cache.input] = self._context.binding.shape(cache.tensor)[cache.axis]
        self._arrays |= {name: results[output] for output, name in self._kept.items()}
        return [results[name] for name in wanted]

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
        array = self._arrays[name]
        return array[self._used(name)].copy() if name in self._caches else array.copy()

    # --- states -------------------------------------------------------------------------------

    def _take_states(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Keep the states among the feeds, and make those that are missing; returns the others."""
        if not isinstance(feeds, Mapping):
            raise InvalidArgument(f"inputs must be a mapping, not a {type(feeds).__name__}")
        others = {name: value for name, value in feeds.items() if name not in self._inputs}
        for name in self._inputs:
            if name in feeds:
                self._set(name, np.asarray(feeds[name]))
        missing = [name for name in self._inputs if name not in self._arrays]
        if missing:
            sizes = self._named_sizes(
                {**others, **{n: feeds[n] for n in self._inputs if n in feeds}}
            )
            for name in missing:
                self._set(name, self._empty(self._ports[name], sizes))
        self._grow(self._capacity)
        return others

    def _set(self, name: str, value: np.ndarray) -> None:
        cache = self._caches.get(name)
        if cache is None:
            self._arrays[name] = value
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
        self._arrays[name][self._used(name)] = value

    def _used(self, name: str) -> tuple[slice, ...]:
        """Index of what a cache holds."""
        axis = self._caches[name].axis
        return (*[slice(None)] * axis, slice(self._lengths[name]))

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

    def _empty(self, port: Port, sizes: Mapping[str, int]) -> np.ndarray:
        """First value of a state."""
        if port.dims is None or port.dtype == "object":
            raise InvalidArgument(f"state {port.name!r} has no known shape: give its first value")
        shape = [dim if isinstance(dim, int) else sizes.get(dim or "", 0) for dim in port.dims]
        if port.name in self._caches:
            shape[self._caches[port.name].axis] = 0
        return np.zeros(shape, port.dtype)

    # --- memory -------------------------------------------------------------------------------

    def _logical(self, shapes: Shapes) -> Shapes:
        """Return the shapes of the inputs with the lengths of the caches, not of their memory."""
        found = list(shapes)
        for index, port in enumerate(self._engine.program.inputs):
            if (cache := self._caches.get(port.name)) is not None:
                shape = list(found[index])
                shape[cache.axis] = self._lengths[port.name]
                found[index] = tuple(shape)
        return tuple(found)

    def _bound(self, arrays: list[Any], shapes: Shapes) -> list[Any]:
        """Bind to sizes, and let the caches have memory for what the run puts into them."""
        binding = self._context.binding
        binding.bind(shapes, self._capacity)
        lengths = [binding.shape(c.tensor)[c.axis] for c in self._caches.values()]
        needed = max(lengths, default=0)
        if needed > self._capacity:
            self._grow(max(needed, 2 * self._capacity))
            binding.bind(shapes, self._capacity)
        # Only caches may have been moved; others are as the signature has made them.
        names = [port.name for port in self._engine.program.inputs]
        pairs = zip(names, arrays, strict=True)
        return [self._arrays[n] if n in self._caches else a for n, a in pairs]

    def _grow(self, capacity: int) -> None:
        """Let all caches have the same room: the program knows one number for all."""
        for name, cache in self._caches.items():
            shape = list(self._arrays[name].shape)
            if shape[cache.axis] == capacity:
                continue
            shape[cache.axis] = capacity
            dtype = self._ports[name].dtype
            larger = allocated(tuple(shape), dtype, f"the cache {name!r}")
            larger[self._used(name)] = self._arrays[name][self._used(name)]
            self._arrays[name] = larger
        self._capacity = capacity


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

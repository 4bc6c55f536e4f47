"""Variants of a program: for defaults that runs give, and for sizes that decide about branches.

A model is first lowered for any input. Where runs repeat sizes or numbers that conditions of If or
axes follow from (``variant_inputs``), it is lowered once more for these, without branches not
taken. Programs found so may have such inputs of their own, of branches inside branches. All are
kept in the program cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SardonyxError
from . import endings
from .engine import Engine
from .program_cache import open_program

if TYPE_CHECKING:
    from .variant_inputs import VariantInputs

_MOST = 16
"""Variants of a session; further ones run as the program for any input."""
_REMEMBERED = 64
"""Feeds whose sizes are remembered."""


class Variants:
    """Engines of a session, by what its runs give.

    Parameters
    ----------
    source
        What the session was made from.
    options : mapping
        Those of its programs.
    engine : Engine
        Of the program for any input, without defaults given.
    defaults : frozenset of str
        Names of initializers that may be given.
    """

    def __init__(
        self, source: Any, options: Mapping[str, Any], engine: Engine, defaults: frozenset[str]
    ) -> None:
        self._source, self._options, self._threads = source, options, engine.threads
        self._defaults = defaults
        self._engines: dict[str, Engine] = {repr({}): engine}
        self._values: tuple[str, ...] = ()
        self._chosen: dict[Any, Engine] = {}
        self._seen: dict[Any, None] = {}
        self.is_needed = bool(defaults or _variant_inputs(engine))

    def all(self) -> list[Engine]:
        """Return all engines."""
        return list(dict.fromkeys(self._engines.values()))

    def choose(self, feeds: Mapping[str, Any], at_once: bool = False) -> Engine:
        """Return the engine for a run.

        Parameters
        ----------
        feeds : mapping
            Whatever the run was given; what is wrong with it the engine says.
        at_once : bool
            Make a variant also for sizes that are seen for the first time.
        """
        if not isinstance(feeds, Mapping):
            return self._engines[repr({})]
        try:
            key = self._key(feeds)
            engine = self._chosen.get(key)
        except (TypeError, ValueError, AttributeError):  # no arrays
            return self._extended({"given": given}) if (given := self._given(feeds)) else self.base
        if engine is not None:
            return engine
        engine, is_final = self._follow(feeds, at_once)
        if is_final:
            _remember(self._chosen, self._key(feeds), engine)
        return engine

    @property
    def base(self) -> Engine:
        """Engine of the program for any input."""
        return self._engines[repr({})]

    def _given(self, feeds: Mapping[str, Any]) -> list[str]:
        return sorted(self._defaults.intersection(feeds))

    def _key(self, feeds: Mapping[str, Any]) -> Any:
        """State what an engine is chosen by: names, shapes, and the numbers that decide."""
        shapes = tuple([(name, np.shape(value)) for name, value in feeds.items()])
        return shapes, tuple(
            [tuple(_numbers(feeds[name])) for name in self._values if name in feeds]
        )

    def _follow(self, feeds: Mapping[str, Any], at_once: bool) -> tuple[Engine, bool]:
        """Go from the program for any input to the one for these; tells whether it is the last.

        What decides has to come twice before there is a program for it.
        """
        given = self._given(feeds)
        more: dict[str, Any] = {"given": given} if given else {}
        engine = self._extended(more)
        while inputs := _variant_inputs(engine):
            self._values = tuple(dict.fromkeys([*self._values, *inputs.get("values", ())]))
            found = _observed(inputs, feeds)
            if found is None:
                return engine, True
            assumed: VariantInputs = more.get("assumed", {})
            more = {
                **more,
                "assumed": {
                    kind: sorted([*assumed.get(kind, ()), *found.get(kind, ())])
                    for kind in sorted({*assumed, *found})
                },
            }
            key = repr(more)
            if key not in self._engines:
                is_wanted = at_once or key in self._seen
                if not is_wanted or len(self._engines) >= _MOST:
                    _remember(self._seen, key, None)
                    return engine, False
            try:
                engine = self._extended(more)
            except SardonyxError:  # the sizes do not fit the model: a run says where
                self._engines[key] = engine
                return engine, True
            if engine is self.base:
                return engine, True
        return engine, True

    def _extended(self, more: dict[str, Any]) -> Engine:
        """Return the engine of the program with more options."""
        key = repr(more)
        if key not in self._engines:
            with endings.awaited():
                program = open_program(self._source, {**self._options, **more})
                self._engines.setdefault(key, Engine(program, self._threads))
        return self._engines[key]


def _remember(memory: dict[Any, Any], key: Any, value: Any) -> None:
    """Enter a value; the oldest ones make room for it."""
    for old in list(memory)[: len(memory) + 1 - _REMEMBERED]:
        memory.pop(old, None)  # unless another thread was faster
    memory[key] = value


def _variant_inputs(engine: Engine) -> VariantInputs:
    inputs: VariantInputs = engine.program.metadata.get("variant_inputs") or {}
    return inputs


def _numbers(value: Any) -> list[int]:
    return [int(number) for number in np.asarray(value).reshape(-1).tolist()]


def _observed(inputs: VariantInputs, feeds: Mapping[str, Any]) -> VariantInputs | None:
    """Read what decides off the inputs; None where one is missing or of another kind."""
    try:
        return {
            "sizes": [[n, axis, np.shape(feeds[n])[axis]] for n, axis in inputs.get("sizes", ())],
            "values": [[name, _numbers(feeds[name])] for name in inputs.get("values", ())],
            "ranks": [[name, np.ndim(feeds[name])] for name in inputs.get("ranks", ())],
        }
    except (KeyError, IndexError, TypeError, ValueError):
        return None

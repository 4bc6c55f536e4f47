"""Cost model of this machine: what was measured, or the table of its processor's family."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from .cost_tables import family_of
from .costs import Costs
from .folders import warn_once
from .storage import forget, recalled, remembered, replaced
from .target import target

_VERSION = 8
"""Of what is measured: answers of other versions are not read."""
_given: ContextVar[Costs | None] = ContextVar("costs", default=None)
"""Costs that stand for the machine's (`costs_given`)."""


def machine_costs() -> Costs:
    """Return the costs measured on this machine, or else those of its processor's family.

    In the second case a line says once, on a machine, that measuring would help.
    """
    return _given.get() or _machine_costs()


@contextmanager
def costs_given(given: Costs) -> Iterator[None]:
    """Let sessions that this thread opens meanwhile take costs that are given."""
    before = _given.set(given)
    try:
        yield
    finally:
        _given.reset(before)


@functools.cache
def _machine_costs() -> Costs:
    measured = measured_costs()
    if measured is not None:
        return measured
    family = family_of(target())
    if not family.is_measured:
        _suggest(family.name)
    return family.costs


def measured_costs() -> Costs | None:
    """Return what `keep` has stored for this processor; None where there is nothing."""
    line = recalled(_question())
    try:
        return None if line is None else Costs.from_text(line)
    except ValueError:
        return None


def keep(found: Costs) -> bool:
    """Store costs for this processor; tell whether there is a folder that can be written."""
    replaced(_question(), found.to_text())
    _machine_costs.cache_clear()
    return measured_costs() == found


def discard() -> None:
    """Forget what was measured."""
    forget(_question())
    _machine_costs.cache_clear()


def costs_digest() -> str:
    """Return a digest of `machine_costs`, on which the forms of steps of a program depend."""
    return hashlib.sha256(machine_costs().to_text().encode()).hexdigest()[:16]


def processor_text() -> str:
    """State the processor, by what code for it depends on; its microcode has no part in that."""
    found = target()
    bits = 32 * found.lanes
    return f"{found.cpu} {found.features} {bits} {found.l1} {found.l2} {found.l3}"


def _question() -> str:
    return f"costs {_VERSION}\n{processor_text()}"


def _suggest(family: str) -> None:
    """Say once on a machine that what is used was not measured."""

    def say() -> str:
        warn_once(
            f"forms of steps are chosen by costs of {family}, not measured on this processor "
            f"({target().cpu}): `sardonyx machine` measures them in 20 seconds"
        )
        return "said"

    remembered(f"suggestion\n{_question()}", say)

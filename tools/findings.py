"""Findings of a profile in words: what takes time that it need not, the most expensive first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from . import text
from .profile import Profile, StepRow

_LAYOUT = "Reorder"
_HOST = "host"
_SLOWER, _LEAST_NS = 1.08, 5_000
"""How many times as long as in onnxruntime, whose profiler counts whole microseconds."""
_FAR_BELOW = 0.5
"""Of the roof; what is nearer has little to gain."""
_SHARE, _SMALL_SHARE = 0.05, 0.01
"""Of a run, from which an estimate is worth a line, and what another engine shows."""
_NAMED = 3


class Finding(NamedTuple):
    """A sentence, and the nanoseconds of a run that it is about."""

    text: str
    ns: float


def findings(profile: Profile) -> list[Finding]:
    """Return what a profile shows that could be better, by the time it is about.

    Parameters
    ----------
    profile : Profile
        With times of onnxruntime, or without.
    """
    found = [*_host(profile), *_layout(profile), *_outside(profile)]
    for group in _groups(profile):
        found += [*_slower(profile, group), *_far_below(profile, group)]
    return sorted(found, key=lambda finding: -finding.ns)


def _groups(profile: Profile) -> list[list[StepRow]]:
    """Steps of native code that compute, by operators and the family of their kernels."""
    groups: dict[tuple[str, str], list[StepRow]] = {}
    for step in profile.steps:
        if step.layout != _HOST and step.op_type != _LAYOUT:
            groups.setdefault((step.op_type, step.kernel.split("[")[0]), []).append(step)
    return list(groups.values())


def _slower(profile: Profile, group: list[StepRow]) -> Iterator[Finding]:
    """Steps that onnxruntime does in less time."""
    lost: list[tuple[float, StepRow]] = []
    for step in group:
        other = step.reference_ns
        if other is not None and step.median_ns > max(_SLOWER * other, _LEAST_NS):
            lost.append((step.median_ns - other, step))
    total = sum(ns for ns, _ in lost)
    if total < _SMALL_SHARE * profile.total_ns:
        return
    own = sum(step.median_ns for _, step in lost)
    steps = [step for _, step in sorted(lost, key=lambda pair: -pair[0])]
    times = f"{own / (own - total):.2f} times as long as in onnxruntime"
    what = f"{_describe(steps)} {_take(steps)} {times}: {text.duration(total)} more"
    yield Finding(what, total)


def _far_below(profile: Profile, group: list[StepRow]) -> Iterator[Finding]:
    """Steps that reach little of what the machine can do, by its roofline."""
    low = [step for step in group if step.roof is not None and step.roof < _FAR_BELOW]
    own = sum(step.median_ns for step in low)
    if not low or own < _SHARE * profile.total_ns:
        return
    least = sum(step.median_ns * (step.roof or 0.0) for step in low)
    steps = sorted(low, key=lambda step: -step.median_ns)
    bound = "the arithmetic units" if steps[0].bound == "compute" else "memory"
    yield Finding(
        f"{_describe(steps)} {_reach(steps)} {text.percent(least / own)} of the roof ({bound}): "
        f"{text.duration(own - least)} beyond the least time",
        own - least,
    )


def _host(profile: Profile) -> Iterator[Finding]:
    steps = [step for step in profile.steps if step.layout == _HOST]
    own = sum(step.median_ns for step in steps)
    if steps:
        yield Finding(
            f"{_describe(steps)} {_run(steps)} in Python, without a kernel: {text.duration(own)}",
            own,
        )


def _layout(profile: Profile) -> Iterator[Finding]:
    steps = [step for step in profile.steps if step.op_type == _LAYOUT]
    own = sum(step.median_ns for step in steps)
    if own >= _SHARE * profile.total_ns:
        yield Finding(f"{len(steps)} changes of layout take {text.duration(own)}", own)


def _outside(profile: Profile) -> Iterator[Finding]:
    if profile.outside_ns >= 2 * _SHARE * profile.total_ns:
        what = "outside of steps: in Python, binding and copies of inputs and outputs"
        yield Finding(
            f"{text.duration(profile.outside_ns)} of a run are {what}", profile.outside_ns
        )


def _describe(steps: list[StepRow]) -> str:
    """Name steps of the same operators by some of them."""
    names = [text.tail((list(step.nodes) or [step.name])[0], 32) for step in steps[:_NAMED]]
    more = f" and {len(steps) - _NAMED} more" if len(steps) > _NAMED else ""
    kinds = dict.fromkeys(step.op_type for step in steps[:_NAMED])
    return f"{', '.join(kinds)} ({', '.join(names)}{more})"


def _take(steps: list[StepRow]) -> str:
    return "takes" if len(steps) == 1 else "take"


def _reach(steps: list[StepRow]) -> str:
    return "reaches" if len(steps) == 1 else "reach"


def _run(steps: list[StepRow]) -> str:
    return "runs" if len(steps) == 1 else "run"

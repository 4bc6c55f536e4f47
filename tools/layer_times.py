"""Times of layers: what each convolution and product of a model takes on this machine."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .drops import Feed

if TYPE_CHECKING:
    import onnx_ir as ir

    from ..runtime.profile import StepProfile
    from ..runtime.session import Session

_TURNS, _CALLS = 5, 4
"""Fewest turns of a session, and runs of each."""
_LEAST_SECONDS, _MOST_SECONDS = 0.2, 4.0
"""For each session."""
_FALLS = 0.998
"""What least times have to fall to in a turn to be still falling."""
_CALM = 3
"""Turns without that, after which they are taken for what a quiet machine takes."""
_LEAST_NS = 1.0
_SLOWER = 1.02
"""Times of whole runs differ as much from one measurement to the next."""


def few_samples(model: ir.Model, feed: Feed, count: int) -> dict[str, np.ndarray]:
    """Return the first samples of a feed, where the model takes any number along the first axis."""
    shapes = [value.shape for value in model.graph.inputs if value.name in feed]
    are_open = all(shape and not isinstance(shape[0], int) for shape in shapes)
    lengths = {np.shape(array)[:1] for array in feed.values()}
    if not are_open or len(lengths) != 1:
        return dict(feed)
    return {name: array[:count] for name, array in feed.items()}


def layer_times(
    session: Session,
    feed: Feed,
    layers: Mapping[str, ir.Node],
    shares: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Measure layers of a model.

    Parameters
    ----------
    session : Session
    feed : mapping of str to ndarray
    layers : mapping of str to ir.Node
        By name.
    shares : mapping of str to float, optional
        Layers that one step computes share its time in proportion to these; equally when not given.

    Returns
    -------
    dict of str to float
        Nanoseconds, the least of runs until these fall no more. Steps that compute no layer count
        for the layer before them. A layer that was merged into what follows it, as a product into
        the Gemm that adds its bias, is known by that.
    """
    times = dict.fromkeys(layers, 0.0)
    followers = _followers(layers)
    current: list[str] = []
    waiting = 0.0
    ((steps, least),) = _least_times([session], feed)
    for step, ns in zip(steps, least, strict=True):
        current = _layers_of(step.nodes, layers, followers) or current
        waiting += float(ns)
        parts = [1.0 if shares is None else shares[name] + _LEAST_NS for name in current]
        for name, part in zip(current, parts, strict=True):
            times[name] += waiting * part / sum(parts)
        waiting = 0.0 if current else waiting
    return times


def _followers(layers: Mapping[str, ir.Node]) -> dict[str, str]:
    """Layers by the name of a node that they may have been merged into."""
    return {
        str(reader.name): name
        for name, node in layers.items()
        for reader in list(node.outputs[0].consumers())[:1]
    }


def _layers_of(
    nodes: Sequence[str], layers: Mapping[str, ir.Node], followers: Mapping[str, str]
) -> list[str]:
    """Return the layers that some nodes of an optimized model compute."""
    found = list(_known(nodes, layers))
    found = found or [followers[name] for name in _known(nodes, followers)]
    return list(dict.fromkeys(found))


def _known(nodes: Sequence[str], known: Collection[str]) -> Iterator[str]:
    """Yield the nodes that are known; what passes make of one has its name, and more."""
    for node in nodes:
        name = node
        while name not in known and "." in name:
            name = name.rpartition(".")[0]
        if name in known:
            yield name


def rounded_layers(session: Session, layers: Mapping[str, ir.Node]) -> list[str]:
    """Return the layers that a session computes as products of bfloat16, by name."""
    followers = _followers(layers)
    names: list[str] = session.engine.program.metadata["bfloats"]
    found = {layer for name in names for layer in _layers_of([name], layers, followers)}
    return [layer for layer in layers if layer in found]


def run_times(sessions: Sequence[Session], feed: Feed) -> list[float]:
    """Measure whole runs of several sessions, which take turns.

    Returns
    -------
    list of float
        Nanoseconds: the sum of the least times of all steps. Other processes interrupt a whole run
        of a busy machine each time, the longer ones more often, but a step now and then not.
    """
    return [float(np.sum(least)) for _, least in _least_times(sessions, feed)]


def _least_times(
    sessions: Sequence[Session], feed: Feed
) -> list[tuple[list[StepProfile], np.ndarray]]:
    """Let sessions take turns until the sums of their least times fall no more.

    Returns
    -------
    list of (list of StepProfile, ndarray)
        Steps of each session, and their least times in nanoseconds.
    """
    found: list[list[StepProfile]] = [[]] * len(sessions)
    least = [np.array(np.inf)] * len(sessions)
    start, turns, calm = time.perf_counter(), 0, 0
    while turns < _TURNS or not _is_enough(time.perf_counter() - start, len(sessions), calm):
        before = [np.sum(each) for each in least]
        for i, session in enumerate(sessions):
            found[i] = session.profile(feed, runs=_CALLS, warmup=1).steps
            least[i] = np.minimum(least[i], [np.min(step.times_ns) for step in found[i]])
        sums = [np.sum(each) for each in least]
        fell = any(new < _FALLS * old for new, old in zip(sums, before, strict=True))
        turns, calm = turns + 1, 0 if fell else calm + 1
    return list(zip(found, least, strict=True))


def _is_enough(seconds: float, sessions: int, calm: int) -> bool:
    """Tell whether sessions had turns enough after some seconds, of which the last were calm."""
    least, most = (each * sessions for each in (_LEAST_SECONDS, _MOST_SECONDS))
    return seconds >= most or (calm >= _CALM and seconds >= least)


def is_slower(ns: float, float_ns: float) -> bool:
    """Tell whether a quantized model takes longer than the float one."""
    return ns > _SLOWER * float_ns


def outputs_of(session: Session, feeds: Sequence[Feed]) -> list[list[Any]]:
    """Run a session on feeds, and return all outputs of each run."""
    return [session.run(None, feed) for feed in feeds]

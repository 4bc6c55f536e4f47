"""The least cut of a hypergraph: which vertices go with one end, so that few edges are cut."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, TypeVar

Vertex = TypeVar("Vertex", bound=Hashable)


def min_cut(
    edges: Iterable[tuple[Sequence[Vertex], int]], start: Vertex, end: Vertex
) -> set[Vertex]:
    """Return the vertices on the side of ``start`` when the edges that are cut weigh least.

    An edge joins any number of vertices; it is cut when they are not all on one side. Of several
    least cuts, that with the fewest vertices beside ``start`` is taken.

    Parameters
    ----------
    edges : iterable of (vertices, weight)
    start, end
        Two vertices that are to be parted.

    References
    ----------
    L. R. Ford, D. R. Fulkerson: Maximal flow through a network, 1956. Each edge is an arc of its
    weight between two vertices of its own, which all that it joins can reach.
    """
    left = _residual(edges, start, end)
    while end in (came := _search(left, start, end)):
        way = [end]
        while way[-1] != start:
            way.append(came[way[-1]])
        arcs = list(zip(way[1:], way, strict=False))
        flow = min(left[a][b] for a, b in arcs)
        for a, b in arcs:
            left[a][b] -= flow
            left[b][a] = left[b].get(a, 0) + flow
    return {vertex for vertex in came if not isinstance(vertex, _Side)}


class _Side:
    """One of the two vertices of an edge."""


def _residual(
    edges: Iterable[tuple[Sequence[Vertex], int]], start: Vertex, end: Vertex
) -> dict[Any, dict[Any, float]]:
    left: dict[Any, dict[Any, float]] = {start: {}, end: {}}
    for edge, weight in edges:
        into, out = _Side(), _Side()
        left[into], left[out] = {out: weight}, {}
        for vertex in edge:
            left.setdefault(vertex, {})[into] = float("inf")
            left[out][vertex] = float("inf")
    return left


def _search(left: dict[Any, dict[Any, float]], start: Any, end: Any) -> dict[Any, Any]:
    """Search the shortest way on which something is left; where each vertex was reached from."""
    came = {start: start}
    todo = deque([start])
    while todo and end not in came:
        vertex = todo.popleft()
        for other, capacity in left[vertex].items():
            if capacity > 0 and other not in came:
                came[other] = vertex
                todo.append(other)
    return came

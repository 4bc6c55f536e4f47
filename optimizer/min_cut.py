"""Minimum cut of a hypergraph between two vertices."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, TypeVar

Vertex = TypeVar("Vertex", bound=Hashable)


def min_cut(
    edges: Iterable[tuple[Sequence[Vertex], int]], start: Vertex, end: Vertex
) -> set[Vertex]:
    """Return the vertices on the side of ``start`` of a minimum cut.

    An edge joins any number of vertices; it is cut when they are not all on one side. Of several
    minimum cuts, that with the fewest vertices beside ``start`` is taken.

    Parameters
    ----------
    edges : iterable of (vertices, weight)
    start, end
        The vertices that are to be on different sides.

    References
    ----------
    L. R. Ford, D. R. Fulkerson: Maximal flow through a network, 1956. Each edge is an arc of its
    weight between two vertices of its own, which all that it joins can reach.
    """
    residual = _residual_network(edges, start, end)
    while end in (parents := _search(residual, start, end)):
        path = [end]
        while path[-1] != start:
            path.append(parents[path[-1]])
        arcs = list(zip(path[1:], path, strict=False))
        flow = min(residual[a][b] for a, b in arcs)
        for a, b in arcs:
            residual[a][b] -= flow
            residual[b][a] = residual[b].get(a, 0) + flow
    return {vertex for vertex in parents if not isinstance(vertex, _Side)}


class _Side:
    """One of the two vertices of an edge."""


def _residual_network(
    edges: Iterable[tuple[Sequence[Vertex], int]], start: Vertex, end: Vertex
) -> dict[Any, dict[Any, float]]:
    """Capacities of the arcs between vertices, before anything flows."""
    capacities: dict[Any, dict[Any, float]] = {start: {}, end: {}}
    for edge, weight in edges:
        into, out = _Side(), _Side()
        capacities[into], capacities[out] = {out: weight}, {}
        for vertex in edge:
            capacities.setdefault(vertex, {})[into] = float("inf")
            capacities[out][vertex] = float("inf")
    return capacities


def _search(residual: dict[Any, dict[Any, float]], start: Any, end: Any) -> dict[Any, Any]:
    """Breadth-first search along arcs with capacity left; the vertex before each one reached."""
    parents = {start: start}
    queue = deque([start])
    while queue and end not in parents:
        vertex = queue.popleft()
        for other, capacity in residual[vertex].items():
            if capacity > 0 and other not in parents:
                parents[other] = vertex
                queue.append(other)
    return parents

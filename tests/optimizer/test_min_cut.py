"""The minimum cut of a hypergraph, against all cuts there are."""

import itertools

import numpy as np
import pytest
from sardonyx.optimizer.min_cut import min_cut


def weight(edges, side):
    return sum(w for edge, w in edges if 0 < sum(vertex in side for vertex in edge) < len(edge))


@pytest.mark.parametrize("seed", range(40))
def test_no_cut_is_lighter(seed):
    rng = np.random.default_rng(seed)
    inner = list(range(rng.integers(3, 8)))
    edges = []
    for _ in range(rng.integers(1, 14)):
        size = rng.integers(2, 5)
        ends = rng.choice(["start", "end", *map(str, inner)], size, replace=False).tolist()
        if not {"start", "end"} <= set(ends):
            edges.append((ends, int(rng.integers(1, 4))))
    side_of_start = min_cut(edges, "start", "end")
    sides = [
        {"start", *map(str, some)}
        for count in range(len(inner) + 1)
        for some in itertools.combinations(inner, count)
    ]
    minimum = min(weight(edges, side) for side in sides)
    assert "start" in side_of_start and "end" not in side_of_start
    assert weight(edges, side_of_start) == minimum
    assert len(side_of_start) == min(len(side) for side in sides if weight(edges, side) == minimum)

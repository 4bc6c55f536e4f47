"""Repeated pixels."""

import numpy as np
import pytest

IMAGE = {"x": ("n", 3, 4, 5)}
REPEAT = {
    "mode": "nearest",
    "coordinate_transformation_mode": "asymmetric",
    "nearest_mode": "floor",
}


def ints(*values):
    return np.array(values, np.int64)


def repeated(axis, sizes, count=2):
    """Nodes that repeat each pixel along an axis, and their constants."""
    counts = [count if index == axis + 1 else 1 for index in range(len(sizes) + 1)]
    nodes = [("Unsqueeze", "x a", "u"), ("Tile", "u c", "t"), ("Reshape", "t s", "y")]
    return nodes, {"a": ints(axis + 1), "c": ints(*counts), "s": ints(*sizes)}


@pytest.mark.parametrize(("axis", "sizes"), [(2, (-1, 3, 8, 5)), (3, (0, 3, 4, 10))])
def test_repeated_pixels_are_a_resize(graph, optimized, axis, sizes):
    nodes, constants = repeated(axis, sizes)
    assert optimized(graph(nodes, IMAGE, **constants))[0] == ["Resize"]


@pytest.mark.parametrize(
    ("axis", "sizes"), [(1, (-1, 6, 4, 5)), (2, (-1, 3, 4, 10)), (3, (-1, 6, 4, 5))]
)
def test_what_is_no_image_twice_as_large_stays(graph, optimized, axis, sizes):
    nodes, constants = repeated(axis, sizes)
    assert "Resize" not in optimized(graph(nodes, IMAGE, **constants))[0]


def test_both_directions_are_one_resize(graph, optimized):
    nodes = [("Resize", "x no a", "r", REPEAT), ("Resize", "r no b", "y", REPEAT)]
    scales = {"a": np.float32([1, 1, 3, 2]), "b": np.float32([1, 1, 1, 4])}
    model = graph(nodes, IMAGE, no=np.zeros(0, np.float32), **scales)
    assert optimized(model)[0] == ["Resize"]


@pytest.mark.parametrize(
    ("attributes", "scale"),
    [({"nearest_mode": "ceil"}, 2), ({"mode": "linear"}, 2), ({}, 1.5)],
)
def test_other_resizes_do_not_join(graph, optimized, attributes, scale):
    nodes = [
        ("Resize", "x no a", "r", REPEAT),
        ("Resize", "r no b", "y", {**REPEAT, **attributes}),
    ]
    scales = {"a": np.float32([1, 1, 3, 2]), "b": np.float32([1, 1, 1, scale])}
    model = graph(nodes, IMAGE, no=np.zeros(0, np.float32), **scales)
    assert optimized(model)[0] == ["Resize", "Resize"]

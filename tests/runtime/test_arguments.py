"""Shapes of arguments: the fast test and the one that names what is wrong say the same."""

from __future__ import annotations

from typing import Any

import pytest
from sardonyx import InvalidArgument
from sardonyx.runtime.arguments import Signature
from sardonyx.runtime.program import Port


def port(name: str, dims: Any, dtype: str = "float32") -> Port:
    return Port(name=name, dtype=dtype, dims=dims, tensor=-1, symbols=[], type="")


def test_the_fast_test_says_what_the_slow_one_does(rng) -> None:
    answers = set()
    for _ in range(300):
        ports = []
        for i in range(rng.integers(0, 4)):
            dims = [[2, 3, "a", "b", None][k] for k in rng.integers(0, 5, rng.integers(0, 4))]
            kind = "object" if rng.random() < 0.1 else "float32"
            ports.append(port(f"x{i}", tuple(dims), kind))
        named = {"a": 4, "b": 5, None: 6}
        shapes = [
            () if each.dtype == "object" else tuple(named.get(dim, dim) for dim in each.dims)
            for each in ports
        ]
        if shapes and rng.random() < 0.6:
            k = int(rng.integers(len(shapes)))
            others = [(*shapes[k], 1), shapes[k][1:], tuple(size + 1 for size in shapes[k])]
            if ports[k].dtype != "object":
                shapes[k] = others[rng.integers(3)]
        signature = Signature(ports)
        assert signature._fit is not None
        fits = signature._fit(tuple(shapes))
        signature._fit = None
        try:
            signature.check_shapes(tuple(shapes))
        except InvalidArgument:
            assert not fits, (ports, shapes)
        else:
            assert fits, (ports, shapes)
        answers.add((fits, len(ports)))
    assert len(answers) >= 6


def test_an_input_of_unknown_rank_takes_any_shape() -> None:
    signature = Signature([port("x", None), port("y", (2,))])
    signature.check_shapes(((3, 4), (2,)))
    with pytest.raises(InvalidArgument, match="'y'"):
        signature.check_shapes(((3, 4), (3,)))

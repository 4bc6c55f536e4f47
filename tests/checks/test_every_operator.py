"""Every version of every operator that has a kernel keeps to the standard.

A short run takes the newest version of each operator and one of the others, two cases of each, the
first of which is the simplest there is, and some of the checks. A long one, FUZZ_CASES=200, looks
at all versions, all element types and all checks, and shows the smallest case that fails.
"""

from __future__ import annotations

import os
import random

import onnx
import pytest
from sardonyx.runtime.ops import OPERATORS, has_kernel

from ..fuzz.cases import without_cache
from ..reference.drawing import every_version
from ..reference.every_draw import DRAWN
from .check import CHECKS, check_operator

CASES = int(os.environ.get("FUZZ_CASES", "0"))
SHORT = 2
OF_NEWEST, OF_OTHERS = 9, 3
"""Number of checks of a version in a short run."""
OPERATORS_WITH_KERNELS = sorted(
    key
    for key in OPERATORS
    if "#" not in key[1] and has_kernel(*key) and onnx.defs.has(key[1], key[0])
)


def every(domain: str, name: str) -> list[int]:
    """Return the versions of an operator, but for those that withdraw it."""
    versions = every_version(name, domain)
    return [v for v in versions if not onnx.defs.get_schema(name, v, domain).deprecated]


def chosen(domain: str, name: str) -> list[int]:
    """Return all versions, or for a short run the newest and one of the others."""
    *others, newest = every(domain, name)
    if CASES:
        return [*others, newest]
    return [*random.Random(name).sample(others, min(1, len(others))), newest]


VERSIONS = [(*key, version) for key in OPERATORS_WITH_KERNELS for version in chosen(*key)]


def test_every_operator_with_a_kernel_is_drawn():
    assert set(OPERATORS_WITH_KERNELS) <= set(DRAWN)


@pytest.mark.timeout(120 + 10 * CASES)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("domain", "name", "version"), VERSIONS, ids=[f"{n}-{v}" for _, n, v in VERSIONS]
)
def test_operator(domain, name, version, monkeypatch):
    without_cache(monkeypatch.setattr)
    count = OF_NEWEST if version == every(domain, name)[-1] else OF_OTHERS
    checks, cases, is_long = CHECKS, CASES, bool(CASES)
    if not is_long:
        checks, cases = random.Random(f"{name} {version}").sample(CHECKS, count), SHORT
    check_operator(domain, name, version, cases, checks, every_type=is_long, shrinks=is_long)

"""Functions of kernels are translated to code that computes what Python computes."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from numba.core.compiler_lock import global_compiler_lock
from sardonyx.kernels.compiler import _code_of, _load, native_function
from sardonyx.kernels.machine_code import machine_code
from sardonyx.kernels.numba_compiler import PATCHES
from sardonyx.kernels.registry import SHARE, kernel
from sardonyx.kernels.translated_kernels import Translator
from sardonyx.kernels.untranslated import Untranslated
from sardonyx.patches import applied

LIMIT, IS_WIDE, NAMES, WEIGHTS = 5, False, ("f32", "i8"), (0.5, 2.0, 8.0)
NUMBERS = [(0, 0), (1, 5), (7, 3), (-4, 9), (-11, -3), (12, 0), (100, 7)]


@njit
def halved(a, b=2):
    return a // b, a % b


@njit
def weighted(index):
    return WEIGHTS[index]


def loops(thread: int, part: int, until: int, parts: int, a: int, b: int) -> int:
    total, count = 0, 0
    for i in range(a, b):
        for k in range(b, i, -2):
            if k == LIMIT:
                continue
            if k > 2 * LIMIT and i > 3:
                break
            total += i * k
        count = count + 1 if total > 0 else count
    while True:
        count += 1
        if count > 9 or not total < 50:
            return 1000 * total + count


def widened(thread: int, part: int, until: int, parts: int, a: int, b: int) -> int:
    value = 0  # a float from the second round on
    for i in range(b):
        value += 0.5 * i
        last = i
    if b > 0:
        value += last
    return np.int64(value * 4) + a


def choices(thread: int, part: int, until: int, parts: int, a: int, b: int) -> int:
    is_between = -5 < a <= b and b != 9
    either = a > b or (a == 0 and not b)
    kind = "f32" if IS_WIDE else "i8"
    if kind not in NAMES or IS_WIDE:
        return "this is not translated"
    x = 1 if is_between else 2
    x = x + (4 if either else 0)
    if a > 3:
        y, x = x, a
    elif a < -3:
        y = min(a, b, -6)
    else:
        y = max(a, 2) + abs(b)
    return x + 16 * y + (3 if a in (7, 12) else 0)


def tuples(thread: int, part: int, until: int, parts: int, a: int, b: int) -> int:
    (high, low), (c, d) = halved(a), halved(b, b=3)
    pair = high, low, c
    total = d + len(pair) + np.int64(4 * weighted(b % 3))
    for i in range(3):
        total = 3 * total + pair[i]
    return total + (a << 2) - (b >> 1) ^ 3 & ~a


def names_of_one_branch(thread: int, part: int, until: int, parts: int, a: int, b: int) -> int:
    for i in range(3):
        if i == 0:
            kept = a
        elif i == 1:
            kept += b
    return kept


@pytest.mark.parametrize(
    "function", [loops, widened, choices, tuples, names_of_one_branch], ids=lambda f: f.__name__
)
def test_code_computes_what_python_does(function):
    with applied(PATCHES, global_compiler_lock):
        own = kernel(function)
        assembly = Translator().assembly(own, len(SHARE))
    call = native_function(_load([_code_of(assembly.symbol, machine_code(assembly))])[0])
    for a, b in NUMBERS:
        record = own.record(a=a, b=b)
        assert call(record.ctypes.data) == function(0, 0, 1, 1, a, b), (a, b)


def with_lists(thread: int, part: int, until: int, parts: int, a: int) -> int:
    return sum([a, a])


def with_another_kind(thread: int, part: int, until: int, parts: int, a: int) -> int:
    value = (a, a) if a > 0 else a
    return 0 if value == 0 else 1


@pytest.mark.parametrize("function", [with_lists, with_another_kind], ids=lambda f: f.__name__)
def test_what_is_not_known_is_left_to_numba(function):
    with applied(PATCHES, global_compiler_lock), pytest.raises(Untranslated):
        Translator().assembly(kernel(function), len(SHARE))

"""Discrete Fourier transforms of any length, of many lines at a time.

Some lines lie side by side, real and imaginary parts apart, and pass through the stages of T.
Stockham's algorithm, a factor of the length each (W. Cochran et al., "What is the fast Fourier
transform?", 1967): what is combined in a stage lies in runs, which are taken by vectors. Factors
are 4, 2 and odd primes. Roots of unity come in a table. A length with a large prime factor becomes
a convolution of a longer one (L. Bluestein, "A linear filtering approach", 1970).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from .. import simd
from ..lanes import lanes_of
from ..registry import Pointer, kernel, kernel_factory
from ..simd import store_i64

MOST_FACTOR = 50
_CASTS = {"f32": np.float32, "f64": np.float64}


def roots(count: int, dtype: str) -> np.ndarray:
    """Real and imaginary parts, a row each, of exp(-2 pi i k / count), as ``roots_of_unity``."""
    angles = -2 * np.pi * np.arange(count) / count
    return np.stack([np.cos(angles), np.sin(angles)]).astype(dtype)


def length_for(n: int) -> int:
    """Length of the transforms for one of length n: the same, or of a convolution, a power of 2."""
    left, length = max(n, 1), 1
    for factor in range(2, MOST_FACTOR):
        while left % factor == 0:
            left //= factor
    if left == 1:
        return n
    while length < 2 * n - 1:
        length *= 2
    return length


_length_for = njit(length_for)


@kernel
def count_length(thread: int, part: int, until: int, parts: int, counted: Pointer, n: int) -> int:
    """counted[0] = `length_for` n."""
    if part == 0:
        store_i64(counted, 0, _length_for(n))
    return 0


@kernel_factory
def roots_of_unity(dtype: str) -> Callable[..., int]:
    """table[0, k] and table[1, k]: real and imaginary part of exp(-2 pi i k / count)."""
    store, cast = getattr(simd, f"store_{dtype}"), _CASTS[dtype]

    def body(thread: int, part: int, until: int, parts: int, table: Pointer, count: int) -> int:
        for k in range(count * part // parts, count * until // parts):
            angle = -2.0 * math.pi * k / count
            store(table, k, cast(math.cos(angle)))
            store(table, count + k, cast(math.sin(angle)))
        return 0

    return body


@kernel_factory
def chirps(dtype: str) -> Callable[..., int]:
    """chirp[k] = exp(-pi i k**2 / n), and its conjugate at k and at length - k of ``mirrored``.

    Both are complex numbers of two parts side by side.
    """
    store, cast = getattr(simd, f"store_{dtype}"), _CASTS[dtype]

    def body(
        thread: int, part: int, until: int, parts: int, chirp: Pointer, mirrored: Pointer, n: int,
        length: int,
    ) -> int:  # fmt: skip
        for k in range(length * part // parts, length * until // parts):
            at = min(k, length - k)
            angle = math.pi * np.float64(at * at % (2 * n)) / n
            is_inside = at < n
            store(mirrored, 2 * k, cast(math.cos(angle) if is_inside else 0.0))
            store(mirrored, 2 * k + 1, cast(math.sin(angle) if is_inside else 0.0))
            if k < n:
                angle = math.pi * np.float64(k * k % (2 * n)) / n
                store(chirp, 2 * k, cast(math.cos(angle)))
                store(chirp, 2 * k + 1, cast(-math.sin(angle)))
        return 0

    return body


@njit
def _factor(left: int) -> Any:
    """A factor of what is left of a length: odd ones first, so that halves of a turn are exact."""
    odd = left // (left & -left)
    if odd > 1:
        factor = 3
        while factor * factor <= odd:
            if odd % factor == 0:
                return factor
            factor += 2
        return odd
    return 4 if left % 4 == 0 else 2


def _stages(dtype: str) -> Callable[..., Any]:
    """Return ``transform``, all stages of a transform of some lines."""
    of = lanes_of(dtype)
    lanes, load, store, spread = of.width, of.load_first, of.store_first, of.splat
    multiply_add = of.fma
    load_root = getattr(simd, f"load_{dtype}")
    cast = _CASTS[dtype]

    @njit
    def put(y: Pointer, plane: int, at: int, u: Any, v: Any, c: Any, s: Any, left: int) -> None:
        """Store u + v i times c + s i."""
        store(y, at, u * c - v * s, left)
        store(y, plane + at, multiply_add(u, s, v * c), left)

    @njit
    def halves(
        x: Pointer, y: Pointer, plane: int, run: int, p: int, m: int, c: Any, s: Any
    ) -> None:
        one = spread(cast(1.0))
        for q in range(0, run, lanes):
            a, b = run * p + q, run * (p + m) + q
            left = run - q
            u, v = load(x, a, left), load(x, plane + a, left)
            w, z = load(x, b, left), load(x, plane + b, left)
            to = run * 2 * p + q
            put(y, plane, to, u + w, v + z, one, one - one, left)
            put(y, plane, to + run, u - w, v - z, spread(c), spread(s), left)

    @njit
    def quarters(
        x: Pointer, y: Pointer, plane: int, run: int, p: int, m: int, table: Pointer, n: int,
        step: int, sign: Any,
    ) -> None:  # fmt: skip
        one, turn = spread(cast(1.0)), spread(sign)
        c1, s1 = spread(load_root(table, p * step)), turn * spread(load_root(table, n + p * step))
        c2 = spread(load_root(table, 2 * p * step))
        s2 = turn * spread(load_root(table, n + 2 * p * step))
        c3 = spread(load_root(table, 3 * p * step))
        s3 = turn * spread(load_root(table, n + 3 * p * step))
        for q in range(0, run, lanes):
            left, at, apart = run - q, run * p + q, run * m
            u0, v0 = load(x, at, left), load(x, plane + at, left)
            u1, v1 = load(x, at + apart, left), load(x, plane + at + apart, left)
            u2, v2 = load(x, at + 2 * apart, left), load(x, plane + at + 2 * apart, left)
            u3, v3 = load(x, at + 3 * apart, left), load(x, plane + at + 3 * apart, left)
            a, b, c, d = u0 + u2, v0 + v2, u0 - u2, v0 - v2
            e, f, g, h = u1 + u3, v1 + v3, turn * (v1 - v3), turn * (u1 - u3)
            to = run * 4 * p + q
            put(y, plane, to, a + e, b + f, one, one - one, left)
            put(y, plane, to + run, c + g, d - h, c1, s1, left)
            put(y, plane, to + 2 * run, a - e, b - f, c2, s2, left)
            put(y, plane, to + 3 * run, c - g, d + h, c3, s3, left)

    @njit
    def others(
        x: Pointer, y: Pointer, plane: int, run: int, p: int, m: int, table: Pointer, n: int,
        step: int, sign: Any, factor: int,
    ) -> None:  # fmt: skip
        """Numbers k and factor - k have conjugate roots, and so do results j and factor - j."""
        turn, zero, apart = spread(sign), spread(cast(0.0)), n // factor
        one = zero + spread(cast(1.0))
        for q in range(0, run, lanes):
            left, at, to = run - q, run * p + q, run * factor * p + q
            u0, v0 = load(x, at, left), load(x, plane + at, left)
            a, b = u0, v0
            for k in range(1, factor):
                near = at + run * m * k
                a, b = a + load(x, near, left), b + load(x, plane + near, left)
            put(y, plane, to, a, b, one, zero, left)
            for j in range(1, (factor + 1) // 2):
                a, b, c, d = u0, v0, zero, zero
                for k in range(1, (factor + 1) // 2):
                    root = j * k % factor * apart
                    co, si = spread(load_root(table, root)), spread(load_root(table, n + root))
                    near, far = at + run * m * k, at + run * m * (factor - k)
                    u1, v1 = load(x, near, left), load(x, plane + near, left)
                    u2, v2 = load(x, far, left), load(x, plane + far, left)
                    a, b = multiply_add(u1 + u2, co, a), multiply_add(v1 + v2, co, b)
                    c, d = multiply_add(v1 - v2, si, c), multiply_add(u1 - u2, si, d)
                c, d = c * turn, d * turn
                root = j * p * step
                co, si = spread(load_root(table, root)), turn * spread(load_root(table, n + root))
                put(y, plane, to + run * j, a - c, b + d, co, si, left)
                root = (factor - j) * p * step
                co, si = spread(load_root(table, root)), turn * spread(load_root(table, n + root))
                put(y, plane, to + run * (factor - j), a + c, b - d, co, si, left)

    @njit
    def transform(x: Pointer, y: Pointer, table: Pointer, n: int, lines: int, sign: Any) -> Any:
        """Transform ``lines`` lines of n numbers, x[part, number, line]; returns x or y."""
        left, step, plane = n, 1, n * lines
        while left > 1:
            factor = _factor(left)
            m, run = left // factor, step * lines
            for p in range(m):
                if factor == 2:
                    root = p * step
                    halves(x, y, plane, run, p, m, load_root(table, root),
                           sign * load_root(table, n + root))  # fmt: skip
                elif factor == 4:
                    quarters(x, y, plane, run, p, m, table, n, step, sign)
                else:
                    others(x, y, plane, run, p, m, table, n, step, sign, factor)
            x, y = y, x
            left, step = m, step * factor
        return x

    return transform


@kernel_factory
def fourier(dtype: str, kind: str) -> Callable[..., int]:
    """Transform lines (outer, inner) of ``count`` numbers of ``x_parts`` each, f32 or f64.

    x, the window and y are of ``dtype``, what is computed and all tables are of ``kind``.
    Lines are times ``window`` if there is one, and filled up with zeros to ``n``; of results the
    first ``bins`` are stored, of ``y_parts`` parts, by ``inverse_of``. ``sign`` is 1, or -1 for the
    inverse; with ``half`` a line is the first half of one whose other half is its conjugate.
    ``space`` is `length_for` n; if that is another, there are ``chirp`` and ``spectrum``, complex
    numbers. Distances are in elements. ``side_by_side`` lines are transformed at a time; these
    blocks are split into parts. ``scratch`` has room for two of them for each thread.
    """
    read, write = getattr(simd, f"load_{dtype}"), getattr(simd, f"store_{dtype}")
    load, store = getattr(simd, f"load_{kind}"), getattr(simd, f"store_{kind}")
    given, cast = _CASTS[dtype], _CASTS[kind]
    given_size, size = np.dtype(given).itemsize, np.dtype(cast).itemsize
    transform = _stages(kind)

    @njit
    def multiply(a: Pointer, lines: int, space: int, by: Pointer, count: int, line: int) -> None:
        """Multiply the first numbers of a line by others."""
        plane = space * lines
        for t in range(count):
            at = t * lines + line
            u, v, c, s = load(a, at), load(a, plane + at), load(by, 2 * t), load(by, 2 * t + 1)
            store(a, at, u * c - v * s)
            store(a, plane + at, u * s + v * c)

    @njit
    def fill(x: Pointer, a: Pointer, line: int, lines: int, space: int, n: int, count: int,
             step: int, parts: int, window: Pointer, half: int, sign: int) -> None:  # fmt: skip
        """Copy one line into those side by side, for the inverse its conjugate."""
        plane = space * lines
        for t in range(n, space):
            store(a, t * lines + line, cast(0.0))
            store(a, plane + t * lines + line, cast(0.0))
        for t in range(n):
            is_mirrored = half != 0 and t > n // 2
            at = n - t if is_mirrored else t
            u: Any = cast(0.0)
            v: Any = cast(0.0)
            if at < count:
                u = cast(read(x, at * step))
                if parts == 2:
                    v = cast(read(x, at * step + 1))
                if window != 0:
                    u, v = u * cast(read(window, t)), v * cast(read(window, t))
                v = v * cast(-1.0) if is_mirrored != (sign < 0) else v
                v = cast(0.0) if half != 0 and (t == 0 or 2 * t == n) else v
            store(a, t * lines + line, u)
            store(a, plane + t * lines + line, v)

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, window: Pointer, table: Pointer, chirp: Pointer, spectrum: Pointer, y: Pointer,
        outer: int, inner: int, n: int, space: int,
        count: int, bins: int, x_outer: int, x_inner: int, x_step: int, x_parts: int,
        y_outer: int, y_inner: int, y_step: int, y_parts: int, sign: int, half: int,
        inverse_of: int, side_by_side: int, scratch: Pointer, scratch_bytes: int,
    ) -> int:  # fmt: skip
        total = outer * inner
        blocks = (total + side_by_side - 1) // side_by_side
        first = scratch + thread * scratch_bytes
        second = first + 2 * space * side_by_side * size
        factor = cast(1.0 / inverse_of)
        for block in range(blocks * part // parts, blocks * until // parts):
            begin = block * side_by_side
            lines = min(side_by_side, total - begin)
            for line in range(lines):
                o, i = (begin + line) // inner, (begin + line) % inner
                fill(x + (o * x_outer + i * x_inner) * given_size, first, line, lines, space, n,
                     count, x_step, x_parts, window, half, sign)  # fmt: skip
                if space != n:
                    multiply(first, lines, space, chirp, n, line)
            found = transform(first, second, table, space, lines, cast(1.0))
            if space != n:
                for line in range(lines):
                    multiply(found, lines, space, spectrum, space, line)
                other = first if found == second else second
                found = transform(found, other, table, space, lines, cast(-1.0))
                for line in range(lines):
                    multiply(found, lines, space, chirp, n, line)
            for line in range(lines):
                o, i = (begin + line) // inner, (begin + line) % inner
                target = y + (o * y_outer + i * y_inner) * given_size
                for k in range(bins):
                    write(target, k * y_step, given(load(found, k * lines + line) * factor))
                    if y_parts == 2:
                        value = load(found, (space + k) * lines + line) * factor * cast(sign)
                        write(target, k * y_step + 1, given(value))
        return 0

    return body

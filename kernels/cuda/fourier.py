"""Discrete Fourier transforms of any length: a block of threads has a line at a time.

The algorithms are those of the CPU's kernels: Stockham's stages, and Bluestein's convolution for
lengths with a large prime factor. In a stage each thread computes numbers of the result from the
``factor`` numbers that they depend on. The fields are those of the CPU's kernels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cpu.fourier import length_for
from ..fields import Pointer
from .functions import device_function
from .kernel import Body, Fields, Launch, Limits, cuda_factory, cuda_kernel
from .launches import elements_of, over_scratches, over_tiles
from .memory import LOAD, SIZES, STORE, store_i64
from .numbers import SCOPE
from .threads import cuda

_NUMBERS: dict[str, Any] = {"f32": np.float32, "f64": np.float64}
_D = np.float64
_cospi, _sinpi = SCOPE["math_cospi"], SCOPE["math_sinpi"]
_length_for = device_function("int64")(length_for)


def _once(f: Fields, limits: Limits) -> Launch:
    return over_tiles(1, 1, limits)


@cuda_kernel(_once)
def count_length(counted: Pointer, n: int, status: Pointer) -> None:
    """counted[0] = the length of the transforms for one of length n."""
    store_i64(counted, 0, _length_for(n))


@cuda_factory
def roots_of_unity(dtype: str) -> Body:
    """table[0, k] and table[1, k]: real and imaginary part of exp(-2 pi i k / count)."""
    store, number = STORE[dtype], _NUMBERS[dtype]

    def body(table: Pointer, count: int, status: Pointer) -> None:
        for k in range(cuda.grid(1), count, cuda.gridsize(1)):
            turns = _D(2 * k) / _D(count)
            store(table, k, number(_cospi(turns)))
            store(table, count + k, number(-_sinpi(turns)))

    return Body(body, elements_of("count"))


@cuda_factory
def chirps(dtype: str) -> Body:
    """chirp[k] = exp(-pi i k**2 / n), and its conjugate at k and at length - k of ``mirrored``."""
    store, number = STORE[dtype], _NUMBERS[dtype]

    def body(chirp: Pointer, mirrored: Pointer, n: int, length: int, status: Pointer) -> None:
        for k in range(cuda.grid(1), length, cuda.gridsize(1)):
            at = min(k, length - k)
            turns = _D(at * at % (2 * n)) / _D(n)
            store(mirrored, 2 * k, number(_cospi(turns) if at < n else _D(0)))
            store(mirrored, 2 * k + 1, number(_sinpi(turns) if at < n else _D(0)))
            if k < n:
                turns = _D(k * k % (2 * n)) / _D(n)
                store(chirp, 2 * k, number(_cospi(turns)))
                store(chirp, 2 * k + 1, number(-_sinpi(turns)))

    return Body(body, elements_of("length"))


@device_function("int64")
def _factor(left: Any) -> Any:
    """Return a factor of what is left of a length: odd ones first."""
    odd = left // (left & -left)
    if odd > 1:
        factor = 3
        while factor * factor <= odd:
            if odd % factor == 0:
                return factor
            factor += 2
        return odd
    return 4 if left % 4 == 0 else 2


def _stages(kind: str) -> Any:
    """Return the function of all stages of a transform."""
    load, store, number = LOAD[kind], STORE[kind], _NUMBERS[kind]

    @device_function("int64")
    def transform(x: Any, y: Any, table: Any, n: Any, sign: Any) -> Any:
        """Transform n numbers, real parts before imaginary ones; returns where they lie: x or y."""
        source, target, left, step = x, y, n, 1
        while left > 1:
            factor = _factor(left)
            m, apart = left // factor, n // factor
            for e in range(cuda.threadIdx.x, n, cuda.blockDim.x):
                q, j, p = e % step, e // step % factor, e // (step * factor)
                a = b = number(0)
                for k in range(factor):
                    root = (j * k % factor * apart + j * p * step) % n
                    c, s = load(table, root), sign * load(table, n + root)
                    at = q + step * (p + m * k)
                    u, v = load(source, at), load(source, n + at)
                    a += u * c - v * s
                    b += u * s + v * c
                store(target, e, a)
                store(target, n + e, b)
            cuda.syncthreads()
            source, target = target, source
            left, step = m, step * factor
        return source

    return transform


def _lines(f: Fields, limits: Limits) -> Launch:
    return over_scratches(f["outer"] * f["inner"], limits)


@cuda_factory
def fourier(dtype: str, kind: str) -> Body:
    """Transform lines (outer, inner) of ``count`` numbers; two of them fit a block's scratch."""
    read, write, given = LOAD[dtype], STORE[dtype], _NUMBERS[dtype]
    load, store, number = LOAD[kind], STORE[kind], _NUMBERS[kind]
    transform, given_size, size = _stages(kind), SIZES[dtype], SIZES[kind]

    def body(
        x: Pointer, window: Pointer, table: Pointer, chirp: Pointer, spectrum: Pointer, y: Pointer,
        outer: int, inner: int, n: int, space: int, count: int, bins: int, x_outer: int,
        x_inner: int, x_step: int, x_parts: int, y_outer: int, y_inner: int, y_step: int,
        y_parts: int, sign: int, half: int, inverse_of: int, scratch: Pointer,
        scratch_bytes: int, status: Pointer,
    ) -> None:  # fmt: skip
        first = scratch + cuda.blockIdx.x * scratch_bytes
        second, factor = first + 2 * space * size, number(1) / number(inverse_of)
        for line in range(cuda.blockIdx.x, outer * inner, cuda.gridDim.x):
            source = x + (line // inner * x_outer + line % inner * x_inner) * given_size
            target = y + (line // inner * y_outer + line % inner * y_inner) * given_size
            for t in range(cuda.threadIdx.x, space, cuda.blockDim.x):
                is_mirrored = half != 0 and t > n // 2
                at = n - t if is_mirrored else t
                u = v = number(0)
                if t < n and at < count:
                    u = number(read(source, at * x_step))
                    if x_parts == 2:
                        v = number(read(source, at * x_step + 1))
                    if window != 0:
                        weight = number(read(window, t))
                        u, v = u * weight, v * weight
                    if is_mirrored != (sign < 0):  # for the inverse conjugate numbers
                        v = -v
                    if half != 0 and (t == 0 or 2 * t == n):
                        v = number(0)
                if space != n and t < n:
                    c, s = load(chirp, 2 * t), load(chirp, 2 * t + 1)
                    u, v = u * c - v * s, u * s + v * c
                store(first, t, u)
                store(first, space + t, v)
            cuda.syncthreads()
            found = transform(first, second, table, space, number(1))
            if space != n:
                for t in range(cuda.threadIdx.x, space, cuda.blockDim.x):
                    c, s = load(spectrum, 2 * t), load(spectrum, 2 * t + 1)
                    u, v = load(found, t), load(found, space + t)
                    store(found, t, u * c - v * s)
                    store(found, space + t, u * s + v * c)
                cuda.syncthreads()
                other = first if found == second else second
                found = transform(found, other, table, space, number(-1))
            for k in range(cuda.threadIdx.x, bins, cuda.blockDim.x):
                u, v = load(found, k), load(found, space + k)
                if space != n:
                    c, s = load(chirp, 2 * k), load(chirp, 2 * k + 1)
                    u, v = u * c - v * s, u * s + v * c
                write(target, k * y_step, given(u * factor))
                if y_parts == 2:
                    write(target, k * y_step + 1, given(v * factor * number(sign)))
            cuda.syncthreads()

    return Body(body, _lines)

"""DFT and STFT of any length, against numpy and onnx.reference."""

from __future__ import annotations

import numpy as np
import pytest
from onnx.helper import make_node

FLOAT = np.float32
LENGTHS = [1, 2, 3, 4, 5, 8, 12, 30, 49, 53, 106, 127, 128, 240, 1009]


def spectrum(x, n=None):
    z = x[..., 0].astype(np.float64)
    if x.shape[-1] == 2:
        z = z + 1j * x[..., 1]
    return np.fft.fft(z, n, axis=1)


def parts(z, dtype):
    return np.stack([z.real, z.imag], -1).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", LENGTHS)
def test_forward(check, rng, n, dtype):
    """Lengths that are numbers, and those that are known only when they come."""
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    node = make_node("DFT", ["x", "", "a"], ["y"])
    for lines, kind in ((1, 1), (3, 2), (40, 1)):
        x = rng.standard_normal((lines, n, kind)).astype(dtype)
        wanted = [[parts(spectrum(x), dtype)]]
        for dims in (None, {"x": ["b", "n", "p"]}):
            check([node], {"x": x}, {"a": np.array(1)}, dims=dims, wanted=wanted,
                  tolerance=tolerance, threads=[2])  # fmt: skip


@pytest.mark.parametrize("n", [1, 2, 6, 7, 59])
def test_half_of_a_spectrum_becomes_real_numbers(check, rng, n):
    z = rng.standard_normal((2, n // 2 + 1, 2)).astype(FLOAT)
    wanted = np.fft.irfft(z[..., 0] + 1j * z[..., 1].astype(np.float64), n, axis=1)
    node = make_node("DFT", ["x", "n", "a"], ["y"], inverse=1, onesided=1)
    weights = {"n": np.array(n), "a": np.array(1)}
    check([node], {"x": z}, weights, wanted=[[wanted[..., None].astype(FLOAT)]], tolerance=1e-5)


def test_lengths_that_are_data(check, rng):
    node = make_node("DFT", ["x", "n", "a"], ["y"])
    x = rng.standard_normal((2, 20, 1)).astype(FLOAT)
    feeds = [{"x": x, "n": np.array(n)} for n in (20, 7, 32, 53)]
    wanted = [[parts(spectrum(x, int(feed["n"])), FLOAT)] for feed in feeds]
    check([node], feeds, {"a": np.array(1)}, wanted=wanted, tolerance=1e-5)


def test_lengths_below_one_are_refused(refused, rng):
    node = make_node("DFT", ["x", "n"], ["y"], name="spectrum")
    x = rng.standard_normal((2, 20, 1)).astype(FLOAT)
    for n in (0, -3):
        assert "spectrum" in refused([node], {"x": x, "n": np.array(n)})
        assert "spectrum" in refused([node], {"x": x}, {"n": np.array(n)})


@pytest.mark.parametrize("frame", [16, 20, 50])
def test_frames(check, rng, frame):
    node = make_node("STFT", ["x", "s", "w"], ["y"], onesided=1)
    window = np.hanning(frame).astype(FLOAT)
    feeds = [{"x": rng.standard_normal((2, n, 1)).astype(FLOAT)} for n in (200, 333, frame)]
    check([node], feeds, {"s": np.array(7), "w": window}, threads=[1, 3], tolerance=1e-5)


def test_a_real_signal_may_leave_out_its_last_axis(check, rng):
    node = make_node("STFT", ["x", "s", "w"], ["y"])
    weights = {"s": np.array(5), "w": np.hanning(20).astype(FLOAT)}
    x = rng.standard_normal((2, 90)).astype(FLOAT)
    check([node], {"x": x}, weights, dims={"x": ["b", "n"]}, tolerance=1e-5)


def test_frames_that_a_signal_has_not_are_refused(refused, rng):
    node = make_node("STFT", ["x", "s", "", "n"], ["y"], name="frames")
    x = rng.standard_normal((1, 20, 1)).astype(FLOAT)
    for step, length in ((0, 8), (-2, 8), (2, 21)):
        numbers = {"s": np.array(step), "n": np.array(length)}
        assert "frames" in refused([node], {"x": x, **numbers})
        assert "frames" in refused([node], {"x": x}, numbers)

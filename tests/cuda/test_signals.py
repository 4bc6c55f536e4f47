"""Fourier transforms, windows, and what small matrices have: determinants and inverses."""

import numpy as np
import pytest
from onnx import TensorProto, helper
from sardonyx.tools.cuda_cases.both import same_as_cpu
from sardonyx.tools.cuda_cases.runs import check, floats, model_of, on_gpu

node = helper.make_node


@pytest.mark.parametrize("n", [1, 2, 6, 16, 45, 53, 60])
@pytest.mark.parametrize("options", [{}, {"inverse": 1}, {"onesided": 1}])
def test_transforms_of_lines(n, options):
    parts = 1 if "onesided" in options else 2
    x, axis = floats(2, n, 3, parts), {"axis": np.array(1)}
    got = on_gpu(model_of([node("DFT", ["x", "", "axis"], ["y"], **options)], {"x": x}, axis))
    whole = x[..., 0] + (1j * x[..., 1] if parts == 2 else 0)
    wanted = np.fft.ifft(whole, axis=1) if "inverse" in options else np.fft.fft(whole, axis=1)
    wanted = wanted[:, : n // 2 + 1] if "onesided" in options else wanted
    result = got.run(None, {"x": x})[0]
    np.testing.assert_allclose(result, np.stack([wanted.real, wanted.imag], -1), atol=1e-5)


def test_a_length_that_is_data():
    feeds = {"x": floats(2, 9, 2), "n": np.array(7)}
    same_as_cpu(node("DFT", ["x", "n"], ["y"]), feeds)


@pytest.mark.parametrize("onesided", [0, 1])
def test_frames(onesided):
    window = {"w": np.hanning(8).astype(np.float32), "step": np.array(3)}
    check([node("STFT", ["x", "step", "w"], ["y"], onesided=onesided)],
          {"x": floats(2, 23, 1)}, window, tolerance=1e-4)  # fmt: skip


@pytest.mark.parametrize("operator", ["HannWindow", "HammingWindow", "BlackmanWindow"])
@pytest.mark.parametrize("periodic", [0, 1])
def test_windows(operator, periodic):
    feeds = {"n": np.array(11)}
    check([node(operator, ["n"], ["y"], periodic=periodic)], feeds)
    check([node(operator, ["n"], ["y"], output_datatype=TensorProto.DOUBLE)], feeds)


def test_mel_filters():
    names = ["bins", "length", "rate", "low", "high"]
    given = {"bins": 4, "length": 32, "rate": 8000, "low": 0.0, "high": 4000.0}
    arrays = {name: np.array(given[name]) for name in names[:3]}
    arrays |= {name: np.array(given[name], np.float32) for name in names[3:]}
    check([node("MelWeightMatrix", names, ["y"])], {"bins": arrays.pop("bins")}, arrays)


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_determinants_and_inverses(n):
    x = floats(3, n, n)
    x[1, 0] = 0  # singular
    check([node("Det", ["x"], ["y"])], {"x": x}, tolerance=1e-4)
    session = same_as_cpu(node("Inverse", ["x"], ["y"], domain="com.microsoft"), {"x": x})
    assert np.isnan(session.run(None, {"x": x})[0][1]).all()

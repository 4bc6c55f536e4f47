"""One node on the simulated GPU and on the CPU: where onnx.reference is not to be followed."""

from __future__ import annotations

import numpy as np
import onnx

from ...runtime.session import Session
from .runs import Feeds, kernels_elsewhere, model_of, on_gpu


def same_as_cpu(one: onnx.NodeProto, feeds: Feeds, weights: Feeds | None = None) -> Session:
    """Compare a node's results; the GPU runs all its steps."""
    model = model_of([one], feeds, weights)
    session, cpu = on_gpu(model), Session(model.SerializeToString())
    np.testing.assert_equal(kernels_elsewhere(session), [])
    for got, wanted in zip(session.run(None, feeds), cpu.run(None, feeds), strict=True):
        np.testing.assert_equal((got.shape, got.dtype), (wanted.shape, wanted.dtype))
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
    return session

"""Runs that another thread stops."""

import threading
import time

import numpy as np
import onnx.parser
import pytest
import sardonyx

MODEL = onnx.parser.parse_model(
    """<ir_version: 8, opset_import: ["": 17]>
    agraph (int64 n, float[64, 64] x) => (float[64, 64] y) {
        c = Constant<value = bool {1}>()
        y = Loop(n, c, x) <body = inner (int64 i, bool ci, float[64, 64] a)
            => (bool co, float[64, 64] o) { co = Identity(ci) o = MatMul(a, a) }>
    }"""
).SerializeToString()
X = np.eye(64, dtype=np.float32)
ENDLESS = {"n": np.array(10**12), "x": X}
SHORT = {"n": np.array(2), "x": X}


@pytest.fixture(scope="module")
def session():
    return sardonyx.Session(MODEL, threads=1)


def test_a_cancelled_run_stops_and_others_go_on(session):
    cancellation = sardonyx.Cancellation()
    timer = threading.Timer(0.2, cancellation.cancel)
    timer.start()
    with pytest.raises(sardonyx.KernelError, match="cancelled"):
        session.run(None, ENDLESS, cancellation)
    timer.join()
    assert cancellation.is_cancelled
    np.testing.assert_array_equal(session.run(None, SHORT)[0], X)
    with pytest.raises(sardonyx.KernelError, match="before it began"):
        session.run(None, SHORT, cancellation)
    cancellation.renew()
    np.testing.assert_array_equal(session.run(None, SHORT, cancellation)[0], X)


def test_one_request_stops_all_its_runs(session):
    cancellation = sardonyx.Cancellation()
    futures = [session.run_async(None, ENDLESS, cancellation=cancellation) for _ in range(2)]
    time.sleep(0.3)
    cancellation.cancel()
    for future in futures:
        with pytest.raises(sardonyx.KernelError, match="cancelled"):
            future.result(60)


def test_a_request_that_comes_too_late_reaches_no_other_run(session):
    context = session.engine.idle[0] if session.engine.idle else None
    for _ in range(50):
        cancellation = sardonyx.Cancellation()
        timer = threading.Thread(target=cancellation.cancel)
        timer.start()
        try:
            session.run(None, SHORT, cancellation)
        except sardonyx.KernelError as error:
            assert "cancelled" in str(error)
        timer.join()
        np.testing.assert_array_equal(session.run(None, SHORT)[0], X)
    assert context is None or context in session.engine.idle

"""Servers of their own: how they begin and end, and what changes below them."""

import json
import os
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import onnx
import pytest
from sardonyx.tests.serve import models
from sardonyx.tests.serve.serving import Serving, array_of
from sardonyx.tests.serve.test_bad_requests import long_request

pytest.importorskip("starlette", reason="the extra 'serve' is not installed")
X = np.array([[1, 2, 3, 4]], np.float32)


@pytest.fixture
def begin(tmp_path):
    begun = []

    def start(*arguments):
        begun.append(Serving(*(arguments or [tmp_path]), "--threads", "1"))
        return begun[-1].wait()

    yield start
    for each in begun:
        each.stop()


def scaled(factor):
    return models.made(
        f"""scaled (float[N, 4] x) => (float[N, 4] y) <float w = {{{factor}}}> {{
            y = Mul(x, w)
        }}"""
    )


def put(model, path):
    """Write a model as one should: beside it, and then in its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path.with_name("new"))
    os.replace(path.with_name("new"), path)


def post(connection, head):
    connection.sendall(head)
    return connection.recv(1 << 16)


def test_a_stop_finishes_what_runs_and_refuses_what_is_new(begin, tmp_path):
    onnx.save(models.LONG, tmp_path / "long.onnx")
    server = begin()
    # Half a second of work, measured: machines differ.
    began = time.perf_counter()
    assert (
        server.infer("long", {"n": np.array(2000), "x": np.zeros((64, 64), np.float32)})[0] == 200
    )
    n = int(2000 * 1.5 / (time.perf_counter() - began))
    running = socket.create_connection(("127.0.0.1", server.port))
    idle = socket.create_connection(("127.0.0.1", server.port))
    begun = socket.create_connection(("127.0.0.1", server.port))
    head, rest = long_request(1).split(b"\r\n\r\n")
    idle.sendall(b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\n\r\n")
    begun.sendall(head + b"\r\n\r\n")
    running.sendall(long_request(n))
    time.sleep(0.3)
    server.process.terminate()
    time.sleep(0.2)
    answer = post(begun, rest)
    assert answer.startswith(b"HTTP/1.1 503"), answer
    assert b"stopping" in answer
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.port)).recv(1)
        raise ConnectionResetError
    pieces = []
    while piece := idle.recv(1 << 16):
        pieces.append(piece)
    assert b"".join(pieces).startswith(b"HTTP/1.1 200")
    assert running.recv(1 << 16).startswith(b"HTTP/1.1 200")
    assert server.stop()[0] == 0


def test_versions_are_replaced_under_load(begin, tmp_path):
    """Each answer is that of one of the files, the last that of the last, none is lost."""
    for version in (1, 2):
        put(scaled(1), tmp_path / "m" / str(version) / "model.onnx")
    server = begin(tmp_path, "--max-batch", "4")
    seen, faults, is_over = {"1": [], "2": []}, [], threading.Event()

    def ask(version):
        body = {
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]
        }
        while not is_over.is_set():
            status, answer = server.post(f"v2/models/m/versions/{version}/infer", body)
            if status == 200:
                seen[version].append(array_of(answer, "y")[0, 0])
            else:
                faults.append(answer)

    threads = [threading.Thread(target=ask, args=(version,)) for version in "1212"]
    for thread in threads:
        thread.start()
    for factor in range(2, 6):
        for version in (1, 2):
            put(scaled(factor * version), tmp_path / "m" / str(version) / "model.onnx")
        assert server.post("v2/repository/models/m/load")[0] == 200
    (tmp_path / "m" / "1" / "model.onnx").write_bytes(b"damaged")
    status, answer = server.post("v2/repository/models/m/load")
    assert status == 400
    assert "cannot be opened" in answer["error"]
    time.sleep(0.2)
    is_over.set()
    for thread in threads:
        thread.join()
    assert not faults
    for version in "12":
        assert len(seen[version]) > 10
        assert set(seen[version]) <= {1.0, *(float(f * int(version)) for f in range(2, 6))}
        assert seen[version][-1] == 5.0 * int(version)  # the damaged file did not replace it
    index = server.post("v2/repository/index")[1]
    assert [each["state"] for each in index] == ["READY", "READY"]
    assert index[0]["reason"]


def test_models_come_and_go(begin, tmp_path):
    put(scaled(2), tmp_path / "a.onnx")
    server = begin()
    put(scaled(3), tmp_path / "b" / "1" / "model.onnx")
    assert server.infer("b", {"x": X})[0] == 404
    assert server.post("v2/repository/models/b/load")[0] == 200
    assert array_of(server.infer("b", {"x": X})[1], "y")[0, 0] == 3
    put(scaled(4), tmp_path / "b" / "2" / "model.onnx")
    (tmp_path / "b" / "1" / "model.onnx").unlink()
    assert server.post("v2/repository/models/b/load")[0] == 200
    assert server.get("v2/models/b")[1]["versions"] == ["2"]
    assert server.post("v2/repository/models/b/unload")[0] == 200
    status, answer = server.infer("b", {"x": X})
    assert status == 404
    assert "unloaded" in answer["error"]
    assert server.post("v2/repository/models/b/load", {"parameters": {"config": "{}"}})[0] == 400
    assert server.post("v2/repository/models/..%2fb/load")[0] == 404
    assert server.infer("a", {"x": X})[0] == 200


def test_unloading_answers_what_was_asked(begin, tmp_path):
    onnx.save(models.LONG, tmp_path / "long.onnx")
    server = begin()
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.sendall(long_request(20_000))
    time.sleep(0.1)
    assert server.post("v2/repository/models/long/unload")[0] == 200
    assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")


def test_a_read_only_repository_stays(begin, tmp_path):
    put(scaled(2), tmp_path / "a.onnx")
    server = begin(tmp_path, "--read-only")
    assert server.post("v2/repository/models/a/unload")[0] == 403
    assert server.post("v2/repository/models/a/load")[0] == 403
    assert server.infer("a", {"x": X})[0] == 200


def test_weights_beside_a_model_are_a_part_of_it(begin, tmp_path):
    model = models.made(
        "w (float[N, 4] x) => (float[N, 4] y) <float[4] w = {1, 2, 3, 4}> { y = Mul(x, w) }"
    )
    weights = onnx.numpy_helper.from_array(np.array([1, 2, 3, 4], np.float32), "w")
    model.graph.initializer[0].CopyFrom(weights)  # as bytes, which may lie in another file
    (tmp_path / "w").mkdir()
    onnx.save(model, tmp_path / "w" / "model.onnx", save_as_external_data=True, location="w.bin",
              size_threshold=0)  # fmt: skip
    server = begin()
    assert array_of(server.infer("w", {"x": X})[1], "y").tolist() == [[1, 4, 9, 16]]
    new = tmp_path / "w" / "w.new"
    new.write_bytes(np.array([2, 2, 2, 2], np.float32).tobytes())
    os.replace(new, tmp_path / "w" / "w.bin")
    assert server.post("v2/repository/models/w/load")[0] == 200
    assert array_of(server.infer("w", {"x": X})[1], "y").tolist() == [[2, 4, 6, 8]]


def command(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "sardonyx.tools.cli", "serve", "--port", "0", *map(str, arguments)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stderr


def test_what_cannot_be_served_at_all_ends_with_the_reason(tmp_path):
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no model")
    code, told = command(bad)
    assert code == 1
    assert "error:" in told and "bad.onnx" in told
    code, told = command(tmp_path / "none.onnx")
    assert code == 1
    assert "no file or folder" in told
    onnx.save(models.TWICE, tmp_path / "a.onnx")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, told = command(tmp_path / "a.onnx", "--port", taken.getsockname()[1])
    assert code == 1
    assert "cannot listen" in told
    (tmp_path / "other").mkdir()
    onnx.save(models.TWICE, tmp_path / "other" / "a.onnx")
    code, told = command(tmp_path / "a.onnx", tmp_path / "other")
    assert code == 1
    assert "are both version 1" in told


def test_the_package_alone_brings_no_server(tmp_path):
    """Without the extra, the command says what is missing; nothing else needs it."""
    (tmp_path / "starlette.py").write_text("raise ImportError('not here')")
    code = (
        "import sys, sardonyx.tools.cli;"
        "assert not {'starlette', 'uvicorn', 'orjson', 'prometheus_client'} & set(sys.modules);"
        "sardonyx.tools.cli.main(['serve', 'a.onnx'])"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 1
    assert "sardonyx[serve]" in done.stderr


def test_folders_are_read_as_they_are_laid_out(tmp_path):
    from sardonyx.tools.serving.model_files import find_models

    for path in (
        "plain.onnx", "kept.sdx", "one/model.onnx", "named/x.onnx", "two/a.onnx", "two/b.onnx",
        "v/1/model.onnx", "v/12/model.onnx", "v/007/model.onnx", "v/x/model.onnx", ".git/a.onnx",
        "notes.txt", "empty/readme",
    ):  # fmt: skip
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    found = [(each.name, each.version) for each in find_models([tmp_path])]
    assert found == [
        ("kept", "1"), ("named", "1"), ("one", "1"), ("plain", "1"), ("v", "1"), ("v", "12"),
    ]  # fmt: skip
    assert json.dumps(found)

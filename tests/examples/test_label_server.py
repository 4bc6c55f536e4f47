"""Labels over HTTP."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from http.client import HTTPConnection

import numpy as np
import onnx
import pytest
import sardonyx
from sardonyx.tools import demo


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    path = tmp_path_factory.mktemp("served") / "digits.sdx"
    sardonyx.Session(demo.DATA / "digits.onnx").save(path)
    return path


@pytest.fixture
def server(example):
    return example("label_server")


@pytest.fixture(scope="module")
def digits():
    return demo.held_out_images()


def post(port, body, kind):
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/", body, {"Content-Type": kind})
    response = connection.getresponse()
    return response.status, json.load(response)


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_answers_are_the_sessions(artifact, server, digits):
    names = [f"the digit {number}" for number in range(10)]
    with sardonyx.Session(artifact, threads=1) as session, server.serving(session, names) as port:
        for image, label in zip(digits.pixels[:5], digits.labels[:5], strict=True):
            answer = server.ask(port, image)
            assert answer["label"] == names[label]
            assert list(answer["probabilities"]) == names
            wanted = session(image[None])[0].tolist()
            assert list(answer["probabilities"].values()) == wanted
            assert post(port, json.dumps(image.tolist()), "application/json") == (200, answer)


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        (b"", "application/octet-stream", "0 bytes came"),
        (b"no array", "application/octet-stream", "magic"),
        (npy(np.zeros((1, 8, 8)))[:-1], "application/octet-stream", "EOF|reshape"),
        (npy(np.zeros((3, 8, 8))), "application/octet-stream", "pixels"),
        (npy(np.array([{}])), "application/octet-stream", "allow_pickle"),
        (b"[[[1, 2", "application/json", "delimiter"),
        (b'{"image": 1}', "application/json", "dict"),
        (b"[[1], [2, 3]]", "application/json", "inhomogeneous"),
    ],
)
def test_what_is_no_image_is_refused_with_the_reason(body, kind, reason, artifact, server, digits):
    with server.serving(sardonyx.Session(artifact, threads=1)) as port:
        status, answer = post(port, body, kind)
        assert status == 400
        with pytest.raises(AssertionError, match=reason):
            raise AssertionError(answer["error"])
        assert server.ask(port, digits.pixels[0])["label"] == str(digits.labels[0])


def test_a_server_says_what_it_cannot_serve(artifact, server):
    session = sardonyx.Session(artifact)
    with pytest.raises(sardonyx.InvalidArgument, match="2 labels, but the model has 10 classes"):
        server.LabelServer(session, ["cat", "dog"])
    node = onnx.helper.make_node("Add", ["a", "b"], ["c"])
    a, b, c = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 10])
        for name in "abc"
    )
    adds = onnx.helper.make_model(
        onnx.helper.make_graph([node], "adds", [a, b], [c]),
        opset_imports=[onnx.helper.make_opsetid("", 18)],
        ir_version=10,
    )
    with pytest.raises(sardonyx.InvalidArgument, match="does not classify"):
        server.LabelServer(sardonyx.Session(adds))
    with (
        server.LabelServer(session) as first,
        pytest.raises(sardonyx.InvalidArgument, match=f"port {first.server_port}: .*in use"),
    ):
        server.LabelServer(session, port=first.server_port)


def test_it_is_asked_once(artifact, server, digits, tmp_path, capsys):
    np.save(tmp_path / "image.npy", digits.pixels[0])
    server.main([str(artifact), "--once", str(tmp_path / "image.npy")])
    assert json.loads(capsys.readouterr().out)["label"] == str(digits.labels[0])


def test_it_serves_until_it_is_interrupted(artifact, server, digits):
    command = [sys.executable, "-u", server.__file__, str(artifact), "--port", "0"]
    # What runs in the background has SIGINT ignored, and so has what it starts.
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        said = process.stdout.readline()
        assert said.startswith("POST images of 1×8×8 to http://127.0.0.1:")
        answer = server.ask(int(said.rpartition(":")[2]), digits.pixels[0])
        assert answer["label"] == str(digits.labels[0])
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()

import json
import socket
import time

import numpy as np
import pytest

GOOD = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}


def asked(server, body, **headers):
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.post("v2/models/twice/infer", body, given)


def tensor(**changes):
    return {"inputs": [{**GOOD, **changes}]}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "no valid JSON"),
        (b"{", "no valid JSON"),
        (b"\xff\xfe", "no valid JSON"),
        (b"[" * 100_000, "no valid JSON"),
        (b'{"a":' * 100_000, "no valid JSON"),
        (b"[]", "an object"),
        (b'{"inputs": [{"name": "x", "data": [NaN]}]}', "no valid JSON"),
        (b'{"inputs": [{"name": "x", "data": [Infinity]}]}', "no valid JSON"),
        ({}, "'inputs' must be a list"),
        ({"inputs": {}}, "'inputs' must be a list"),
        ({"inputs": [1]}, "'inputs' must be a list of objects"),
        ({"inputs": []}, "inputs missing: \\['x'\\]"),
        ({"inputs": [GOOD, GOOD]}, "twice"),
        ({"inputs": [GOOD], "id": 3}, "'id'"),
        ({"inputs": [GOOD], "parameters": []}, "'parameters'"),
        ({"inputs": [GOOD], "parameters": {"binary_data_output": 1}}, "true or false"),
        ({"inputs": [GOOD], "parameters": {"timeout": -1}}, "microseconds"),
        ({"inputs": [GOOD], "outputs": 3}, "'outputs' must be"),
        ({"inputs": [GOOD], "outputs": [{"name": "z"}]}, "no output 'z'"),
        ({"inputs": [GOOD], "outputs": [{"name": []}]}, "no output"),
        ({"inputs": [GOOD], "outputs": [{"name": "y"}, {"name": "y"}]}, "twice"),
        (tensor(name="z"), "no input 'z'"),
        (tensor(name=None), "no input"),
        (tensor(name={}), "no input"),
        (tensor(datatype="FP64"), "expected datatype FP32"),
        (tensor(datatype=None), "expected datatype FP32"),
        (tensor(shape=[1, 5]), "expected shape"),
        (tensor(shape=[4]), "expected shape"),
        (tensor(shape=[-1, 4]), "'shape' must be"),
        (tensor(shape=[1.0, 4]), "'shape' must be"),
        (tensor(shape=[True, 4]), "'shape' must be"),
        (tensor(shape="14"), "'shape' must be"),
        (tensor(shape=[1] * 100), "'shape' must be"),
        (tensor(shape=[1 << 70, 4]), "no valid JSON|'shape' must be"),
        (tensor(shape=[1 << 60, 4]), "has \\d+ elements"),
        (tensor(shape=[2, 4]), "8 elements, 'data' has 4"),
        (tensor(data=None), "'data' must be a list"),
        (tensor(data="1234"), "'data' must be a list"),
        (tensor(data=[1, 2, 3]), "'data' has 3"),
        (tensor(data=[[1, 2], [3]]), "differ in length"),
        (tensor(data=[[1, 2], [3, 4]]), "'data' has shape"),
        (tensor(data=["1", 2, 3, 4]), "numbers"),
        (tensor(data=[None, 2, 3, 4]), "numbers"),
        (tensor(data=[{}, 2, 3, 4]), "numbers"),
        (tensor(data=[1e39, 2, 3, 4]), "beyond the range"),
        (tensor(parameters={"binary_data_size": 16}), "has 'data' and"),
        (tensor(parameters={"shared_memory_region": "a"}), "shared memory"),
        (tensor(parameters=1), "'parameters' of input"),
    ],
    ids=range(48),
)  # fmt: skip
def test_the_reason_is_told(server, body, told):
    import re

    status, answer = asked(server, body)
    assert status == 400, answer
    assert re.search(told, answer["error"]), answer
    assert asked(server, tensor())[0] == 200


@pytest.mark.parametrize(
    ("datatype", "data", "told"),
    [
        ("INT8", [128], "within -128 to 127"),
        ("UINT8", [-1], "within 0 to 255"),
        ("UINT64", [1 << 64], "integers|no valid JSON"),
        ("INT64", [1 << 63], "within"),
        ("INT32", [1.5], "integers"),
        ("INT32", ["1"], "integers"),
        ("BOOL", [2], "true or false"),
        ("BOOL", ["x"], "true or false"),
        ("FP16", [70000], "beyond the range"),
        ("BYTES", [1], "strings"),
        ("BYTES", [None], "strings"),
        ("BYTES", [["a"]], "has shape|strings"),
    ],
)
def test_elements_are_of_their_type(server, datatype, data, told):
    import re

    body = {"inputs": [{"name": "x", "datatype": datatype, "shape": [1, 1], "data": data}]}
    status, answer = server.post(f"v2/models/moved_{datatype}/infer", json.dumps(body).encode())
    if datatype == "BYTES" and data == [["a"]]:
        assert status == 200
        return
    assert status == 400, answer
    assert re.search(told, answer["error"]), answer


def binary(size=16, data=bytes(16), **changes):
    given = {**GOOD, "parameters": {"binary_data_size": size}, **changes}
    del given["data"]
    head = json.dumps({"inputs": [given]}).encode()
    return head + data, len(head)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (binary(data=bytes(15)), "15 bytes are left"),
        (binary(data=bytes(17)), "1 bytes are left behind"),
        (binary(size=15), "takes 16 bytes, 15 were given"),
        (binary(size=-1), "'binary_data_size' is -1"),
        (binary(size=1 << 62), "'binary_data_size' is"),
        (binary(size="16"), "'binary_data_size' is 16"),
        (binary(size=True), "'binary_data_size' is True"),
        (binary(shape=[1 << 40, 4]), "takes"),
        (binary(size=0, data=b"", shape=[0, 4]), None),
    ],
    ids=range(9),
)
def test_binary_data_are_as_large_as_they_say(server, made, told):
    body, header = made
    status, answer = asked(server, body, Inference_Header_Content_Length=str(header))
    if told is None:
        assert status == 200
        return
    assert status == 400
    assert told in answer["error"]


@pytest.mark.parametrize("value", ["-1", "x", "1e3", "9" * 30, "", "٣", "100000"])
def test_the_length_of_the_head_is_within_the_body(server, value):
    body, _ = binary()
    answer = server.raw(
        b"POST /v2/models/twice/infer HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Inference-Header-Content-Length: " + value.encode() + b"\r\n"
        b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body,
        until_close=False,
    )
    assert answer.startswith(b"HTTP/1.1 400"), answer


@pytest.mark.parametrize(
    "data",
    [b"\1\0\0\0", b"\1\0\0", b"\xff\xff\xff\xffa", b"\1\0\0\0a\1\0\0\0b", b"\1\0\0\0\xff", b""],
)
def test_strings_end_where_they_say(server, data):
    body, header = binary(len(data), data, datatype="BYTES", shape=[1, 1])
    headers = {"Inference-Header-Content-Length": str(header)}
    status, answer = server.post("v2/models/moved_BYTES/infer", body, headers)
    assert status == 400
    assert "string" in answer["error"]


def test_many_strings_that_are_not_there(server):
    body, header = binary(8, bytes(8), datatype="BYTES", shape=[1 << 31, 1 << 31])
    headers = {"Inference-Header-Content-Length": str(header)}
    assert server.post("v2/models/moved_BYTES/infer", body, headers)[0] == 400


@pytest.mark.parametrize("shape", [[0, 1 << 62], [1 << 62, 0]])
def test_sizes_beyond_memory_without_elements(server, shape):
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": shape, "data": []}]}
    status, answer = server.post("v2/models/moved_FP32/infer", body)
    assert status == 400, answer
    assert server.get("v2/health/live")[0] == 200


def test_an_index_out_of_range_is_the_clients(server):
    x = np.zeros((1, 4), np.float32)
    status, answer = server.infer("picked", {"x": x, "at": np.array([7])})
    assert status == 400
    assert "GatherElements" in answer["error"]


def test_inputs_that_disagree(server):
    x = np.zeros((2, 4), np.float32)
    status, answer = server.infer("picked", {"x": x, "at": np.array([1, 2, 3])})
    assert status == 400
    assert "'N'" in answer["error"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("v2/models/none", 404),
        ("v2/models/twice/versions/2", 404),
        ("v2/models/twice/versions/../../..", 404),
        ("v2/models/..%2f..%2fetc", 404),
        ("v2/models/%00/ready", 404),
        ("v2/models/" + "x" * 5000, 404),
        ("v2/models/twice/infer", 405),
        ("nothing", 404),
        ("trial/none/1/notes", 404),
    ],
)
def test_paths_that_lead_nowhere(server, path, status):
    found, answer = server.get(path)
    assert found == status
    assert answer["error"]


def test_what_is_too_large_is_refused_at_once(server):
    status, answer = asked(server, bytes(2_000_000))
    assert status == 413
    assert "limit is 1000000" in answer["error"]
    head = b"POST /v2/models/twice/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    assert server.raw(head + 30 * chunk + b"0\r\n\r\n").startswith(b"HTTP/1.1 413")
    assert server.get("v2/health/live")[0] == 200


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0\0\0",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v2/models/twice/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: " + b"b" * 300_000,
        b"GET /" + b"a" * 300_000,
        b"GET / HTTP/1.1\r\n" + 9000 * b"a: bbbbbbbbbbbbb\r\n",
    ],
    ids=range(7),
)
def test_what_is_no_http(server, data):
    answer = server.raw(data, until_close=False)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer[:200]
    assert server.get("v2/health/live")[0] == 200


def test_slow_clients_are_left(server):
    """The time of this server is 5 s."""
    heads = [
        b"",
        b"GET /v2 HTTP/1.1\r\nHost:",
        b"POST /v2/models/twice/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
    ]
    began = time.monotonic()
    connections = []
    for head in heads:
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        connection.sendall(head)
        connections.append(connection)
    answers = []
    for connection in connections:
        pieces = []
        try:
            while piece := connection.recv(1 << 16):
                pieces.append(piece)
        except ConnectionResetError:
            pass
        answers.append(b"".join(pieces))
        connection.close()
    assert 4 < time.monotonic() - began < 12
    assert answers[:2] == [b"", b""]
    assert answers[2].startswith(b"HTTP/1.1 408")


def long_request(n=10**9):
    inputs = [
        {"name": "n", "datatype": "INT64", "shape": [], "data": [n]},
        {"name": "x", "datatype": "FP32", "shape": [64, 64], "data": [0.0] * 4096},
    ]
    body = json.dumps({"inputs": inputs}).encode()
    return (
        b"POST /v2/models/long/infer HTTP/1.1\r\nHost: x\r\nContent-Length: "
        + str(len(body)).encode()
        + b"\r\n\r\n"
        + body
    )


def test_a_client_that_leaves_ends_its_run(server):
    before = server.metric("sardonyx_run_seconds_count", model="long")
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.sendall(long_request())
    time.sleep(0.5)
    assert server.metric("sardonyx_run_seconds_count", model="long") == before
    connection.close()
    until = time.monotonic() + 3  # less than the time that a run may take
    while server.metric("sardonyx_run_seconds_count", model="long") == before:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert server.metric("sardonyx_requests_total", model="long", status="499") >= 1


def test_a_run_ends_with_its_time(server):
    began = time.monotonic()
    answer = server.raw(long_request().replace(b"Host", b"Connection: close\r\nHost"),
                        until_close=False)  # fmt: skip
    assert answer.startswith(b"HTTP/1.1 504")
    assert 4 < time.monotonic() - began < 9


def test_a_full_queue_is_said(server):
    """Of 40 long requests some run, 32 wait, and the others are refused at once."""
    connections = []
    for _ in range(40):
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        connection.sendall(long_request())
        connections.append(connection)
    refused = 0
    until = time.monotonic() + 4
    for connection in connections:
        connection.settimeout(0.05)
        try:
            answer = connection.recv(1 << 16)
        except TimeoutError:
            continue
        refused += answer.startswith(b"HTTP/1.1 429")
        assert b"retry-after: 1" in answer
    assert time.monotonic() < until
    assert 4 <= refused <= 8
    for connection in connections:
        connection.close()
    status, _ = asked(server, tensor())
    assert status == 200

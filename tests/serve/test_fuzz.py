"""Drawn requests, most of them bad: each gets an answer that is right or a reason, for ever.

``FUZZ_CASES`` says how many; ``python -m pytest tests/serve/test_fuzz.py``.
"""

import http.client
import json
import os
import random

import numpy as np

CASES = int(os.environ.get("FUZZ_CASES", "3000"))
ODD = [
    None, True, False, 0, -1, 1, 4, 1.5, 1e308, -(1 << 63), 1 << 63, (1 << 64) - 1, 1 << 40, "",
    "x",
    "FP32", "BYTES", "INT64", "y", [], [1], [[1]], [[[[1]]]], [None], ["a"], {}, {"a": 1},
    "\0", "é" * 10, "x" * 3000, [1] * 70, [-1, 4], [0, 4], [4, 0], [1 << 31, 1 << 31],
]  # fmt: skip
MODELS = ("twice", "centred", "picked", "versions", "moved_BYTES", "moved_INT8", "moved_BF16")
HEADER = "Inference-Header-Content-Length"


def good(rng):
    """A request, and what must come of it."""
    rows = rng.randrange(1, 4)
    x = np.float32([[rng.random() for _ in range(4)] for _ in range(rows)])
    tensor = {"name": "x", "datatype": "FP32", "shape": [rows, 4]}
    headers = {}
    if rng.random() < 0.5:
        body = {"inputs": [{**tensor, "data": x.ravel().tolist()}], "id": "i"}
        return json.dumps(body).encode(), headers, 2 * x
    tensor["parameters"] = {"binary_data_size": x.nbytes}
    head = json.dumps({"inputs": [tensor], "outputs": [{"name": "y"}]}).encode()
    return head + x.tobytes(), {HEADER: str(len(head))}, 2 * x


def changed(value, rng):
    """A value of JSON with one place in it changed, dropped, doubled or grown."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        found = dict(value)
        kind = rng.random()
        if kind < 0.15:
            del found[key]
        elif kind < 0.25:
            found[rng.choice(["parameters", "data", "shape", "outputs", "id"])] = rng.choice(ODD)
        else:
            found[key] = changed(found[key], rng)
        return found
    if isinstance(value, list) and value and rng.random() < 0.85:
        index = rng.randrange(len(value))
        kind = rng.random()
        if kind < 0.2:
            return value[:index] + value[index + 1 :]
        if kind < 0.4:
            return value[: index + 1] + value[index:]
        return [*value[:index], changed(value[index], rng), *value[index + 1 :]]
    return rng.choice(ODD)


def damaged(body, rng):
    """Bytes with some changed, cut or put in."""
    data = bytearray(body)
    for _ in range(rng.randrange(1, 4)):
        place = rng.randrange(len(data) + 1)
        kind = rng.random()
        if kind < 0.4 and place < len(data):
            data[place] = rng.randrange(256)
        elif kind < 0.6:
            del data[place:]
        elif kind < 0.8:
            data[place:place] = rng.choice([b"[", b"{", b'"', b"\0", b"NaN", b"1e999", b"\xff"])
        else:
            data[place:place] = data[place // 2 : place]
    return bytes(data)


def bad(rng):
    body, headers, _ = good(rng)
    size = int(headers.get(HEADER, len(body)))
    if rng.random() < 0.7:
        found = json.loads(body[:size])
        for _ in range(rng.randrange(1, 4)):
            found = changed(found, rng)
        head = json.dumps(found).encode()
        body, size = head + body[size:], len(head)
    else:
        body = damaged(body, rng)
    if headers or rng.random() < 0.1:
        headers = {HEADER: str(size + (rng.choice([-1, 1, 7, -50]) if rng.random() < 0.2 else 0))}
    return body, headers


def result_of(response, content):
    size = int(response.getheader(HEADER) or len(content))
    output = json.loads(content[:size])["outputs"][0]
    return np.float32(output["data"]).reshape(output["shape"])


def memory(server):
    for line in server.get("metrics")[1].decode().splitlines():
        if line.startswith("process_resident_memory_bytes"):
            return float(line.split()[1])
    raise AssertionError


def test_no_request_touches_the_process(server):
    rng = random.Random(int(os.environ.get("FUZZ_SEED", "1")))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    counts, before = {}, 0.0
    for case in range(CASES):
        is_good = rng.random() < 0.25
        if is_good:
            body, headers, expected = good(rng)
            model = "twice"
        else:
            body, headers = bad(rng)
            model = rng.choice(MODELS)
        connection.request("POST", f"/v2/models/{model}/infer", body, headers)
        response = connection.getresponse()
        content = response.read()
        counts[response.status] = counts.get(response.status, 0) + 1
        assert response.status in (200, 400, 404, 406), (case, response.status, content, body[:500])
        if is_good:
            assert response.status == 200, (case, content)
            np.testing.assert_array_equal(result_of(response, content), expected)
        elif response.status != 200:
            assert json.loads(content)["error"], case
        if case == CASES // 3:
            before = memory(server)
    grown = memory(server) - before
    print(f"\n{CASES} requests: {counts}; memory grew by {grown / 2**20:.1f} MiB")
    assert counts[400] > CASES // 4
    assert grown < 64 << 20
    assert server.process.poll() is None

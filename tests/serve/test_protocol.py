import numpy as np
import pytest
from sardonyx.tests.serve.serving import array_of


def test_the_server_says_what_it_is(server):
    status, found = server.get("v2")
    assert status == 200
    assert found["name"] == "sardonyx"
    assert "binary_tensor_data" in found["extensions"]
    assert server.get("v2/health/live")[0] == 200
    assert server.get("v2/health/ready")[0] == 200


def test_a_model_says_what_it_takes(server):
    status, found = server.get("v2/models/versions")
    assert status == 200
    assert found["versions"] == ["2", "10"]
    assert found["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    assert found["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}]
    assert server.get("v2/models/versions/versions/2")[0] == 200
    assert server.get("v2/models/versions/versions/2/ready")[0] == 200
    assert server.get("v2/models/versions/ready")[0] == 200


def test_the_newest_version_answers(server, rng):
    x = rng.standard_normal((2, 4), np.float32)
    status, answer = server.infer("versions", {"x": x}, id="mine")
    assert status == 200
    assert (answer["model_version"], answer["id"]) == ("10", "mine")
    np.testing.assert_array_equal(array_of(answer, "y"), 2 * x)
    status, answer = server.post(
        "v2/models/versions/versions/2/infer",
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [[1, 2, 3, 4]]}]},
    )
    assert answer["model_version"] == "2"
    assert answer["outputs"][0]["data"] == [2.0, 4.0, 6.0, 8.0]


def test_the_index_says_why_a_model_is_not_ready(server):
    status, index = server.post("v2/repository/index")
    assert status == 200
    found = {(each["name"], each["version"]): each for each in index}
    assert found["twice", "1"]["state"] == "READY"
    assert found["broken", "1"]["state"] == "UNAVAILABLE"
    assert "onnx" in found["broken", "1"]["reason"].lower()
    assert "seq(tensor(float))" in found["sequence", "1"]["reason"]
    status, index = server.post("v2/repository/index", {"ready": True})
    assert {each["state"] for each in index} == {"READY"}


def test_joined_requests_are_counted_and_right(server, rng):
    import threading

    x = rng.standard_normal((16, 1, 4), np.float32)
    answers = [None] * 16

    def ask(index):
        answers[index] = server.infer("twice", {"x": x[index]})

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, (status, answer) in enumerate(answers):
        assert status == 200
        np.testing.assert_array_equal(array_of(answer, "y"), 2 * x[index])
    runs = server.metric("sardonyx_batch_rows_count", model="twice")
    rows = server.metric("sardonyx_batch_rows_sum", model="twice")
    assert 0 < runs < rows


def test_metrics_are_in_the_text_format(server):
    from prometheus_client.parser import text_string_to_metric_families

    server.infer("twice", {"x": np.zeros((1, 4), np.float32)})
    status, text = server.get("metrics")
    assert status == 200
    names = {family.name for family in text_string_to_metric_families(text.decode())}
    assert {
        "sardonyx_requests", "sardonyx_request_seconds", "sardonyx_queue_seconds",
        "sardonyx_run_seconds", "sardonyx_batch_rows", "sardonyx_queue_length",
        "sardonyx_model_ready", "process_resident_memory_bytes",
    } <= names  # fmt: skip


def test_names_that_clients_make_up_are_no_labels(server):
    before = len(server.get("metrics")[1].splitlines())
    for number in range(20):
        assert server.infer(f"none{number}", {"x": np.zeros((1, 4), np.float32)})[0] == 404
    assert len(server.get("metrics")[1].splitlines()) <= before + 1


def test_results_that_json_cannot_hold_are_refused(server):
    status, answer = server.infer("divided", {"x": np.zeros(3, np.float32)})
    assert status == 406
    assert "binary" in answer["error"]


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_bodies_may_be_compressed(server, coding):
    import gzip
    import json
    import zlib

    body = json.dumps(
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
    ).encode()
    packed = gzip.compress(body) if coding == "gzip" else zlib.compress(body)
    headers = {"Content-Encoding": coding}
    assert server.post("v2/models/twice/infer", packed, headers)[0] == 200
    assert server.post("v2/models/twice/infer", packed[:-4], headers)[0] == 400
    assert server.post("v2/models/twice/infer", b"nothing", headers)[0] == 400
    bomb = gzip.compress(bytes(10_000_000)) if coding == "gzip" else zlib.compress(bytes(10**7))
    assert server.post("v2/models/twice/infer", bomb, headers)[0] == 413
    assert server.post("v2/models/twice/infer", body, {"Content-Encoding": "br"})[0] == 415


def test_the_page_of_another_site_is_refused(server):
    x = {"inputs": []}
    path = "v2/models/twice/infer"
    assert server.post(path, x, {"Origin": "http://elsewhere.example"})[0] == 403
    assert server.post(path, x, {"Origin": "null"})[0] == 403
    assert server.post(path, x, {"Origin": f"http://{server.address}"})[0] == 400


def test_the_page_is_one_file(server):
    status, page = server.get("")
    assert status == 200
    text = page.decode()
    assert "http://" not in text.replace("http://www.w3.org/", "")
    assert "https://" not in text
    assert "<script src" not in text
    assert "@import" not in text

"""Conformance: requests of NVIDIA's client."""

import numpy as np
import pytest
from sardonyx.tests.serve.models import TYPES

http = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")
utils = pytest.importorskip("tritonclient.utils")


@pytest.fixture
def client(server):
    with http.InferenceServerClient(server.address, concurrency=8) as found:
        yield found


def tensor(name, array, datatype, binary=True):
    found = http.InferInput(name, list(array.shape), datatype)
    found.set_data_from_numpy(array, binary_data=binary)
    return found


def elements(datatype, rng):
    """Two rows of three elements, the extremes of the type among them."""
    dtype = np.dtype(utils.triton_to_np_dtype(datatype))
    if datatype == "BYTES":
        words = ["", "a", "zwölf", "日本", "with\0zero", "x" * 300]
        return np.array([word.encode() for word in words], object).reshape(2, 3)
    if datatype == "BOOL":
        return np.array([[True, False, False], [True, True, False]])
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return np.array([[limits.min, limits.max, 0], [1, 2, 3]], dtype)
    return np.array([[0.5, -1.25, 0.0], [1024.0, -0.0, 3.0]]).astype(dtype)


def same(got, expected):
    if expected.dtype.kind == "f" or expected.dtype.name == "bfloat16":
        assert got.tobytes() == expected.tobytes()
    np.testing.assert_array_equal(got, expected)
    assert got.shape == expected.shape


def test_health_and_metadata(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("twice")
    assert client.is_model_ready("versions", "2")
    assert not client.is_model_ready("versions", "3")
    assert not client.is_model_ready("none")
    assert client.get_server_metadata()["name"] == "sardonyx"
    assert client.get_model_metadata("versions")["versions"] == ["2", "10"]
    assert client.get_model_config("twice")["input"][0]["data_type"] == "TYPE_FP32"
    names = {each["name"] for each in client.get_model_repository_index()}
    assert {"twice", "versions", "broken"} <= names


@pytest.mark.parametrize("datatype", TYPES)
def test_all_types_both_ways_in_binary(client, rng, datatype):
    x = elements(datatype, rng)
    result = client.infer(f"moved_{datatype}", [tensor("x", x, datatype)], request_id="7")
    same(result.as_numpy("y"), np.ascontiguousarray(x.T))
    assert result.get_response()["id"] == "7"
    assert result.get_output("y")["datatype"] == datatype


@pytest.mark.parametrize("datatype", [each for each in TYPES if each not in ("FP16", "BF16")])
def test_all_types_both_ways_in_json(client, rng, datatype):
    x = elements(datatype, rng)
    wanted = [http.InferRequestedOutput("y", binary_data=False)]
    result = client.infer(f"moved_{datatype}", [tensor("x", x, datatype, False)], outputs=wanted)
    expected = np.ascontiguousarray(x.T)
    if datatype == "BYTES":
        expected = np.vectorize(bytes.decode, otypes=[object])(expected)
    same(result.as_numpy("y"), expected)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (1, 1)])
@pytest.mark.parametrize("datatype", ["FP32", "BYTES", "BOOL"])
def test_tensors_without_elements(client, datatype, shape):
    dtype = utils.triton_to_np_dtype(datatype)
    x = np.full(shape, b"x" if datatype == "BYTES" else 1, dtype)
    result = client.infer(f"moved_{datatype}", [tensor("x", x, datatype)])
    assert result.get_output("y")["shape"] == [*shape[::-1]]


def test_outputs_binary_and_json_at_once(client, rng):
    x = rng.standard_normal((2, 4), np.float32)
    at = np.array([3, 0])
    inputs = [tensor("at", at, "INT64", False), tensor("x", x, "FP32", True)]
    result = client.infer("picked", inputs)
    np.testing.assert_array_equal(result.as_numpy("y"), [x[0, 3], x[1, 0]])


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_requests(client, rng, coding):
    x = rng.standard_normal((2, 4), np.float32)
    result = client.infer(
        "twice", [tensor("x", x, "FP32")], request_compression_algorithm=coding,
        response_compression_algorithm=coding,
    )  # fmt: skip
    np.testing.assert_array_equal(result.as_numpy("y"), 2 * x)


def test_many_clients_share_models(client, rng):
    x = rng.standard_normal((40, 1, 4), np.float32)
    models = ("twice", "centred", "versions", "moved_FP32")
    running = [
        client.async_infer(models[index % 4], [tensor("x", each, "FP32")])
        for index, each in enumerate(x)
    ]
    for index, (each, request) in enumerate(zip(x, running, strict=True)):
        expected = (2 * each, 0 * each, 2 * each, each.T)[index % 4]
        np.testing.assert_array_equal(request.get_result().as_numpy("y"), expected)


@pytest.mark.parametrize(
    ("model", "name", "shape", "datatype", "told"),
    [
        ("none", "x", (1, 4), "FP32", "no model 'none'"),
        ("twice", "z", (1, 4), "FP32", "no input 'z'"),
        ("twice", "x", (1, 5), "FP32", "expected shape"),
        ("twice", "x", (4,), "FP32", "expected shape"),
        ("twice", "x", (1, 4), "INT32", "expected datatype FP32"),
        ("broken", "x", (1, 4), "FP32", "is not ready"),
    ],
)
def test_errors_reach_the_client(client, model, name, shape, datatype, told):
    x = np.zeros(shape, utils.triton_to_np_dtype(datatype))
    with pytest.raises(utils.InferenceServerException, match=told) as caught:
        client.infer(model, [tensor(name, x, datatype)])
    assert caught.value.status() in ("400", "404")


def test_what_is_not_offered_is_said(client):
    x = [tensor("x", np.zeros((1, 4), np.float32), "FP32")]
    with pytest.raises(utils.InferenceServerException, match="sequences"):
        client.infer("twice", x, sequence_id=3)
    with pytest.raises(utils.InferenceServerException, match="classification"):
        client.infer("twice", x, outputs=[http.InferRequestedOutput("y", class_count=2)])
    with pytest.raises(utils.InferenceServerException, match="no output 'z'"):
        client.infer("twice", x, outputs=[http.InferRequestedOutput("z")])
    with pytest.raises(utils.InferenceServerException, match="server's files"):
        client.load_model("twice", config="{}")


def test_the_time_that_a_client_gives_ends_a_run(client):
    x = [
        tensor("n", np.array(10**9), "INT64"),
        tensor("x", np.zeros((64, 64), np.float32), "FP32"),
    ]
    with pytest.raises(utils.InferenceServerException, match=r"within 0\.2 s") as caught:
        client.infer("long", x, timeout=200_000)
    assert caught.value.status() == "504"


def test_load_and_unload(client):
    client.load_model("centred")
    client.unload_model("centred")
    assert not client.is_model_ready("centred")
    assert client.is_server_ready()
    client.load_model("centred")
    assert client.is_model_ready("centred")
    for act in (client.load_model, client.unload_model):
        with pytest.raises(utils.InferenceServerException, match="no "):
            act("nothing")
    with pytest.raises(utils.InferenceServerException, match="cannot be opened"):
        client.load_model("broken")

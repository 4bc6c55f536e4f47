import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper
from sardonyx import InvalidArgument
from sardonyx.tools.feeds import input_names, make_feeds, parse_dims, read_feeds


def test_random_inputs_have_the_stated_sizes_and_are_repeatable(chain):
    feeds = make_feeds(chain, {}, ["n=5"])
    assert feeds["x"].shape == (5, 4) and feeds["x"].dtype == np.float32
    np.testing.assert_array_equal(feeds["x"], make_feeds(chain, {}, ["n=5"])["x"])
    assert (feeds["x"] != make_feeds(chain, {}, ["n=5"], seed=1)["x"]).any()
    assert make_feeds(chain, {}, ["x=2,4"])["x"].shape == (2, 4)


def test_given_inputs_are_used_and_unknown_ones_refused(chain):
    x = np.ones((2, 4), np.float32)
    assert make_feeds(chain, {"x": x})["x"] is x
    with pytest.raises(InvalidArgument, match="no input 'z'; the model has x"):
        make_feeds(chain, {"z": x})


def test_files(chain, tmp_path):
    x = np.ones((2, 4), np.float32)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", x=x)
    names = input_names(chain)
    assert names == ["x"]
    for text in ("x.npy", "x.npz"):
        np.testing.assert_array_equal(read_feeds([str(tmp_path / text)], names)["x"], x)
    named = read_feeds([f"y={tmp_path / 'x.npy'}"], names)
    assert list(named) == ["y"]
    with pytest.raises(InvalidArgument, match="not a readable"):
        read_feeds([str(tmp_path / "missing.npy")], names)
    (tmp_path / "bad.npy").write_bytes(b"not an array")
    with pytest.raises(InvalidArgument, match=r"bad\.npy"):
        read_feeds([str(tmp_path / "bad.npy")], names)


def test_dims():
    assert parse_dims(["x=1,3,2x2", "n=4"]) == {"x": (1, 3, 2, 2), "n": 4}
    for text in ("x", "x=", "=3", "x=a", "x=-1"):
        with pytest.raises(InvalidArgument, match="not of the form"):
            parse_dims([text])


def test_sizes_of_nothing_are_refused(chain):
    with pytest.raises(InvalidArgument, match="no input or dimension 'm'; there are x, n"):
        make_feeds(chain, {}, ["m=3"])


def model_of(dtype, shape):
    x = helper.make_tensor_value_info("x", dtype, shape)
    y = helper.make_tensor_value_info("y", dtype, shape)
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "test", [x], [y])
    return ir.from_proto(helper.make_model(graph))


@pytest.mark.parametrize(
    ("dtype", "shape", "text", "expected"),
    [
        (TensorProto.INT64, [], "9007199254740993", np.array(9007199254740993)),
        (TensorProto.FLOAT, ["n"], "-1.5,2", np.float32([-1.5, 2])),
        (TensorProto.BOOL, [], "1", np.array(True)),
        (TensorProto.STRING, ["n"], "yes,no", np.array(["yes", "no"], object)),
    ],
)
def test_numbers_become_inputs_of_the_models_type(dtype, shape, text, expected):
    model = model_of(dtype, shape)
    made = make_feeds(model, read_feeds([f"x={text}"], ["x"]))["x"]
    assert made.dtype == expected.dtype and made.shape == expected.shape
    assert (made == expected).all()


@pytest.mark.parametrize("text", ["16k", "1.5", "no.file"])
def test_what_is_no_number_of_the_type_is_refused(text):
    model = model_of(TensorProto.INT64, [])
    with pytest.raises(InvalidArgument, match=r"'x': .* neither a file nor numbers of int64"):
        make_feeds(model, read_feeds([f"x={text}"], ["x"]))

"""Lookup tables in functions, SavedModels and Keras."""

import numpy as np
import pytest
import sardonyx

tf = pytest.importorskip("tensorflow", reason="needs the extra tensorflow")
pytest.importorskip("tf2onnx", reason="needs the extra tensorflow")
keras = pytest.importorskip("keras", reason="needs the extra keras")
if keras.backend.backend() != "tensorflow":
    pytest.skip("layers with tables are those of TensorFlow", allow_module_level=True)

TEXTS = np.array(["a", "z", "c", ""], object)


def check(source, array):
    name = sardonyx.load(source).graph.inputs[0].name
    converted = sardonyx.convert(source, feeds={name: array})
    assert converted.agrees, (converted.unchecked, converted.outputs)


def table(keys, values, default):
    return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), default)


@pytest.mark.parametrize("values", [
    tf.constant([5, 6], tf.int64), tf.constant([5, 6], tf.int32), tf.constant([0.5, 6.0]),
    tf.constant(["x", "y"]),
], ids=lambda values: values.dtype.name)  # fmt: skip
@pytest.mark.parametrize(
    "keys",
    [tf.constant(["a", "c"]), tf.constant([3, 4], tf.int64)],
    ids=lambda keys: keys.dtype.name,
)
def test_tables_of_every_type_in_functions(keys, values):
    if keys.dtype != tf.string and values.dtype == tf.int32:
        pytest.skip("TensorFlow has no table from int64 to int32")
    found = table(keys, values, values[0])
    array = TEXTS if keys.dtype == tf.string else np.array([3, 9, 4])
    spec = tf.TensorSpec([None], keys.dtype, "x")
    check(tf.function(lambda x: found.lookup(x), input_signature=[spec]), array)


def test_saved_models_with_tables(tmp_path):
    class Model(tf.Module):
        def __init__(self):
            self.first = table(["a", "c"], tf.constant([5, 6], tf.int64), -1)
            self.second = table(["a", "z"], tf.constant([7, 8], tf.int64), -1)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "x")])
        def __call__(self, x):
            return {"y": self.first.lookup(x) + self.second.lookup(x), "n": self.first.size()}

    tf.saved_model.save(Model(), str(tmp_path))
    check(str(tmp_path), TEXTS)


def test_saved_models_of_version_1(tmp_path):
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.string, [None], "x")
        y = table(["a", "c"], tf.constant([5, 6], tf.int64), -1).lookup(x)
        session.run(v1.tables_initializer())
        initializer = v1.tables_initializer()
        v1.saved_model.simple_save(session, str(tmp_path / "m"), {"x": x}, {"y": y}, initializer)
    check(str(tmp_path / "m"), TEXTS)


@pytest.mark.parametrize("mode", ["int", "one_hot", "multi_hot", "count"])
def test_layers_with_vocabularies(mode, tmp_path):
    layers = keras.layers
    texts = keras.Input((1,), dtype="string")
    numbers = keras.Input((1,), dtype="int64")
    text_model = keras.Model(
        texts, layers.StringLookup(vocabulary=["a", "b", "c"], output_mode=mode)(texts)
    )
    check(text_model, TEXTS[:, None])
    several = {} if mode != "int" else {"num_oov_indices": 3}
    number_model = keras.Model(
        numbers, layers.IntegerLookup(vocabulary=[10, 20], output_mode=mode, **several)(numbers)
    )
    check(number_model, np.array([[10], [7], [20], [8]]))
    text_model.export(str(tmp_path), verbose=False)
    check(str(tmp_path), TEXTS[:, None])


def test_vocabularies_backwards():
    numbers = keras.Input((2,), dtype="int64")
    layer = keras.layers.StringLookup(vocabulary=["a", "b"], invert=True)
    check(keras.Model(numbers, layer(numbers)), np.array([[0, 1], [2, 1]]))


def test_what_onnx_cannot_express_is_named():
    texts = keras.Input((1,), dtype="string")
    model = keras.Model(texts, keras.layers.TextVectorization(vocabulary=["cat"])(texts))
    with pytest.raises(sardonyx.UnsupportedModel, match="StaticRegexReplace"):
        sardonyx.load(model)

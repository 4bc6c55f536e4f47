"""Models that onnxruntime's Python tests open, written from what these tests expect of them.

Debian's source package has the tests, and not the binary models.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, parser

_HEAD = '<ir_version: 8, opset_import: ["" : 15, "ai.onnx.ml" : 3, "com.microsoft" : 1]>'

_TEXTS = {
    "mul_1.onnx": """mul (float[3, 2] X) => (float[3, 2] Y) <float[3, 2] W = {1, 2, 3, 4, 5, 6}> {
        Y = Mul(X, W)
    }""",
    "matmul_1.onnx": """mul (float[3, 2] X) => (float[3, 1] Y) <float[2, 1] W = {1, 2}> {
        Y = MatMul(X, W)
    }""",
    "matmul_2.onnx": """mul (float[None, 2] X) => (float[None, 1] Y) <float[2, 1] W = {1, 2}> {
        Y = MatMul(X, W)
    }""",
    "identity_string.onnx": """text (string[2, 2] "input:0") => (string[2, 2] "output:0") {
        "output:0" = Identity("input:0")
    }""",
    "logicaland.onnx": """both (bool[2, 2] "input1:0", bool[2, 2] "input:0")
        => (bool[2, 2] "output:0") { "output:0" = And("input1:0", "input:0") }""",
    "sequence_length.onnx": """length (seq(float[M, N]) X) => (int64 Y) {
        Y = SequenceLength(X)
    }""",
    "sequence_construct.onnx": """made (int64[2, 3] tensor1, int64[2, 3] tensor2)
        => (seq(int64[2, 3]) output_sequence) {
        output_sequence = SequenceConstruct(tensor1, tensor2)
    }""",
    "sequence_insert.onnx": """inserted (seq(int64[2, 3]) input_seq, int64[2, 3] tensor)
        => (seq(int64[2, 3]) output_sequence) {
        output_sequence = SequenceInsert(input_seq, tensor)
    }""",
    "alloc_tensor_reuse.onnx": """two (float[10] inp0, float[10] inp1)
        => (float[10] outp0, float[10] outp1) {
        tsor0 = Add(inp0, inp1)
        tsor1 = Sub(inp0, inp1)
        outp0 = Neg(tsor0)
        outp1 = Neg(tsor1)
    }""",
    "mnist.onnx": """digits (float[1, 1, 28, 28] Input3) => (float[1, 10] Plus214_Output_0)
        <float[784, 10] W = {0}> {
        flat = Flatten(Input3)
        Plus214_Output_0 = MatMul(flat, W)
    }""",
    "zipmap_stringfloat.onnx": """zipped (float[M, 3] X) => (seq(map(string, float)) Z) {
        Z = ai.onnx.ml.ZipMap<classlabels_strings = ["class1", "class2", "class3"]>(X)
    }""",
    "zipmap_int64float.onnx": """zipped (float[M, 3] X) => (seq(map(int64, float)) Z) {
        Z = ai.onnx.ml.ZipMap<classlabels_int64s = [10, 20, 30]>(X)
    }""",
    "LabelEncoder.onnx": """labels (string[1, 1] input) => (int64[1, 1] variable) {
        variable = ai.onnx.ml.LabelEncoder<
            keys_strings = ["1", "2", "3", "4"], values_int64s = [0, 1, 2, 3]>(input)
    }""",
    "pipeline_vectorize.onnx": """vectorized (map(int64, float) float_input)
        => (float[1, 1] variable1) {
        vector = ai.onnx.ml.DictVectorizer<int64_vocabulary = [0, 1, 2, 3, 4]>(float_input)
        variable1 = ai.onnx.ml.LinearRegressor<
            coefficients = [1.0, 2.0, 0.5, 3.0, 1.0], intercepts = [7.167754]>(vector)
    }""",
    "mlnet_encoder.onnx": """encoded (float[1, 1] C0, string[1, 3] C1)
        => (float[1, 1] C00, float[1, 3, 4] C12) {
        C00 = Identity(C0)
        C12 = ai.onnx.ml.OneHotEncoder<
            cats_strings = ["A\\0A\\0", "1", "C\\0C\\0", "3"], zeros = 1>(C1)
    }""",
}


def write(folder: Path) -> None:
    """Write all models into a folder."""
    for name, text in _TEXTS.items():
        _save(parser.parse_model(f"{_HEAD}\n{text}"), folder / name)
    for name, make in _MADE.items():
        _save(make(), folder / name)
    _save_external(folder)


def _save(model: onnx.ModelProto, path: Path) -> None:
    for initializer in model.graph.initializer:
        if len(initializer.float_data) == 1:  # stands for numbers that do not matter
            drawn = np.random.default_rng(0).random(initializer.dims, np.float32)
            initializer.CopyFrom(numpy_helper.from_array(drawn, initializer.name))
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)


def _optional_identity() -> onnx.ModelProto:
    kind = helper.make_optional_type_proto(
        helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [5]))
    )
    ports = [helper.make_value_info(name, kind) for name in ("opt_in", "opt_out")]
    node = helper.make_node("Identity", ["opt_in"], ["opt_out"])
    return _model([node], ports[:1], ports[1:], opset=16)


def _free_dimensions() -> onnx.ModelProto:
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["Dim1", "Dim2", 5])
        for name in ("x", "y")
    ]
    for port in ports:
        for size, denotation in zip(
            port.type.tensor_type.shape.dim, ("DATA_BATCH", "DATA_CHANNEL", ""), strict=True
        ):
            size.denotation = denotation
    return _model([helper.make_node("Abs", ["x"], ["y"])], ports[:1], ports[1:])


def _with_options() -> onnx.ModelProto:
    options = {
        "inter_op_num_threads": 5,
        "intra_op_num_threads": 2,
        "graph_optimization_level": 99,
        "enable_profiling": 1,
    }
    model = parser.parse_model(f"{_HEAD}\n{_TEXTS['mul_1.onnx']}")
    helper.set_model_props(model, {"ort_config": json.dumps({"session_options": options})})
    return model


def _external(name: str, element_type: int, shape: list[int]) -> onnx.TensorProto:
    """Return an initializer whose contents lie in a file that is not there."""
    tensor = TensorProto(name=name, data_type=element_type, dims=shape)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=f"{name}.bin")
    return tensor


def _from_user() -> onnx.ModelProto:
    x, y = (helper.make_tensor_value_info(name, TensorProto.INT64, [4]) for name in "XY")
    node = helper.make_node("Add", ["X", "Pads_not_on_disk"], ["Y"])
    pads = _external("Pads_not_on_disk", TensorProto.INT64, [4])
    return _model([node], [x], [y], [pads])


def _save_external(folder: Path) -> None:
    model = _from_user()
    model.graph.initializer[0].CopyFrom(
        numpy_helper.from_array(np.array([0, 0, 1, 1], np.int64), "Pads_not_on_disk")
    )
    onnx.save(
        model,
        folder / "model_with_orig_ext_data.onnx",
        save_as_external_data=True,
        location="model_with_orig_ext_data.bin",
        size_threshold=0,
        convert_attribute=False,
    )


def _tree() -> onnx.ModelProto:
    """Return a tree of one split by a threshold that float32 lacks."""
    threshold = helper.make_tensor("splits", TensorProto.DOUBLE, [3], [1.7999999523162842, 0, 0])
    values = helper.make_tensor(
        "values", TensorProto.DOUBLE, [2], [0.7284910678863525, 0.9134243130683899]
    )
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["X"],
        ["variable"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_falsenodeids=[2, 0, 0],
        nodes_featureids=[2, 0, 0],
        nodes_hitrates_as_tensor=helper.make_tensor("rates", TensorProto.DOUBLE, [3], [1, 1, 1]),
        nodes_missing_value_tracks_true=[0, 0, 0],
        nodes_modes=["BRANCH_LT", "LEAF", "LEAF"],
        nodes_nodeids=[0, 1, 2],
        nodes_treeids=[0, 0, 0],
        nodes_truenodeids=[1, 0, 0],
        nodes_values_as_tensor=threshold,
        post_transform="NONE",
        target_ids=[0, 0],
        target_nodeids=[2, 1],
        target_treeids=[0, 0],
        target_weights_as_tensor=values,
    )
    x = helper.make_tensor_value_info("X", TensorProto.DOUBLE, [None, 4])
    y = helper.make_tensor_value_info("variable", TensorProto.DOUBLE, [None, 1])
    return _model([node], [x], [y])


def _sparse_type(name: str, shape: list[int]) -> onnx.ValueInfoProto:
    return helper.make_value_info(name, helper.make_sparse_tensor_type_proto(1, shape))


def _sparse_constant() -> onnx.ModelProto:
    values = numpy_helper.from_array(
        np.array([1.764052391052246, 0.40015721321105957, 0.978738009929657], np.float32), "v"
    )
    indices = numpy_helper.from_array(np.array([2, 3, 5], np.int64), "i")
    sparse = helper.make_sparse_tensor(values, indices, [3, 3])
    node = helper.make_node("Constant", [], ["values"], sparse_value=sparse)
    return _model([node], [], [_sparse_type("values", [3, 3])], opset=12)


def _sparse_product() -> onnx.ModelProto:
    node = helper.make_node(
        "SparseToDenseMatMul", ["sparse_A", "dense_B"], ["dense_Y"], domain="com.microsoft"
    )
    dense = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [9, 9])
        for name in ("dense_B", "dense_Y")
    ]
    return _model([node], [_sparse_type("sparse_A", [9, 9]), dense[0]], dense[1:])


def _adapted() -> onnx.ModelProto:
    """Return a product with weights to which an adapter may add a product of two of its own."""
    text = """adapted (float[4, 4] input_x) => (float[4, 4] output) {
        base = MatMul(input_x, weight)
        low = MatMul(input_x, lora_param_a)
        more = MatMul(low, lora_param_b)
        output = Add(base, more)
    }"""
    model = parser.parse_model(f"{_HEAD}\n{text}")
    weight = np.arange(1, 17, dtype=np.float32).reshape(4, 4)
    model.graph.initializer.append(numpy_helper.from_array(weight, "weight"))
    for name, shape in (("lora_param_a", (4, 0)), ("lora_param_b", (0, 4))):
        sizes = [size or "dim" for size in shape]
        port = helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)
        model.graph.input.append(port)
        model.graph.initializer.append(numpy_helper.from_array(np.zeros(shape, np.float32), name))
    return model


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    initializers: list[onnx.TensorProto] | None = None,
    opset: int = 15,
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "made", inputs, outputs, initializers or [])
    domains = {"": opset, "ai.onnx.ml": 3, "com.microsoft": 1}
    imports = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


_MADE: dict[str, Callable[[], onnx.ModelProto]] = {
    "identity_opt.onnx": _optional_identity,
    "abs_free_dimensions.onnx": _free_dimensions,
    "model_with_valid_ort_config_json.onnx": _with_options,
    "model_with_external_initializer_come_from_user.onnx": _from_user,
    "tree_ensemble_as_tensor.onnx": _tree,
    "sparse_initializer_as_output.onnx": _sparse_constant,
    "sparse_to_dense_matmul.onnx": _sparse_product,
    "lora/two_params_lora_model.onnx": _adapted,
}

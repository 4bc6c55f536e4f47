"""A small file of any framework fills no memory; errors name what would."""

import zipfile

import numpy as np
import pytest
import sardonyx
from sardonyx.importers.limits import EXPANSION_LIMIT, Budget

HUGE = 10**9  # elements


def test_a_budget_follows_the_size_of_the_file_unless_one_is_given(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"1234")
    assert Budget(str(path)).limit == EXPANSION_LIMIT
    with path.open("wb") as file:
        file.truncate(EXPANSION_LIMIT)
    assert Budget(str(path)).limit == 8 * EXPANSION_LIMIT
    budget = Budget(str(path), 10)
    budget.spend(6, "one")
    budget.spend(4, "two")
    with pytest.raises(sardonyx.UnsupportedModel, match=r"f: three of shape \[1\] takes 1 bytes"):
        budget.spend(1, "three", [1])


def expanded(tensor_of=lambda torch: torch.full((1, 1), 0.5)):
    torch = pytest.importorskip("torch")

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("wide", tensor_of(torch).expand(4, HUGE))

        def forward(self, x):
            return x + self.wide[:, :1].sum()

    return torch, Module().eval()


def test_tensors_of_torch_that_repeat_one_number_are_refused(tmp_path):
    torch, module = expanded()
    x = torch.ones(1, 4)
    torch.jit.save(torch.jit.trace(module, x, check_trace=False), tmp_path / "m.pt")
    torch.export.save(torch.export.export(module, (x,)), tmp_path / "m.pt2")
    for name in ("m.pt", "m.pt2"):
        with pytest.raises(sardonyx.UnsupportedModel, match=r"'wide' of shape .*expansion_limit"):
            sardonyx.load(tmp_path / name, example_inputs=x)


def test_entries_of_archives_of_torch_are_limited(tmp_path):
    torch = pytest.importorskip("torch")
    module = torch.nn.Linear(512, 512)
    with torch.no_grad():
        module.weight.zero_()
    torch.save(module.state_dict(), tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(tmp_path / "w.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry))
    options = {"module": module, "example_inputs": torch.ones(2, 512)}
    sardonyx.load(tmp_path / "w.pth", **options)
    with pytest.raises(sardonyx.UnsupportedModel, match=r"entry .*data.*expansion_limit"):
        sardonyx.load(tmp_path / "w.pth", expansion_limit=1 << 16, **options)


@pytest.fixture
def graph():
    """Return TensorFlow and a graph whose constant is written as one number."""
    tf = pytest.importorskip("tensorflow")
    with tf.Graph().as_default() as made:
        x = tf.compat.v1.placeholder(tf.float32, [None, 4], name="x")
        tf.matmul(x, tf.constant(0.5, shape=[4, 4], name="k"), name="y")
    definition = made.as_graph_def()
    tensor = next(node for node in definition.node if node.name == "k").attr["value"].tensor
    tensor.CopyFrom(tf.make_tensor_proto(0.5, shape=[1]))
    tensor.ClearField("tensor_content")
    tensor.float_val[:] = [0.5]
    del tensor.tensor_shape.dim[:]
    for size in (4, 6):
        tensor.tensor_shape.dim.add(size=size)
    return definition, tensor


def test_constants_of_frozen_graphs_that_repeat_one_number_are_limited(tmp_path, graph):
    definition, tensor = graph
    path = tmp_path / "g.pb"
    path.write_bytes(definition.SerializeToString())
    y = sardonyx.Session(sardonyx.load(path))(np.ones((2, 4), np.float32))
    np.testing.assert_allclose(y, np.full((2, 6), 2))
    with pytest.raises(sardonyx.UnsupportedModel, match=r"constant 'k' of shape \[4, 6\]"):
        sardonyx.load(path, expansion_limit=95)
    tensor.tensor_shape.dim[1].size = HUGE
    path.write_bytes(definition.SerializeToString())
    with pytest.raises(sardonyx.UnsupportedModel, match=r"constant 'k'.*expansion_limit"):
        sardonyx.load(path)


def test_constants_of_saved_models_that_repeat_one_number_are_limited(tmp_path, graph):
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    definition, tensor = graph
    tensor.tensor_shape.dim[1].size = HUGE
    stored = SavedModel()
    stored.meta_graphs.add().graph_def.library.function.add().node_def.extend(definition.node)
    (tmp_path / "saved_model.pb").write_bytes(stored.SerializeToString())
    with pytest.raises(sardonyx.UnsupportedModel, match=r"saved_model\.pb: constant 'k'"):
        sardonyx.load(tmp_path)

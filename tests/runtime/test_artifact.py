"""An artifact is a model: it opens anywhere, and no damage to it does more than one of a model."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import helper as oh
from sardonyx.runtime import artifact, program_cache
from sardonyx.runtime.sources import opened

from ..children import forked


def build(*nodes, weights=()):
    graph = oh.make_graph(
        nodes,
        "g",
        [oh.make_tensor_value_info("x", 1, ["n", 3, "h", "w"])],
        [onnx.ValueInfoProto(name="y"), onnx.ValueInfoProto(name="k")],
        [onnx.numpy_helper.from_array(array, f"w{i}") for i, array in enumerate(weights)],
    )
    opsets = [oh.make_opsetid("", 22)]
    return oh.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


@pytest.fixture(scope="module")
def model():
    """Convolution, and an operator without a kernel whose result has an open size."""
    w = np.random.default_rng(0).standard_normal((4, 3, 3, 3), np.float32)
    return build(
        oh.make_node("Conv", ["x", "w0"], ["a"], "layer", pads=[1] * 4),
        oh.make_node("Relu", ["a"], ["y"], "relu"),
        oh.make_node("NonZero", ["y"], ["k"], "where"),
        weights=[w],
    )


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(1).standard_normal((2, 3, 9, 8), np.float32)


@pytest.fixture
def saved(model, tmp_path):
    sardonyx.Session(model, threads=1).save(tmp_path / "m.sdx")
    return tmp_path / "m.sdx"


def assert_same(session, expected, x):
    for found, wanted in zip(session.run(None, {"x": x}), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("precision", ["fp32", "strict"])
@pytest.mark.parametrize("choices", [{}, {"layer": "winograd 2x2"}])
def test_it_opens_with_the_results_and_options_of_its_session(
    tmp_path, monkeypatch, precision, choices
):
    w = np.random.default_rng(0).standard_normal((32, 32, 3, 3), np.float32)
    x = oh.make_tensor_value_info("x", 1, ["n", 32, "h", "w"])
    node = oh.make_node("Conv", ["x", "w"], ["y"], "layer", pads=[1] * 4)
    weights = [onnx.numpy_helper.from_array(w, "w")]
    graph = oh.make_graph([node], "g", [x], [onnx.ValueInfoProto(name="y")], weights)
    opsets = [oh.make_opsetid("", 22)]
    source = oh.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    choices = choices if precision == "fp32" else {}
    session = sardonyx.Session(source, threads=1, precision=precision, choices=choices)
    session.save(tmp_path / "m.sdx")
    for folder in (None, lambda *_: None):  # from the cache, and without one
        if folder:
            monkeypatch.setattr(program_cache, "opened_folder", folder)
        again = sardonyx.Session(tmp_path / "m.sdx", threads=1)
        metadata = again.engine.program.metadata
        assert metadata["precision"] == precision
        assert metadata["choices"] == session.engine.program.metadata["choices"]
        assert again.get_modelmeta() == session.get_modelmeta()
        image = np.random.default_rng(1).standard_normal((1, 32, 8, 9), np.float32)
        np.testing.assert_array_equal(again(image), session(image))


def test_it_opens_where_nothing_is_known_of_it(model, saved, x, monkeypatch):
    expected = sardonyx.Session(model, threads=1).run(None, {"x": x})
    monkeypatch.setattr("sardonyx.runtime.cache_key.environment", lambda: "another processor")
    monkeypatch.setattr(program_cache, "opened_folder", lambda *_: None)
    assert_same(sardonyx.Session(saved, threads=1), expected, x)


def test_where_it_was_saved_it_opens_without_onnx_and_the_optimizer(saved):
    code = (
        "import sys, sardonyx; sardonyx.Session(sys.argv[1], threads=1)\n"
        "print(sorted({'onnx', 'onnx_ir', 'numba', 'sardonyx.optimizer'} & set(sys.modules)))"
    )
    path = os.pathsep.join(filter(None, sys.path))
    command = [sys.executable, "-c", code, str(saved)]
    environment = {**os.environ, "PYTHONPATH": path}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_it_holds_the_optimized_model(saved):
    ops = [node.op_type for node in sardonyx.Session(saved, threads=1).optimized_model().graph]
    assert ops == ["Conv", "Relu", "NonZero"]


def test_it_belongs_to_whom_other_files_do(saved):
    (saved.parent / "other").touch()
    assert saved.stat().st_mode == (saved.parent / "other").stat().st_mode


# --- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["m.onnx", "m", "m.sdx.bak"])
def test_it_is_written_and_opened_by_its_suffix_only(model, saved, name):
    path = saved.parent / name
    with pytest.raises(sardonyx.InvalidArgument, match=r"must end in \.sdx"):
        sardonyx.Session(model, threads=1).save(path)
    path.write_bytes(saved.read_bytes())
    for open_ in (sardonyx.Session, sardonyx.load):
        with pytest.raises(sardonyx.InvalidModel, match=r"an artifact.*ends in \.sdx"):
            open_(str(path))
    with pytest.raises(sardonyx.InvalidModel, match=r"an artifact.*ends in \.sdx"):
        sardonyx.Session(saved.read_bytes())


@pytest.mark.parametrize("content", [b"", b"ONNX", b"sardonyx-program-2\n" + bytes(100)])
def test_what_is_none_is_refused(tmp_path, model, content):
    path = tmp_path / "m.sdx"
    for data in (content, model if content else b""):
        path.write_bytes(data)
        with pytest.raises(sardonyx.InvalidModel, match=r"m\.sdx.*artifact"):
            sardonyx.Session(path)
    with pytest.raises(sardonyx.InvalidArgument, match="cannot be read"):
        sardonyx.Session(tmp_path / "none.sdx")


def test_a_source_that_changed_is_not_saved_in_the_name_of_another(model, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(model)
    session = sardonyx.Session(path, threads=1)
    path.write_bytes(model + b"\x12\x01b")  # another name of the producer
    with pytest.raises(sardonyx.InvalidArgument, match="has changed since"):
        session.save(tmp_path / "m.sdx")


# --- damage -----------------------------------------------------------------------------------


def damaged(data, chance):
    """Return an artifact with a few bytes changed, cut, doubled or moved."""
    data = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 5])):
        at, size = chance.randrange(len(data)), chance.choice([1, 1, 4, 30])
        kind = chance.randrange(4)
        if kind == 0:
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del data[at : at + size]
        elif kind == 2:
            data[at:at] = data[at : at + size]
        else:
            data[at : at + size] = chance.choice([b"\xff", b"\0", b"\x80"]) * size
    return bytes(data)


def with_digest(data):
    """Return an artifact with a digest that is right again, which anybody can make."""
    start = len(artifact._MAGIC) + 64
    digest = hashlib.sha256(data[start:]).hexdigest().encode()
    return artifact._MAGIC + digest + data[start:]


def test_a_damaged_one_is_refused(saved):
    data = saved.read_bytes()
    chance = random.Random(0)
    outcomes = set()
    for _ in range(300):
        changed = damaged(data, chance)
        if changed == data:
            continue
        saved.write_bytes(changed)
        with pytest.raises(sardonyx.InvalidModel) as caught:
            sardonyx.Session(saved, threads=1)
        outcomes.add(str(caught.value).partition(": ")[2])
    assert outcomes == {
        "not an artifact of this version of sardonyx: save it again from its model",
        "the artifact is truncated or corrupted: its options",
        "the artifact is truncated or corrupted: its digest is another",
    }


def test_one_of_a_hostile_author_is_no_more_than_a_model(saved, x, monkeypatch):
    """Whatever it holds, with right digests: refused with our errors, or run like any model."""
    data = saved.read_bytes()
    monkeypatch.setattr(program_cache, "opened_folder", lambda *_: None)

    def attack():
        chance = random.Random(1)
        opened_ones = 0
        for _ in range(300):
            saved.write_bytes(with_digest(damaged(data, chance)))
            try:
                session = sardonyx.Session(saved, threads=1)
                opened_ones += 1
                session.run(None, {"x": x})
            except sardonyx.SardonyxError:
                pass
        assert opened_ones > 20

    assert forked(attack, 120) == 0


@pytest.mark.parametrize(
    "options",
    [
        b"[]", b"{}", b"null", b"[" * 5000, b"\xff", b'{"precision": "fp32"}',
        b'{"precision": "none", "choices": {}}', b'{"precision": [], "choices": {}}',
        b'{"precision": "fp32", "choices": []}',
    ],
)  # fmt: skip
def test_options_that_are_none_are_refused(saved, options):
    model = artifact.Artifact(saved.read_bytes()).model()
    rest = b"%08x" % len(options) + options + model
    saved.write_bytes(with_digest(artifact._MAGIC + bytes(64) + rest))
    with pytest.raises(sardonyx.InvalidModel, match="corrupted: its options"):
        sardonyx.Session(saved, threads=1)


def test_it_reads_no_files(saved, tmp_path):
    """A model that refers to external data has no folder to find it in."""
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[2], data_location=1)
    tensor.external_data.add(key="location", value="w.bin")
    (tmp_path / "w.bin").write_bytes(bytes(8))
    node = oh.make_node("Add", ["x", "w"], ["y"])
    x, y = (oh.make_tensor_value_info(name, 1, [2]) for name in "xy")
    made = oh.make_model(oh.make_graph([node], "g", [x], [y], [tensor]), ir_version=10)
    options = {"precision": "fp32", "choices": {}}
    saved.write_bytes(artifact.pack(made.SerializeToString(), options))
    with pytest.raises(sardonyx.InvalidModel, match="no known folder"):
        sardonyx.Session(saved, threads=1)


def test_the_file_is_closed_after_it_was_opened_or_refused(saved):
    def handles():
        return len(os.listdir("/proc/self/fd"))

    sardonyx.Session(saved, threads=1)
    before = handles()
    for data in (saved.read_bytes(), b"no artifact"):
        saved.write_bytes(data)
        for _ in range(5):
            try:
                with opened(saved, {}):
                    pass
            except sardonyx.InvalidModel:
                pass
    assert handles() == before

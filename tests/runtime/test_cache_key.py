"""A cached program is used only where the model and its external data are the same."""

from __future__ import annotations

import ast
import mmap
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import TensorProto, helper
from sardonyx.importers.onnx import wire
from sardonyx.runtime import cache_key, program_cache
from sardonyx.runtime.sources import Source


@pytest.fixture
def model(tmp_path, monkeypatch):
    """Give the path of a model that adds two numbers from ``weights/w.bin``."""
    monkeypatch.setenv("SARDONYX_CACHE", str(tmp_path / "cache"))
    tensor = TensorProto(name="w", data_type=1, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="weights/w.bin")
    x, y = (helper.make_tensor_value_info(name, 1, [2]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], [tensor])
    made = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])
    (tmp_path / "weights").mkdir()
    onnx.save(made, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def write(model, *values):
    path = model.parent / "weights" / "w.bin"
    path.write_bytes(np.array(values, np.float32).tobytes())
    os.utime(path, ns=(0, values[0] * 10**9))


def result(model):
    return sardonyx.Session(model, threads=1)(np.zeros(2, np.float32)).tolist()


def test_external_data_that_changed_is_read_again(model):
    for values in ((1, 2), (3, 4)):
        write(model, *values)
        assert result(model) == list(values)


@pytest.mark.parametrize("way", ["written over", "mapped", "replaced"])
def test_a_time_that_is_set_back_hides_no_change_of_external_data(model, way):
    """The time of the last change counts, too, which no program can set back."""
    path = model.parent / "weights" / "w.bin"
    write(model, 1, 2)
    assert result(model) == [1, 2]
    before, new = path.stat(), np.array([1, 9], np.float32).tobytes()
    if way == "replaced":
        other = path.with_name("other")
        other.write_bytes(new)
        other.replace(path)
    elif way == "mapped":
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
            data[:] = new
    else:
        path.write_bytes(new)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert (after.st_ino == before.st_ino) == (way != "replaced")
    assert result(model) == [1, 9]


def test_a_time_that_is_set_back_hides_no_change_of_a_model(tmp_path, own_cache):
    path = tmp_path / "m.onnx"
    for value in (1.0, 2.0):
        path.write_bytes(with_number(value))
        os.utime(path, ns=(5, 5))
        assert added(path) == value


def test_external_data_that_is_gone_or_too_short_is_missed_despite_the_cache(model):
    write(model, 1, 2)
    assert result(model) == [1, 2]
    (model.parent / "weights" / "w.bin").write_bytes(b"1234")
    with pytest.raises(sardonyx.InvalidModel, match=r"w\.bin.*only 4"):
        result(model)
    (model.parent / "weights" / "w.bin").unlink()
    with pytest.raises(sardonyx.InvalidModel, match=r"w\.bin.*missing"):
        result(model)


def test_a_copy_in_another_folder_reads_its_own_data(model):
    write(model, 1, 2)
    assert result(model) == [1, 2]
    other = model.parent / "other"
    (other / "weights").mkdir(parents=True)
    (other / "m.onnx").write_bytes(model.read_bytes())
    write(other / "m.onnx", 1, 9)  # same size, same time
    assert result(other / "m.onnx") == [1, 9]


# --- entries of external data -----------------------------------------------------------------


def entry(*fields):
    return b"".join(wire._delimited(number, value) for number, value in fields)


KEY, VALUE = (1, b"location"), (2, b"weights/w.bin")


@pytest.mark.parametrize(
    "fields",
    [
        (KEY, VALUE), (VALUE, KEY), (KEY, (3, b"unknown"), VALUE), (VALUE, (9, b""), KEY),
        ((1, b"offset"), KEY, VALUE), (KEY, (2, b"other"), VALUE),
    ],
)  # fmt: skip
def test_external_data_is_followed_however_its_entry_is_written(model, fields):
    data, usual = model.read_bytes(), wire._delimited(13, entry(KEY, VALUE))
    proto = onnx.ModelProto.FromString(data)
    del proto.graph.initializer[0].external_data[:]
    tensor = proto.graph.initializer[0].SerializeToString() + wire._delimited(13, entry(*fields))
    del proto.graph.initializer[:]
    graph = proto.graph.SerializeToString() + wire._delimited(5, tensor)
    proto.ClearField("graph")
    assert usual in data
    model.write_bytes(proto.SerializeToString() + wire._delimited(7, graph))
    assert "weights/w.bin" in wire.external_locations(model.read_bytes())
    for values in ((1, 2), (3, 4)):
        write(model, *values)
        assert result(model) == list(values)


def test_names_are_found_wherever_a_tensor_may_be(model):
    tensor = TensorProto(name="w", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="inner")
    constant = helper.make_node("Constant", [], ["c"])
    constant.attribute.append(onnx.AttributeProto(name="value", type=4, t=tensor))
    body = helper.make_graph([constant], "body", [], [onnx.ValueInfoProto(name="c")])
    node = helper.make_node("If", ["x"], ["y"], then_branch=body, else_branch=body)
    function = helper.make_function("d", "f", [], ["c"], [constant], [])
    assert wire.external_locations(
        helper.make_model(helper.make_graph([node], "g", [], [])).SerializeToString()
    ) == {"inner"}
    made = helper.make_model(helper.make_graph([], "g", [], []), functions=[function])
    assert wire.external_locations(made.SerializeToString()) == {"inner"}


# --- files that change while they are read ----------------------------------------------------


def with_number(value):
    constant = onnx.numpy_helper.from_array(np.array([value], np.float32), "k")
    x, y = (helper.make_tensor_value_info(name, 1, [1]) for name in "xy")
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "k"], ["y"])], "g", [x], [y], [constant]
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, ir_version=9, opset_imports=opsets).SerializeToString()


def added(path):
    return float(sardonyx.Session(path, threads=1)(np.zeros(1, np.float32))[0])


@pytest.mark.parametrize("way", ["replaced", "link turned", "folder turned", "written over"])
def test_a_model_that_changes_while_it_is_opened_is_not_kept_for_the_old_one(
    tmp_path, monkeypatch, way
):
    """What it was is what a session of it has afterwards."""
    monkeypatch.setenv("SARDONYX_CACHE", str(tmp_path / "cache"))
    for name, value in (("1", 1), ("2", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "m.onnx").write_bytes(with_number(value))
    (tmp_path / "now").symlink_to("1")
    path = tmp_path / "now" / "m.onnx"
    if way == "link turned":
        path = tmp_path / "m.onnx"
        path.symlink_to("1/m.onnx")

    def turn(link, name):
        (tmp_path / "new").symlink_to(name)
        os.replace(tmp_path / "new", link)

    def change(number):
        if way == "replaced":
            (tmp_path / "new").write_bytes(with_number(number))
            os.replace(tmp_path / "new", path)
        elif way == "written over":
            path.write_bytes(with_number(number))
        elif way == "link turned":
            turn(path, f"{number}/m.onnx")
        else:
            turn(tmp_path / "now", str(number))

    imported = Source.optimized

    def change_and_import(source):
        change(2)
        try:
            return imported(source)
        finally:
            change(1)

    with monkeypatch.context() as patch:
        patch.setattr(Source, "optimized", change_and_import)
        first = added(path)
    program_cache._programs.clear()
    assert first in (1, 2)
    assert added(path) == 1
    change(2)
    assert added(path) == 2


def test_external_data_that_changes_while_it_is_read_is_not_kept(model, monkeypatch):
    write(model, 1, 2)
    lowered, written = program_cache._lowered, []

    def change_and_lower(source):
        if not written:
            written.append(write(model, 3, 4))
        return lowered(source)

    monkeypatch.setattr(program_cache, "_lowered", change_and_lower)
    assert result(model) == [3, 4]
    write(model, 1, 2)
    program_cache._programs.clear()
    assert result(model) == [1, 2]


def test_a_model_that_always_changes_opens_all_the_same(model, monkeypatch):
    write(model, 1, 2)
    lowered, numbers = program_cache._lowered, iter(range(10, 30))

    def change_and_lower(source):
        write(model, next(numbers), 0)
        return lowered(source)

    monkeypatch.setattr(program_cache, "_lowered", change_and_lower)
    assert result(model)[0] >= 10
    assert not list((model.parent / "cache" / "programs").glob("*.program"))


# --- sources ----------------------------------------------------------------------------------


def test_the_key_covers_every_source_that_may_change_a_program():
    """Every folder and module that is imported, directly or not, by what makes a program."""
    root = Path(sardonyx.__file__).parent
    covered = {root / folder for folder in (*cache_key._FOLDERS, "kernels")}
    waiting = [path for folder in covered for path in folder.rglob("*.py")]
    for path in waiting:
        depth = len(path.relative_to(root).parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == depth:
                for name in [node.module] if node.module else [each.name for each in node.names]:
                    top = root / name.partition(".")[0]
                    assert top in covered or top.with_suffix(".py").parent == root, name
                    assert top in covered or not top.is_dir(), f"{path} imports {name}"


def test_another_source_is_another_environment(monkeypatch):
    digests = []

    def digest(*places):
        digests.append(places)
        return "0"

    monkeypatch.setattr(cache_key, "sources_digest", digest)
    cache_key.environment.__wrapped__()
    root = Path(sardonyx.__file__).parent
    assert {root / "difference.py", root / "patches.py", root / "reference"} <= set(digests[0])

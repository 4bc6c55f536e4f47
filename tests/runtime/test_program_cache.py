"""A program of the cache is run only as it was written: kernels believe all that it says."""

from __future__ import annotations

import hashlib
import json
import os
import random

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import helper as oh
from sardonyx.kernels.storage import opened_folder
from sardonyx.runtime import program_cache, program_file
from sardonyx.runtime.sources import opened

from ..children import forked

OPTIONS = {"precision": "fp32", "optimize": "all", "choices": {}}
X = np.random.default_rng(1).standard_normal((2, 3, 9, 8)).astype(np.float32)


def model(kernel_size=3):
    w = np.random.default_rng(0).standard_normal((4, 3, kernel_size, kernel_size), np.float32)
    nodes = [
        oh.make_node("Conv", ["x", "w"], ["a"], "layer", auto_pad="SAME_UPPER"),
        oh.make_node("Relu", ["a"], ["y"], "relu"),
        oh.make_node("NonZero", ["y"], ["k"], "where"),
    ]
    x = oh.make_tensor_value_info("x", 1, ["n", 3, "h", "w"])
    outputs = [onnx.ValueInfoProto(name=name) for name in "yk"]
    graph = oh.make_graph(nodes, "g", [x], outputs, [onnx.numpy_helper.from_array(w, "w")])
    opsets = [oh.make_opsetid("", 22)]
    return oh.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


@pytest.fixture
def file(own_cache):
    """Path of the program of the model, the only one of its cache."""
    with opened(model(), OPTIONS) as source:
        program_cache._keep(program_cache._lowered(source), source.key())
    (path,) = (own_cache / "programs").glob("*.program")
    return path


def sections(data):
    """Split a program's file into its header and its tables."""
    head = program_file._HEAD.fullmatch(data[: program_file._HEAD_BYTES])
    end = program_file._HEAD_BYTES + int(head["length"], 16)
    header = json.loads(data[program_file._HEAD_BYTES : end])
    start = -(-end // 64) * 64
    tables = [
        np.frombuffer(data[start + at : start + at + size], dtype).reshape(shape).copy()
        for dtype, shape, at, size, _ in header["sections"]
    ]
    return head["digest"], header, tables


def joined(digest, header, tables):
    """Make a file with digests that are right, but for the one that takes the secret."""
    offset = 0
    header["sections"] = []
    for table in tables:
        checksum = hashlib.sha256(table.tobytes()).hexdigest()
        header["sections"].append(
            [str(table.dtype), list(table.shape), offset, table.nbytes, checksum]
        )
        offset += -(-table.nbytes // 64) * 64
    text = json.dumps(header, separators=(",", ":")).encode()
    return b"".join(program_file._pieces(program_file._start(text, digest), tables))


NUMBERS = [-1, 0, 1, 5, 2**31, 2**40, 2**62, -(2**63), 1000]


def edit(header, tables, chance):
    """Change one number of a table, or one field of the header."""
    if chance.random() < 0.5:
        table = chance.choice([table for table in tables if table.size]).reshape(-1)
        limits = np.iinfo(table.dtype)
        number = chance.choice(NUMBERS)
        table[chance.randrange(table.size)] = min(max(number, limits.min), limits.max)
        return
    item, key = header, chance.choice(sorted(set(header) - {"sections"}))
    while isinstance(item[key], list | dict) and item[key] and chance.random() < 0.9:
        item = item[key]
        key = chance.choice(sorted(item) if isinstance(item, dict) else range(len(item)))
    item[key] = chance.choice([*NUMBERS, "x", None, [], ["kernels.storage", "state_of", ["/"]]])


def test_a_file_is_read_as_it_was_written(file):
    data = file.read_bytes()
    assert joined(*sections(data)) == data


def test_weights_that_were_saved_are_those_of_the_file(file):
    with opened(model(), OPTIONS) as source:
        made, key = program_cache._lowered(source), source.key()
    saved = program_cache._keep(made, key)
    assert saved is not made
    assert made.weights.flags.writeable
    assert not saved.weights.flags.writeable
    np.testing.assert_array_equal(saved.weights, made.weights)


def test_a_program_that_was_edited_anywhere_is_made_anew(file):
    """With all digests right that can be made without the secret; no signal, no other result."""
    data = file.read_bytes()
    with opened(model(), OPTIONS) as source:
        key = source.key()

    def attack():
        chance = random.Random(0)
        for _ in range(500):
            digest, header, tables = sections(data)
            edit(header, tables, chance)
            changed = joined(digest, header, tables)
            if changed == data:
                continue
            file.write_bytes(changed)
            assert program_cache._stored(key) is None
            assert not file.exists()

    assert forked(attack, 120) == 0


def test_bytes_that_were_changed_anywhere_are_noticed(file):
    data = file.read_bytes()
    with opened(model(), OPTIONS) as source:
        key = source.key()
    _, header, tables = sections(data)
    meaning = [at for at in range(len(data)) if data[at]]  # all but the padding
    for at in random.Random(0).sample(meaning, 200):
        for changed in (data[:at], data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]):
            file.write_bytes(changed)
            assert program_cache._stored(key) is None
    assert header and tables


def test_a_session_has_the_right_program_after_any_of_that(file):
    expected = sardonyx.Session(model(), threads=1).run(None, {"x": X})
    program_cache._programs.clear()
    data = file.read_bytes()
    file.write_bytes(data[:-100])
    for found, wanted in zip(
        sardonyx.Session(model(), threads=1).run(None, {"x": X}), expected, strict=True
    ):
        np.testing.assert_array_equal(found, wanted)
    assert file.read_bytes() == data


def test_the_program_of_another_model_is_not_taken(file):
    with opened(model(5), OPTIONS) as source:
        key = source.key()
    (file.parent / f"{key}.program").write_bytes(file.read_bytes())
    assert program_cache._stored(key) is None


def test_a_program_of_another_cache_is_not_taken(file):
    with opened(model(), OPTIONS) as source:
        key = source.key()
    assert program_cache._stored(key) is not None
    (file.parents[1] / "secret").write_bytes(os.urandom(32))
    assert program_cache._stored(key) is None


def test_weights_that_were_found_intact_are_looked_at_again_when_they_change(file, monkeypatch):
    monkeypatch.setattr("sardonyx.kernels.storage._SETTLED_NS", -(10**18))
    with opened(model(), OPTIONS) as source:
        key = source.key()
    assert program_cache._stored(key) is not None
    data = bytearray(file.read_bytes())
    _, _, tables = sections(bytes(data))
    at = data.rindex(tables[-1].tobytes()[:64])
    data[at] ^= 1
    file.write_bytes(data)
    with opened_folder("programs") as folder, pytest.raises(sardonyx.InvalidModel, match="weights"):
        program_file.load_program(folder, file.name, key)

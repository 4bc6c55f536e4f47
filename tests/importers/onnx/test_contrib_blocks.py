"""Weights of few bits in blocks, of com.microsoft, give what onnxruntime gives."""

from __future__ import annotations

import numpy as np
import pytest
import sardonyx

from .contrib_cases import agree, close, computed, model, normal

F32, U8 = np.float32, np.uint8


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("block", [16, 32, 128])
@pytest.mark.parametrize("zeros", ["", "packed", "float"])
def test_products_of_few_bits(rng, bits, block, zeros):
    if bits == 8 and zeros == "float":
        pytest.skip("onnxruntime has no such zero points for bytes")
    for m, rows, columns in ((1, 96, 10), (3, 320, 70), (40, 256, 130)):
        blocks = -(-rows // block)
        bias = m != 1
        weights = {"b": rng.integers(0, 256, (columns, blocks, block * bits // 8)).astype(U8),
                   "s": np.abs(normal(rng, columns, blocks))}  # fmt: skip
        inputs = ["a", "b", "s"]
        if zeros == "packed":
            weights["z"] = rng.integers(0, 256, (columns, -(-blocks * bits // 8))).astype(U8)
        elif zeros:
            weights["z"] = rng.uniform(0, 1 << bits, (columns, blocks)).astype(F32)
        if bias:
            weights["bias"] = normal(rng, columns)
        inputs += ["z" if zeros else "", "", "bias"] if bias else ["z"] * bool(zeros)
        agree("MatMulNBits", {"a": normal(rng, m, rows)}, weights, inputs, tolerance=1e-4,
              K=rows, N=columns, bits=bits, block_size=block)  # fmt: skip


@pytest.mark.parametrize("case", ["few bits", "last block shorter", "no rank", "groups"])
def test_zero_points_between_whole_numbers_leave_weights_as_small_as_they_are(rng, case):
    """Where blocks of rows can be summed; else weights are widened."""
    rows, columns, block = 120 if case == "last block shorter" else 128, 10, 32
    weights = {"b": rng.integers(0, 256, (columns, 4, block // 2)).astype(U8),
               "s": np.abs(normal(rng, columns, 4)),
               "z": rng.uniform(-3, 18, (columns, 4)).astype(F32)}  # fmt: skip
    inputs, feeds = ["a", "b", "s", "z"], {"a": normal(rng, 2, 3, rows)}
    order = np.arange(rows)
    if case == "groups":
        order = rng.permutation(rows)
        weights["g"] = (order // block).astype(np.int32)
        inputs.append("g")
    sizes = {"K": rows, "N": columns, "bits": 4, "block_size": block}
    proto = model("MatMulNBits", feeds, weights, inputs, **sizes)
    if case == "no rank":
        proto.graph.input[0].type.tensor_type.ClearField("shape")
    groups = order // block
    numbers = nibbles(weights["b"].reshape(columns, -1))[:, :rows] - weights["z"][:, groups]
    (found,) = sardonyx.Session(proto, threads=1).run(None, feeds)
    close(found, feeds["a"] @ (numbers * weights["s"][:, groups]).T, 1e-4)
    kinds = {node.inputs[0].dtype.name for node in sardonyx.load(proto).graph
             if node.op_type == "DequantizeLinear"}  # fmt: skip
    assert kinds == ({"UINT4"} if case in ("few bits", "groups") else set())


def nibbles(packed: np.ndarray) -> np.ndarray:
    """Numbers of four bits in rows of bytes, the lower ones first."""
    return np.stack([packed & 15, packed >> 4], -1).reshape(len(packed), -1).astype(F32)


@pytest.mark.parametrize("zeros", [False, True])
def test_products_of_weights_whose_groups_are_in_any_order(rng, zeros):
    """onnxruntime does not see their zero points."""
    for rows, block in ((32, 16), (96, 32), (40, 16)):
        blocks, columns = -(-rows // block), 7
        groups = rng.permutation(np.arange(rows) // block)
        weights = {"b": rng.integers(0, 256, (columns, blocks, block // 2)).astype(U8),
                   "s": np.abs(normal(rng, columns, blocks)),
                   "g": groups.astype(np.int32)}  # fmt: skip
        names, feeds = ["a", "b", "s", "", "g"], {"a": normal(rng, 3, rows)}
        sizes = {"K": rows, "N": columns, "bits": 4, "block_size": block}
        if not zeros:
            agree("MatMulNBits", feeds, weights, names, tolerance=1e-4, **sizes)
            continue
        weights["z"] = rng.integers(0, 256, (columns, -(-blocks // 2))).astype(U8)
        names[3] = "z"
        numbers = (
            nibbles(weights["b"].reshape(columns, -1))[:, :rows] - nibbles(weights["z"])[:, groups]
        )
        (found,) = computed(model("MatMulNBits", feeds, weights, names, **sizes), feeds)
        close(found, feeds["a"] @ (numbers * weights["s"][:, groups]).T, 1e-4)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("zeros", [False, True])
def test_rows_of_tables_of_few_bits(rng, bits, zeros):
    rows, width, block = 50, 256, 32
    each = 8 // bits
    feeds = {"i": rng.integers(0, rows, (2, 3))}
    weights = {"t": rng.integers(0, 256, (rows, width // each)).astype(U8),
               "s": np.abs(normal(rng, rows, width // block))}  # fmt: skip
    if zeros:
        weights["z"] = rng.integers(0, 256, (rows, width // block // each)).astype(U8)
    agree("GatherBlockQuantized", feeds, weights, ["t", "i", "s"] + ["z"] * zeros, bits=bits,
          block_size=block, gather_axis=0, quantize_axis=1)  # fmt: skip


@pytest.mark.parametrize("axis", [2, -3, 7])
def test_blocks_along_an_axis_that_a_table_lacks_are_refused(rng, axis):
    weights = {"t": rng.integers(0, 256, (16, 16)).astype(U8), "s": np.ones((16, 1), F32)}
    attributes = {"block_size": 32, "quantize_axis": axis}
    proto = model("GatherBlockQuantized", {"i": np.array([3])}, weights, list("tis"), **attributes)
    with pytest.raises(sardonyx.InvalidModel, match="quantize_axis is"):
        sardonyx.Session(proto)


@pytest.mark.parametrize("change", [{"block_size": 0}, {"block_size": 7}, {"N": 11}, {"K": -3}])
def test_weights_that_do_not_fit_are_refused_by_name(rng, change):
    weights = {"b": np.zeros((10, 3, 16), U8), "s": np.ones((10, 3), F32)}
    attributes = {"K": 96, "N": 10, "bits": 4, "block_size": 32} | change
    proto = model("MatMulNBits", {"a": normal(rng, 3, 96)}, weights, ["a", "b", "s"], **attributes)
    with pytest.raises(sardonyx.SardonyxError, match="node"):
        sardonyx.Session(proto, threads=1)

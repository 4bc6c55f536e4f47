"""The benchmark of quantized networks: files that all engines run, and their means."""

import onnx
import onnx_ir as ir
import pytest
from sardonyx.tools import bench, quantized_bench, zoo


@pytest.fixture(autouse=True)
def short_turns(monkeypatch):
    monkeypatch.setattr(bench, "_SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(bench, "_TURN_SECONDS", 0.001)


def test_integers_run_beside_floats(monkeypatch, tmp_path, chain, chain_feeds, capsys):
    path = tmp_path / "chain.onnx"
    ir.save(chain, path)
    monkeypatch.setattr(zoo, "model", lambda name: path)
    monkeypatch.setattr(zoo, "inputs", lambda name, rng: chain_feeds)
    quantized_bench.main(["chain"], seconds=0.01, folder=tmp_path / "kept")
    made = onnx.load(tmp_path / "kept" / "chain.onnx")
    assert any(node.op_type == "QuantizeLinear" for node in made.graph.node)
    text = capsys.readouterr().out
    for name in (quantized_bench.FLOAT, quantized_bench.OTHER, quantized_bench.OTHER_FLOAT):
        assert text.count(name) >= 3, text

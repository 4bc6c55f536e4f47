import numpy as np
import onnx_ir as ir
from rich.console import Console
from sardonyx.tools import demo, reference


def test_the_shipped_network_is_good_by_onnxruntimes_account():
    images = demo.held_out_images()
    assert images.pixels.shape == (len(images.labels), 1, 8, 8)
    assert len(images.labels) >= 300 and set(images.labels) == set(range(10))
    session = reference.open_session(demo.DATA / "digits.onnx")
    (result,) = session.run(None, {"pixels": images.pixels})
    assert np.mean(result.argmax(1) == images.labels) >= demo.LEAST_ACCURACY


def test_the_shipped_network_leaves_work_for_the_optimizer():
    operators = [node.op_type for node in ir.load(demo.DATA / "digits.onnx").graph]
    assert operators.count("Conv") == 4 and "BatchNormalization" in operators


def test_demo_runs(monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "_SECONDS", 0.01)
    console = Console(width=200, file=(tmp_path / "out.txt").open("w"), record=True)
    demo.main(console)
    shown = console.export_text()
    assert "accuracy on 450 held-out images" in shown
    assert "agreement with onnxruntime: 450 of 450" in shown
    assert "ratio" in shown and "By operator" in shown

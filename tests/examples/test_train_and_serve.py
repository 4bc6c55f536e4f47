"""The story of a classifier, in each framework."""

from __future__ import annotations

import json
import os

import numpy as np
import onnx
import pytest
import sardonyx

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
pytest.importorskip(
    "sklearn", reason="scikit-learn is not installed: pip install sardonyx[examples]"
)


@pytest.mark.parametrize("framework", ["keras", "torch", "tensorflow"])
def test_a_network_is_as_accurate_when_it_is_served(framework, example, tmp_path, capsys):
    extra = "torch" if framework == "torch" else "keras"
    why = f"{framework} is not installed: pip install sardonyx[{extra}]"
    pytest.importorskip("tensorflow" if framework == "keras" else framework, reason=why)
    pytest.importorskip(framework, reason=why)

    arguments = ["--framework", framework, "--epochs", "4", "--output", str(tmp_path)]
    (outcome,) = example("train_and_serve").main(arguments)
    assert outcome.trained > 0.9  # a tenth by chance
    assert outcome.trained == outcome.converted == outcome.optimized
    assert outcome.error < 1e-5
    assert outcome.nodes[1] <= outcome.nodes[0]
    onnx.checker.check_model(onnx.load(tmp_path / f"{framework}-optimized.onnx"), full_check=True)

    shown = capsys.readouterr().out
    assert f"served from {outcome.artifact}" in shown
    assert "450 images to test on" in shown and f"{100 * outcome.trained:.1f} %" in shown

    session = sardonyx.Session(outcome.artifact)
    labels = session.get_modelmeta().custom_metadata_map["labels"]
    assert json.loads(labels) == [str(digit) for digit in range(10)]
    image = np.zeros(session.get_inputs()[0].shape[1:], np.float32)
    server = example("label_server")
    with server.serving(session) as port:
        answer = server.ask(port, image)
    assert list(answer["probabilities"].values()) == session(image[None])[0].tolist()

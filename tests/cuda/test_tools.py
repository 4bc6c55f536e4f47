"""The command line with ``--device cuda``, on the simulated GPU."""

from pathlib import Path

import numpy as np
from onnx import helper
from sardonyx.tools.cli import app
from sardonyx.tools.cuda_cases.runs import floats, model_of
from typer.testing import CliRunner

node = helper.make_node


def written(folder: Path) -> Path:
    nodes = [
        node("Mul", ["x", "x"], ["a"]),
        node("ArrayFeatureExtractor", ["a", "i"], ["v"], domain="ai.onnx.ml"),
        node("Exp", ["v"], ["y"]),
    ]
    path = folder / "model.onnx"
    path.write_bytes(
        model_of(nodes, {"x": floats(2, 3)}, {"i": np.array([2, 0])}).SerializeToString()
    )
    return path


def called(*arguments):
    result = CliRunner().invoke(app, [str(each) for each in arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


def test_run(tmp_path):
    path, outputs = written(tmp_path), tmp_path / "outputs.npz"
    np.save(tmp_path / "x.npy", floats(2, 3))
    called("run", path, "--device", "cuda", "--input", f"x={tmp_path / 'x.npy'}", "-o", outputs)
    wanted = np.exp(floats(2, 3)[:, [2, 0]] ** 2)
    np.testing.assert_allclose(np.load(outputs)["y"], wanted, rtol=1e-3)


def test_profile_shows_the_copies(tmp_path):
    path, table = written(tmp_path), tmp_path / "table.csv"
    text = called("profile", path, "--device", "cuda", "--runs", "2", "--export", table)
    assert text.count("ToDevice") == text.count("ToHost") == 3  # two copies and their sum
    assert "cuda:simulated" in text
    assert len(table.read_text().splitlines()) == 8  # three steps, four copies

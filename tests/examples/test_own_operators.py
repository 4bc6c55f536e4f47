"""Operators of the caller's are steps like others; what nobody registered is named."""

from __future__ import annotations

import numpy as np
import onnx.parser
import pytest
import sardonyx
from sardonyx.tools import cli
from typer.testing import CliRunner


def test_all_three_kinds_run_and_are_profiled(example, capsys):
    module = example("own_operators")
    outcome = module.main(["--rows", "5"])
    x = np.random.default_rng(0).normal(0, 9, (5, 16)).astype(np.float32)
    capped = 5 * np.tanh(x.astype(np.float64) / 5)
    means = np.lib.stride_tricks.sliding_window_view(capped, 3, 1).mean(-1)
    np.testing.assert_allclose(outcome.smooth, means, rtol=1e-5, atol=1e-5)
    assert outcome.words == ["high" if row.mean() > 0 else "low" for row in means]
    assert {"Softcap", "MovingMean", "Describe"} <= set(outcome.steps)
    shown = capsys.readouterr().out
    assert "MovingMean" in shown and '@sardonyx.operator("my.domain", "Hardcap"' in shown


@pytest.mark.parametrize("entry", ["Session", "optimize", "profile"])
def test_every_entry_says_how_to_register(entry, example, tmp_path):
    text = example("own_operators").MODEL.replace("Softcap", "Hardcap")
    model = onnx.parser.parse_model(text)
    if entry == "profile":
        onnx.save(model, tmp_path / "scores.onnx")
        command = [entry, str(tmp_path / "scores.onnx"), "--dim", "rows=2", "--dim", "columns=9"]
        result = CliRunner().invoke(cli.app, command)
        assert result.exit_code == 1
        said = " ".join(result.output.split())
    else:
        with pytest.raises(sardonyx.SardonyxError) as error:
            if entry == "Session":
                sardonyx.Session(model)
            else:
                sardonyx.optimize(sardonyx.load(model), verify=True)
        said = str(error.value)
    assert "Hardcap" in said and "@sardonyx.operator(" in said

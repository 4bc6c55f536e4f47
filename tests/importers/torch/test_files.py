"""Files of weights, and pickles, of which none runs anything unless the caller says so."""

from __future__ import annotations

import os
import pickle
import zipfile

import numpy as np
import pytest
import sardonyx

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install sardonyx[torch]")
nn = torch.nn


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def check(module, model):
    session = sardonyx.Session(model)
    x = torch.randn(3, 4)
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    np.testing.assert_allclose(found, module(x).detach().numpy(), rtol=1e-4, atol=1e-5)


@pytest.fixture
def net():
    return nn.Linear(4, 2)


@pytest.mark.parametrize("wrap", ["", "state_dict", "model_state_dict", "model", "module.", "old"])
def test_weights_go_into_the_module(wrap, net, tmp_path):
    weights = net.state_dict()
    if wrap == "module.":
        weights = {wrap + key: value for key, value in weights.items()}
    elif wrap and wrap != "old":
        weights = {"epoch": 3, wrap: weights}
    zipped = wrap != "old"
    torch.save(weights, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    for module in (nn.Linear(4, 2), lambda: nn.Linear(4, 2)):
        x = torch.ones(1, 4)
        check(net, sardonyx.load(tmp_path / "w.pth", module=module, example_inputs=x))


def test_weights_need_their_module(net, tmp_path):
    path = tmp_path / "w.pt"
    torch.save(net.state_dict(), path)
    x = torch.ones(1, 4)
    for module, message in [
        (None, r"w\.pt holds weights only \(weight, bias.*give the module .* as module="),
        (
            nn.Linear(4, 3),
            r"weights in .*w\.pt are not those of module=: .*size mismatch for weight",
        ),
        (nn.Conv1d(4, 2, 1, bias=False), r'Unexpected key\(s\) in state_dict: "bias"'),
        (3, "module= is a int: give an nn.Module or a function"),
        (dict, "module= returned a dict instead of an nn.Module"),
    ]:
        with pytest.raises(sardonyx.InvalidArgument, match=message):
            sardonyx.load(path, module=module, example_inputs=x)
    with pytest.raises(sardonyx.InvalidArgument, match="Linear needs example_inputs="):
        sardonyx.load(path, module=net)


def test_a_pickled_module_is_opened_only_when_the_caller_says_so(net, tmp_path):
    path = tmp_path / "whole.pt"
    torch.save(net, path)
    x = torch.ones(1, 4)
    with pytest.raises(
        sardonyx.InvalidArgument,
        match=r"whole\.pt .*torch\.nn\.modules\.linear\.Linear.* runs code .*allow_pickle=True",
    ):
        sardonyx.load(path, example_inputs=x)
    check(net, sardonyx.load(path, example_inputs=x, allow_pickle=True))


def test_no_file_runs_anything(net, tmp_path):
    made = tmp_path / "made"
    torch.save({"a": Bomb(made)}, tmp_path / "zip.pt")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Bomb(made)))
    (tmp_path / "named.jit").write_bytes(pickle.dumps(Bomb(made)))
    # torch.export.load has no restricted mode of its own.
    torch.export.save(torch.export.export(net, (torch.ones(1, 4),)), tmp_path / "good.pt2")
    torch.save((Bomb(made),), tmp_path / "inputs.pt")
    with (
        zipfile.ZipFile(tmp_path / "good.pt2") as good,
        zipfile.ZipFile(tmp_path / "bad.pt2", "w") as bad,
    ):
        for name in good.namelist():
            evil = "sample_inputs" in name
            bad.writestr(name, (tmp_path / "inputs.pt").read_bytes() if evil else good.read(name))
    for name in ("zip.pt", "plain.pth", "named.jit", "bad.pt2"):
        with pytest.raises(sardonyx.SardonyxError, match=name.replace(".", r"\.")):
            sardonyx.load(tmp_path / name, example_inputs=torch.ones(1, 4))
        assert not made.exists(), name
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ
    with pytest.raises(sardonyx.InvalidArgument, match="holds a dict, which is neither"):
        sardonyx.load(tmp_path / "zip.pt", example_inputs=torch.ones(1, 4), allow_pickle=True)
    assert made.exists()


def test_what_is_no_model(tmp_path):
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "empty.pt").touch()
    torch.save([torch.ones(2)], tmp_path / "list.pt")
    torch.save({}, tmp_path / "nothing.pt")
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as other:
        other.writestr("readme", "hello")
    for name, message in [
        ("text.pt", "is neither a TorchScript archive, nor an exported program"),
        ("empty.pt", "is neither a TorchScript archive, nor an exported program"),
        ("other.pt", "is neither a TorchScript archive, nor an exported program"),
        ("list.pt", "holds a list, which is neither a module nor a state dict"),
        ("nothing.pt", "holds a dict, which is neither a module nor a state dict"),
    ]:
        with pytest.raises(sardonyx.InvalidArgument, match=rf"{name}.* {message}"):
            sardonyx.load(tmp_path / name, example_inputs=torch.ones(1, 4))

"""Code in files of PyTorch, which runs only where it computes or the caller trusts it."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile

import pytest
import sardonyx
from sardonyx.importers.torch import trust

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install sardonyx[torch]")
nn = torch.nn

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TorchScript as such

X = torch.ones(2, 3)


class Saves(nn.Module):
    def forward(self, x):
        torch.save(x, "written")
        return x + 1


class Maps(nn.Module):
    """Has a file for a tensor's memory, which it overwrites."""

    def forward(self, x):
        y = torch.from_file("written", shared=True, size=4, dtype=torch.uint8)
        y.fill_(65)
        return x + y.sum()


class Opened(nn.Module):
    """Writes already when the archive is opened."""

    def forward(self, x):
        return x

    @torch.jit.export
    def __getstate__(self):
        return (torch.zeros(1), self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]):
        torch.save(state[0], "written")
        self.training = state[1]


class Inside(nn.Module):
    """Calls a part of its own that writes."""

    def __init__(self):
        super().__init__()
        self.part = Saves()

    def forward(self, x):
        return torch.relu(self.part(x))


class Language(nn.Module):
    """What TorchScript's language has besides operators on tensors."""

    def forward(self, x, n: int = 2):
        assert x.dim() == 2, "rank"
        found = {"x": x}
        parts = [x]
        for i in range(n):
            parts.append(torch.einsum("ab,ab->ab", x, found["x"]))
            if i == 7:
                raise ValueError(f"{i} of {n}")
        with torch.no_grad():
            later = torch.jit.fork(torch.relu, x)
        return torch.stack(parts).sum(0), torch.jit.wait(later), "-".join(["a", str(n)])


@pytest.mark.parametrize(
    ("kind", "compiled"),
    [(Saves, True), (Maps, True), (Maps, False), (Opened, True), (Inside, True)],
)
def test_an_archive_that_writes_needs_the_callers_word(kind, compiled, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "written"
    place.write_bytes(b"1234")
    script = torch.jit.script(kind()) if compiled else torch.jit.trace(kind(), X)
    place.write_bytes(b"1234")
    script.save("m.pt")
    wanted = r"m\.pt holds TorchScript with torch\.(save|from_file), .*allow_code=True"
    for run in (sardonyx.load, sardonyx.convert):
        with pytest.raises(sardonyx.InvalidArgument, match=wanted):
            run("m.pt", example_inputs=X)
        assert place.read_bytes() == b"1234"
    with contextlib.suppress(sardonyx.SardonyxError):
        sardonyx.load("m.pt", example_inputs=X, allow_code=True)
    assert place.read_bytes() != b"1234"


def archive(path, code, pickled=b"\x80\x02N."):
    """Write a TorchScript archive by hand, of which only the code matters."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("m/data.pkl", pickled)
        file.writestr("m/constants.pkl", b"\x80\x02).")
        file.writestr("m/code/__torch__.py", code)


BODY = "class M(Module):\n  def forward(self: __torch__.M, x: Tensor) -> Tensor:\n    {}\n"


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ('torch.save(x, "f")', "torch.save"),
        ('(x).save("f")', "x.save"),
        ('((x).relu()).save("f")', ".save"),
        ('t = torch\n    t.add(x, x)', "torch"),
        ('o = ops\n    o.image.write_file("f", x)', "ops"),
        ('o = ops.aten\n    o.save(x, "f")', "ops.aten"),
        ('ops.aten.save(x, "f")', "ops.aten.save"),
        ('ops.image.write_file("f", x)', "ops.image"),
        ("ops.mine.compute(x)", "ops.mine"),
        ("ops.prim.PythonOp(x)", "ops.prim.PythonOp"),
        ('rpc_sync("other", f)', "rpc_sync"),
        ('r = rpc_sync\n    r("other", f)', "rpc_sync"),
        ("c = __torch__.torch.classes.dist_c10d.Store.__new__()", r"classes\.dist_c10d"),
        ("torch.operator_of_a_later_version(x)", "operator_of_a_later_version"),
    ],
)  # fmt: skip
def test_no_way_to_write_a_call_hides_it(line, named, tmp_path):
    archive(tmp_path / "m.pt", BODY.format(line))
    with pytest.raises(sardonyx.InvalidArgument, match=rf"m\.pt holds TorchScript with .*{named}"):
        sardonyx.load(tmp_path / "m.pt", example_inputs=X)


def test_objects_of_foreign_classes_and_what_cannot_be_read(tmp_path):
    foreign = b"\x80\x02c__torch__.torch.classes.dist_c10d\nStore\n)\x81."
    archive(tmp_path / "m.pt", BODY.format("return x"), foreign)
    with pytest.raises(sardonyx.InvalidArgument, match=r"classes\.dist_c10d\.Store"):
        sardonyx.load(tmp_path / "m.pt", example_inputs=X)
    archive(tmp_path / "m.pt", BODY.format("return ^Python(x)"))
    with pytest.raises(sardonyx.ImportFailed, match=r"m\.pt cannot be read as TorchScript"):
        sardonyx.load(tmp_path / "m.pt", example_inputs=X)


@pytest.mark.parametrize(
    "module",
    [
        Language(), nn.MultiheadAttention(8, 2), nn.LSTM(4, 4), nn.Transformer(8, 2, 1, 1, 16),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Upsample(scale_factor=2)),
        nn.Sequential(nn.EmbeddingBag(9, 4), nn.Softmax(1)),
    ],
    ids=lambda module: type(module).__name__,
)  # fmt: skip
def test_what_only_computes_is_opened(module, tmp_path):
    path = str(tmp_path / "m.pt")
    torch.jit.script(module).save(path)
    trust.check_code(path, "TorchScript")


def test_no_operator_of_pytorch_that_takes_a_file_is_pure():
    schemas = torch._C._jit_get_all_schemas()
    names = {s.name for s in schemas if any("file" in a.name for a in s.arguments)}
    assert {"aten::save", "aten::from_file"} <= names
    assert not any(trust._is_pure(name) for name in names)
    assert all(trust._is_pure(f"aten::{name}") for name in ("add", "conv2d", "append", "format"))


@pytest.fixture(scope="module")
def program():
    class Halves(nn.Module):
        def forward(self, x):
            return x[:, :16].reshape(x.shape[0], -1, 2).sum(1)

    free = torch.export.Dim.AUTO
    held = torch.export.export(Halves(), (torch.ones(2, 12),), dynamic_shapes=({0: free, 1: free},))
    file = io.BytesIO()
    torch.export.save(held, file)
    return file.getvalue()


def changed(program, path, change, more=()):
    """Write a program with each mapping of its graph changed, and with more entries."""

    def visit(value):
        if isinstance(value, dict):
            change(value)
        for item in value.values() if isinstance(value, dict) else value:
            if isinstance(item, dict | list):
                visit(item)

    with zipfile.ZipFile(io.BytesIO(program)) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("model.json"):
                graph = json.loads(data)
                visit(graph)
                data = json.dumps(graph).encode()
            new.writestr(name, data)
        folder = old.namelist()[0].partition("/")[0]
        for name in more:
            new.writestr(f"{folder}/{name}", b"")


def test_an_exported_program_holds_operators_and_arithmetic(program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "m.pt2"
    changed(program, path, lambda held: None)
    trust.check_code(str(path), "an exported program")
    evil = "__import__('os').mkdir('made')"
    keys = {
        "expr_str": [evil, f"S({evil!r})", f"Integer({evil!r})", "exec(Symbol('x'))", "x.evil()"],
        "guards_code": [[f"{evil} is None"]],
        "target": ["torch.ops.aten.save", "torch.ops.aten.from_file.default", "torch.load",
                   "torch.ops.mine.compute.default", "os.system", "torch.ops.higher_order.print"],
    }  # fmt: skip
    for key, values in keys.items():
        for value in values:
            changed(
                program, path, lambda held, k=key, v=value: held.update({k: v} if k in held else {})
            )
            with pytest.raises(sardonyx.InvalidArgument, match="allow_code=True"):
                sardonyx.load(path)
            assert not (tmp_path / "made").exists()
    for name in ("data/aotinductor/model/a.so", "data/constants/custom_obj_0"):
        changed(program, path, lambda held: None, [name])
        with pytest.raises(sardonyx.InvalidArgument, match=r"compiled code .*allow_code=True"):
            sardonyx.load(path)

import os
import threading

import onnx_ir as ir
import pytest
import typer
from sardonyx import InvalidArgument
from sardonyx.tools import contention as module
from sardonyx.tools import reference
from sardonyx.tools.contention import BOUNDS, Contention, busy_process, contention, pinned
from typer.testing import CliRunner

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="threads cannot be pinned here, or there is one processor only",
)


@pytest.fixture
def short_blocks(monkeypatch):
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(module, "_BLOCK_SECONDS", 0.0)


def test_every_situation_is_measured(chain, chain_feeds, short_blocks, tmp_path):
    path = tmp_path / "chain.onnx"
    ir.save(chain, path)
    measured = contention("chain", str(path), chain_feeds, 0.0)
    assert [each.situation for each in measured] == list(BOUNDS)[: len(measured)]
    assert len(measured) == 3 + reference.is_available()
    for each in measured:
        assert each.model == "chain"
        assert each.contended_ns > 0 and each.base_ns > 0


def affinities():
    return [os.sched_getaffinity(thread) for thread in module._threads()]


def test_all_threads_are_pinned_and_released():
    cores = os.sched_getaffinity(0)
    done = threading.Event()
    early, late = (threading.Thread(target=done.wait) for _ in range(2))
    early.start()
    before = affinities()
    try:
        with pinned(min(cores)):
            late.start()
            assert all(mask == {min(cores)} for mask in affinities())
        assert affinities() == [*before, set().union(*before)]
    finally:
        done.set()
        early.join()
        late.join()


def test_a_busy_process_stays_on_its_core_and_ends():
    core = max(os.sched_getaffinity(0))
    with busy_process(core) as process:
        assert os.sched_getaffinity(process.pid) == {core}
        assert process.poll() is None
    assert process.poll() is not None


def test_one_processor_is_refused(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    with pytest.raises(InvalidArgument, match=r"needs two processors, .* may use \[3\]"):
        contention("chain", "chain.onnx", {}, 0.0)


def test_runs_of_a_block_alternate_with_those_beside_them(short_blocks):
    calls = []
    block = module._repeat(lambda: calls.append("own"), False, lambda: calls.append("other"))
    times = block()
    assert calls == ["own", "other"] * (len(times) + 1)


MEASURED = [
    Contention("mnist", situation, 2e6, 1.6e6) for situation in (module.ALONE, module.PINNED)
]


def test_ratios_are_printed_with_their_bounds():
    lines = module.markdown(MEASURED).splitlines()
    assert lines[0] and lines[2].startswith("| model | situation | ratio | bound |")
    assert lines[4] == f"| mnist | {module.ALONE} | 1.25 |  | 2.000 | 1.600 |"
    assert lines[5] == f"| mnist | {module.PINNED} | 1.25 | 1.10 | 2.000 | 1.600 |"
    assert [row.style for row in module.table(MEASURED).rows] == [None, "red"]


def test_the_command_measures_files(chain, monkeypatch, tmp_path):
    asked = []

    def measure(name, path, feeds, seconds):
        asked.append((name, path, {key: array.shape for key, array in feeds.items()}, seconds))
        return MEASURED

    monkeypatch.setattr(module, "contention", measure)
    app = typer.Typer()
    app.command()(module.main)
    path = str(tmp_path / "chain.onnx")
    ir.save(chain, path)
    done = CliRunner().invoke(app, [path, "--seconds", "0.5", "--markdown"])
    assert done.exit_code == 0, done.output
    assert asked == [("chain", path, {"x": (1, 4)}, 0.5)]
    assert "| mnist |" in done.output

import itertools
import math
import subprocess
import sys
import time

import numpy as np
import onnx_ir as ir
import pytest
from sardonyx import InvalidArgument, SardonyxError
from sardonyx.tools import bench as benchmarks
from sardonyx.tools import engines, zoo
from sardonyx.tools.bench import Race, Setting, bench, interleave, race
from sardonyx.tools.footprint import footprint, peak_bytes


@pytest.fixture
def chain_file(chain, tmp_path):
    path = tmp_path / "chain.onnx"
    ir.save(chain, path)
    return str(path)


@pytest.fixture(autouse=True)
def short_turns(monkeypatch):
    monkeypatch.setattr(benchmarks, "_SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(benchmarks, "_TURN_SECONDS", 0.001)


def test_functions_take_turns_and_are_timed():
    calls = []

    def slow():
        calls.append("slow")
        time.sleep(0.002)

    times = interleave({"fast": lambda: calls.append("fast"), "slow": slow}, 0.001)
    assert np.median(times["slow"]) > 2e6 > np.median(times["fast"])
    assert all(len(found) >= 9 for found in times.values())
    changes = sum(a != b for a, b in itertools.pairwise(calls))
    assert changes >= 3


def test_nothing_to_time():
    assert interleave({}, 1.0) == {}


def test_engines_are_compared_with_onnxruntime(chain_file, chain_feeds):
    names = [name for name in engines.installed() if name != "sardonyx"]
    found = bench(
        "chain",
        chain_file,
        chain_feeds,
        Setting(),
        seconds=0.01,
        engines=names,
        with_footprint=False,
    )
    assert [result.engine for result in found] == names
    by_name = {result.engine: result for result in found}
    assert by_name["onnxruntime"].ratio == 1
    for result in found:
        assert not result.error and 0 < result.median_ms <= result.p95_ms
        assert result.ratio == pytest.approx(by_name["onnxruntime"].median_ms / result.median_ms)


def test_every_engine_computes_the_same(chain_file, chain_feeds):
    results = {}
    for name in engines.installed():
        if name == "sardonyx":
            continue
        result = engines.open_engine(name, chain_file, chain_feeds, 1)()
        results[name] = np.asarray(next(iter(result.values())) if name == "openvino" else result[0])
    first, *rest = results.values()
    for other in rest:
        np.testing.assert_allclose(other, first, rtol=1e-5, atol=1e-6)


def test_an_engine_that_fails_is_reported_not_raised(tmp_path, chain_feeds):
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"nonsense")
    (result,) = bench("bad", str(bad), chain_feeds, Setting(), engines=["onnxruntime"])
    assert result.error and math.isnan(result.median_ms)


def test_unknown_engine():
    with pytest.raises(InvalidArgument, match="no engine 'tensorrt' here; there are sardonyx"):
        engines.open_engine("tensorrt", "", {}, 1)
    with pytest.raises(SardonyxError, match="no engine 'tensorrt' here; there are sardonyx"):
        footprint("tensorrt", "", {}, 1)


def test_footprint_is_of_a_process_of_its_own(chain_file, chain_feeds):
    ballast = np.ones(2**26, np.uint8)
    found = footprint("onnxruntime", chain_file, chain_feeds, 1)
    assert 0 < found.warm_s < 60 and found.cold_s > 0
    assert 10 * 2**20 < found.peak_bytes < 2**31
    assert peak_bytes() > ballast.nbytes


def test_footprint_names_what_went_wrong(tmp_path, chain_feeds):
    (tmp_path / "bad.onnx").write_bytes(b"nonsense")
    with pytest.raises(SardonyxError, match="onnxruntime failed on"):
        footprint("onnxruntime", str(tmp_path / "bad.onnx"), chain_feeds, 1)


def test_peak_memory_without_proc(monkeypatch):
    usual = peak_bytes()
    monkeypatch.setattr("pathlib.Path.read_text", lambda self: "")
    assert 0.5 * usual < peak_bytes() < 8 * usual or sys.platform == "darwin"


def test_settings_combine_batches_threads_and_throughput(monkeypatch):
    monkeypatch.setattr(benchmarks, "available_processors", lambda: 4)
    found = benchmarks.settings([1, 8], [1, 2])
    assert [(s.batch, s.threads, s.requests) for s in found] == [
        (1, 1, 1), (1, 2, 1), (8, 1, 1), (8, 2, 1), (1, 1, 4),
    ]  # fmt: skip
    assert len(benchmarks.settings([1], [2], throughput=False)) == 1
    assert [str(s) for s in found[1::3]] == ["batch 1, 2 threads", "4 requests, 1 thread"]


def test_long_runs_are_not_warmed_up_again(monkeypatch):
    monkeypatch.setattr(benchmarks, "_LONG_RUN_SECONDS", 0.001)
    calls = []
    times = interleave({"slow": lambda: (calls.append(1), time.sleep(0.002))}, 0.001)
    assert len(calls) == len(times["slow"]) == 3


@pytest.mark.parametrize("engine", engines.installed())
def test_requests_run_at_the_same_time(engine, chain_file, chain_feeds):
    run = engines.open_engine(engine, chain_file, chain_feeds, 1, requests=2)
    for _ in range(3):
        run()


def test_outputs_are_compared_with_onnxruntimes(chain_file, chain_feeds):
    found = bench("chain", chain_file, chain_feeds, Setting(), seconds=0.01, with_footprint=False)
    for result in found:
        limit = 0 if result.engine == "onnxruntime" else 1e-5
        assert result.difference <= limit, result


def test_a_model_that_cannot_be_had_is_left_out(monkeypatch):
    def refuse(name):
        raise zoo.Unavailable("no network")

    monkeypatch.setattr(zoo, "model", refuse)
    said = []
    assert list(benchmarks.run_suite(["ocr_det"], [Setting()], said.append)) == []
    assert said == ["ocr_det left out: no network"]


def test_a_suite_measures_what_is_not_done_and_starts_once(monkeypatch):
    asked = []

    def fake(name, path, feeds, setting, with_footprint, **_):
        batch = {array.shape[0] for array in feeds.values()}
        asked.append((name, setting.batch, with_footprint, batch))
        return []

    monkeypatch.setattr(benchmarks, "bench", fake)
    chosen = [Setting(1, 1), Setting(1, 2), Setting(4, 1)]
    done = {("mobilenet_v2", Setting(1, 2))}
    list(benchmarks.run_suite(["mobilenet_v2"], chosen, lambda _: None, done=done))
    assert asked == [("mobilenet_v2", 1, True, {1}), ("mobilenet_v2", 4, False, {4})]


def test_an_engines_process_imports_nothing_it_does_not_need(chain_file):
    """Otherwise the memory and start of onnxruntime would be charged for ours."""
    code = (
        "import sys\n"
        "from sardonyx.tools import footprint, engines\n"
        f"engines.open_engine('onnxruntime', {chain_file!r}, {{}}, 1)\n"
        "print(sorted({'onnx', 'onnx_ir', 'numba', 'rich', 'typer'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_race_counts_by_two_quantiles_and_names_what_fails(chain_file, chain_feeds, tmp_path):
    other = tmp_path / "none.onnx"
    files = dict.fromkeys(("sardonyx", "onnxruntime"), chain_file)
    found = race({**files, "fused": other}, chain_feeds, 1, 0.001, engines={"fused": "onnxruntime"})
    assert list(found.times) == ["sardonyx", "onnxruntime"] and found.error < 1e-5
    assert "none.onnx" in found.failures["fused"] and "fused fails" in str(found)
    times = {"sardonyx": np.arange(1.0, 12), "onnxruntime": 2 * np.arange(1.0, 12) + 2}
    ratios = [Race(times, None, {}).ratios(quantile) for quantile in (0.5, Race.LOW)]
    assert ratios == [{"onnxruntime": 14 / 6}, {"onnxruntime": 3.0}]
    assert "2.33 (3.00)" in str(Race(times, None, {}))


def test_race_says_why_there_is_nothing_to_compare(chain_file, chain_feeds, tmp_path):
    files = {"sardonyx": tmp_path / "none.onnx", "onnxruntime": chain_file}
    with pytest.raises(SardonyxError, match=r"sardonyx fails with .*none\.onnx"):
        race(files, chain_feeds, 1, 0.001)

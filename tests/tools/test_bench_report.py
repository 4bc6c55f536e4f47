import json
import math
import xml.etree.ElementTree as ET

import pytest
from rich.console import Console
from sardonyx.tools import bench_plots, zoo
from sardonyx.tools import bench_processors as processors
from sardonyx.tools import bench_report as report
from sardonyx.tools.bench import Result, Setting
from sardonyx.tools.engines import ENGINES
from sardonyx.tools.footprint import Footprint

ONE = Setting()
FOOTPRINT = Footprint(0.1, 2.0, 0.5, 2**20)
RESULTS = [
    Result("vgg19", ONE, "sardonyx", 9, 1.0, 1.1, 4.0, 2e-6, FOOTPRINT),
    Result("vgg19", ONE, "onnxruntime", 9, 4.0, 4.4, 1.0, 0.0),
    Result("resnet50", ONE, "sardonyx", 9, 2.0, 2.2, 1.0, 1e-6),
    Result("resnet50", ONE, "onnxruntime", 9, 2.0, 2.2, 1.0, 0.0),
    Result("resnet50", ONE, "openvino", error="cannot"),
    Result("resnet50", Setting(8, 2), "sardonyx", 9, 16.0, 17.0),
]


def test_means():
    assert report.geometric_mean([4.0, 1.0]) == pytest.approx(2)
    assert math.isnan(report.geometric_mean([]))
    assert report.summary(RESULTS) == [
        ("batch 1, 1 thread", "onnxruntime", "2.00", "1.00", "resnet50")
    ]


def test_written_report(tmp_path):
    path = tmp_path / "docs" / "benchmarks.md"
    processors.write(RESULTS, path, ["a.svg"])
    lines = path.read_text().splitlines()
    assert "| batch 1, 1 thread | onnxruntime | 2.00 | 1.00 | resnet50 |" in lines
    assert "![a.svg](a.svg)" in lines
    row = "| vgg19 | batch 1, 1 thread | 1.000 | 4.000 | – | 4.00 | – | 1000 | 2.0e-06 |"
    assert row in lines
    assert "| resnet50 | batch 8, 2 threads | 16.00 | – | – | – | – | 500 | – |" in lines
    assert "| vgg19 | sardonyx | 0.10 | 2.00 | 0.500 | 1.0 MiB |" in lines
    assert "- openvino fails on resnet50: cannot" in lines
    here = report.environment()["processor"]
    data = json.loads(processors.path_of(path, here).read_text())
    assert data["results"][4]["median_ms"] is None
    assert "processor" in data["environment"]


def test_a_report_is_read_back(tmp_path):
    path = tmp_path / "benchmarks.md"
    assert processors.earlier(path) == []
    processors.write(RESULTS, path)
    assert repr(processors.earlier(path)) == repr(RESULTS)


def test_figures_of_another_environment_are_not_merged(tmp_path, monkeypatch):
    path = tmp_path / "benchmarks.json"
    report.keep(RESULTS, path)
    here = report.environment()
    monkeypatch.setattr(report, "environment", lambda: {**here, "date": "another day"})
    assert len(report.read(path)) == len(RESULTS)
    monkeypatch.setattr(report, "environment", lambda: {**here, "numba": "0.1"})
    assert report.read(path) == []


def test_processors_stand_side_by_side(tmp_path, monkeypatch):
    """Each with what was measured last on it, and those that lack are named."""
    path = tmp_path / "benchmarks.md"
    here = report.environment()
    for name in ("znver3", "emeraldrapids"):
        there = {**here, "processor": f"{name}, 2 cores", "date": f"day of {name}"}
        for module in (report, processors):
            monkeypatch.setattr(module, "environment", lambda there=there: there)
        lacking = processors.write(RESULTS if name == "znver3" else RESULTS[:2], path)
    assert lacking == ["AMD Zen 4 (AVX-512)"]
    lines = path.read_text().splitlines()
    assert (
        "| model | threads | emeraldrapids × onnxruntime | emeraldrapids × openvino "
        "| znver3 × onnxruntime | znver3 × openvino |"
    ) in lines
    assert "| resnet50 | 1 | – | – | 1.00 | – |" in lines
    assert "| vgg19 | 1 | 4.00 | – | 4.00 | – |" in lines
    assert "| **geometric mean** | 1 | **4.00** | – | **2.00** | – |" in lines
    assert "- znver3: measured day of znver3" in lines
    assert "- not measured: AMD Zen 4 (AVX-512)" in lines
    assert repr(processors.earlier(path)) == repr(RESULTS[:2])


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"environment": {}}'])
def test_damaged_figures_are_left_out(tmp_path, damage):
    path = tmp_path / "benchmarks.md"
    processors.path_of(path, "znver3").write_text(damage)
    assert processors.all_figures(path) == []
    assert len(processors.write(RESULTS, path)) >= len(processors.WANTED) - 1


def test_newer_results_take_the_place_of_older_ones_in_the_suites_order():
    newer = Result("vgg19", ONE, "sardonyx", 9, 0.5, 0.6)
    found = report.merged(RESULTS, [newer, Result("mine", ONE, "sardonyx", 9, 1.0, 1.0)])
    assert len(found) == len(RESULTS) + 1
    assert [r.model for r in found] == ["resnet50"] * 4 + ["vgg19"] * 2 + ["mine"]
    assert found[4] == newer


def test_tables_fit_into_eighty_columns():
    results = [
        Result(name, setting, engine, 9, 3123.456, 3234.567, 1.23, 1.2e-6, FOOTPRINT)
        for name in (*zoo.BUILT, "inception_v1", "densenet121")
        for setting in (ONE, Setting(8, 2), Setting(requests=64))
        for engine in ENGINES
    ]
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(*report.tables(results))
    text = console.export_text()
    assert "…" not in text
    assert "1, 64×1" in text


def test_pictures_show_every_model(tmp_path):
    pytest.importorskip("matplotlib", reason="pictures need the extra bench")
    path = tmp_path / "benchmarks.md"
    pictures = bench_plots.draw(RESULTS, path)
    assert pictures == [f"benchmarks-{name}.svg" for name in ("batch-1", "batch-8", "memory")]
    text = " ".join(ET.parse(tmp_path / pictures[0]).getroot().itertext())
    for word in ("vgg19", "resnet50", "4.00", "sardonyx", "onnxruntime = 1", "batch 1, 1 thread"):
        assert word in text
    before = (tmp_path / pictures[0]).read_bytes()
    bench_plots.draw(RESULTS, path)
    assert (tmp_path / pictures[0]).read_bytes() == before


def test_a_report_without_matplotlib_has_no_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_plots, "is_available", lambda: False)
    drawn, _ = processors.publish(RESULTS, tmp_path / "benchmarks.md")
    assert not drawn
    assert "![" not in (tmp_path / "benchmarks.md").read_text()

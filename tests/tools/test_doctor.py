"""Examination of an installation, of sound ones and of those where something is amiss."""

import os
import subprocess
import sys

import pytest
from sardonyx.tools import doctor


def found(part, name):
    return next(each for each in doctor.examine() if (each.part, each.name) == (part, name))


def test_a_sound_installation_has_no_fault(call, monkeypatch, tmp_path):
    monkeypatch.setenv("SARDONYX_CACHE", str(tmp_path))
    shown = call("doctor")
    assert shown.exit_code == 0, shown.stdout
    for text in ("numba", "cost model", str(tmp_path.name), "free on the disk", "gpu"):
        assert text in shown.stdout
    assert "FAULT" not in shown.stdout


def test_a_missing_package_is_named_with_its_extra(monkeypatch, call):
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "torch" else real(name))
    finding = found("packages", "torch")
    assert finding.advice == "for models of PyTorch: pip install 'sardonyx[torch]'"
    assert "'sardonyx[torch]'" in " ".join(call("doctor").stdout.split())


@pytest.mark.parametrize("version", [None, "0.1"])
def test_a_needed_package_that_is_missing_or_too_old_is_a_fault(monkeypatch, call, version):
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: version if name == "numba" else real(name))
    monkeypatch.setattr(doctor, "_requirements", lambda: {"numba": ">=0.65,<0.69"})
    finding = found("packages", "numba")
    assert finding.state == "fault" and "pip install 'numba>=0.65,<0.69'" in finding.advice
    assert call("doctor").exit_code == 1


def test_requirements_are_read_without_extras(monkeypatch):
    lines = ["numpy>=2.0", "numba<0.69,>=0.65", 'torch>=2; extra == "torch"', "typer"]
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda name: lines)
    assert doctor._requirements() == {"numpy": ">=2.0", "numba": "<0.69,>=0.65", "typer": ""}


def test_a_cache_that_others_may_write_to_is_a_fault(monkeypatch, tmp_path):
    folder = tmp_path / "open"
    folder.mkdir()
    os.chmod(folder, 0o777)
    monkeypatch.setenv("SARDONYX_CACHE", str(folder))
    findings = [each for each in doctor.examine() if each.part == "cache"]
    assert findings[0].state == "fault"
    monkeypatch.setenv("SARDONYX_CACHE", "off")
    assert found("cache", "folder").state == "note"


def test_an_unknown_variable_is_a_fault(monkeypatch):
    monkeypatch.setenv("SARDONYX_THREDS", "2")
    finding = found("environment", "SARDONYX_THREDS")
    assert finding.state == "fault" and "SARDONYX_THREADS" in finding.advice


def test_what_cannot_be_looked_at_does_not_stop_the_rest(monkeypatch):
    def fail():
        raise OSError("no such thing")

    monkeypatch.setitem(doctor._PARTS, "cache", fail)
    assert found("cache", "error").state == "fault"
    assert found("processor", "name").value


def test_the_package_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "sardonyx", "--version"], capture_output=True, text=True
    )
    assert done.stdout.startswith("sardonyx ")


def test_the_shell_completes_commands():
    environment = {
        **os.environ,
        "_SARDONYX_COMPLETE": "complete_bash",
        "COMP_WORDS": "sardonyx do",
        "COMP_CWORD": "1",
    }
    code = "from sardonyx.tools.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.stdout.split() == ["doctor"], done.stderr

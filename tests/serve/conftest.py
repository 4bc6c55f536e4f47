"""A server for all tests of this folder."""

import onnx
import pytest
from sardonyx.tests.serve import models


@pytest.fixture(scope="session")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name in ("twice", "centred", "picked", "long", "divided", "sequence"):
        onnx.save(getattr(models, name.upper()), folder / f"{name}.onnx")
    for datatype in models.TYPES:
        onnx.save(models.moved(datatype), folder / f"moved_{datatype}.onnx")
    for version in ("2", "10"):
        (folder / "versions" / version).mkdir(parents=True)
        onnx.save(models.TWICE, folder / "versions" / version / "model.onnx")
    (folder / "broken.onnx").write_bytes(b"no model")
    return folder


@pytest.fixture(scope="session")
def server(repository):
    for package in ("starlette", "uvicorn", "httptools", "prometheus_client", "orjson"):
        pytest.importorskip(package, reason="the extra 'serve' is not installed")
    from sardonyx.tests.serve.serving import Serving

    found = Serving(
        repository, "--max-batch", "8", "--max-wait-ms", "2", "--timeout", "5",
        "--max-request-bytes", "1000000", "--max-queue", "32", "--threads", "1",
    )  # fmt: skip
    yield found.wait()
    code, printed = found.stop()
    assert code == 0, printed
    assert "Traceback" not in printed, printed

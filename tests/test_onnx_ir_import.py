"""onnx_ir is imported without what few models need, which is there when it is used."""

import subprocess
import sys

import pytest


def run(code):
    """Text that a process of its own prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_model_is_lowered_without_sympy_and_the_reference_implementation():
    code = """
import sys
import sardonyx
from sardonyx.runtime.lowering import lower
from sardonyx.tools.large_graphs import KINDS
for kind in ("chain_open", "reshape_computed", "conv"):
    lower(sardonyx.optimize(sardonyx.load(KINDS[kind](20).SerializeToString())))
print(sorted({"sympy", "onnx.reference"} & set(sys.modules)))
"""
    assert run(code) == "[]"


IMPORTS = ["sardonyx.load", "sardonyx.optimize", "import sardonyx.runtime.lowering"]


@pytest.mark.parametrize("first", IMPORTS)
def test_expressions_of_dimensions_are_sympys(first):
    code = f"""
import sardonyx
{first}
import onnx_ir, sympy.core
double = onnx_ir.SymbolicDim(sympy.Symbol("n")) * 2
print(double, isinstance(double._expr, sympy.Expr), type(sympy).__name__)
"""
    assert run(code) == "2*n True module"


def test_a_module_that_is_used_at_once_is_imported_at_once(tmp_path):
    (tmp_path / "hasty.py").write_text("import slow\nfrom slow.inner import number\n")
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "__init__.py").write_text("")
    (tmp_path / "slow" / "inner.py").write_text("number = 7\n")
    code = f"""
import sys
from sardonyx.onnx_ir_import import deferred
sys.path.insert(0, {str(tmp_path)!r})
with deferred("slow"):
    import hasty
print(hasty.number, sys.modules["slow"].__file__ is not None)
"""
    assert run(code) == "7 True"

"""The rules of ARCHITECTURE.md that a program can check."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GROUND = (
    "custom_inference",
    "custom_operators",
    "declarations",
    "difference",
    "dimension_names",
    "errors",
    "forks",
    "given_numbers",
    "inference_faults",
    "logs",
    "notes",
    "onnx_ir_import",
    "patches",
    "random_arrays",
    "unique_names",
)
"""Modules at the top that need numpy at most (and onnx_ir, to import it), for every room."""
ROOMS = ("compat", "importers", "kernels", "optimizer", "reference", "runtime", "tools")

# Who may import whom, of ours and of the libraries below; what is not named is free.
OURS = {
    "compat": {"", "errors", "runtime"},
    "kernels": {"errors", "forks", "patches"},
    "reference": {"custom_operators"},
    "optimizer": {*GROUND, "reference"},
    "importers": {
        "custom_inference",
        "custom_operators",
        "declarations",
        "errors",
        "given_numbers",
        "inference_faults",
        "logs",
        "notes",
        "onnx_ir_import",
        "patches",
        "unique_names",
    },
    "runtime": {*GROUND, "kernels"},
    "tools": {"", *GROUND, "importers", "kernels", "optimizer", "reference", "runtime"},
    "": {"custom_operators", "errors", "forks", "given_numbers", "logs"},
}
LIBRARIES = {"numba", "llvmlite", "onnx", "onnx_ir"}
FRAMEWORKS = {"torch", "tensorflow", "keras", "tf2onnx", "onnxscript", "jax"}
PEERS = {"onnxruntime", "openvino"}
ALLOWED = {
    "compat": {"onnx"},  # for its backend interface and for given initializers, when asked for
    "kernels": {"numba", "llvmlite"},
    "reference": {"onnx"},
    "optimizer": {"onnx", "onnx_ir"},
    "importers": {"onnx", "onnx_ir"} | FRAMEWORKS,
    "runtime": set(),
    "tools": LIBRARIES | FRAMEWORKS | PEERS,
    "": set(),
}
# The exceptions that ARCHITECTURE.md states: file (or folder) to what else it may import.
EXTRA = {
    "custom_inference.py": {"inference_faults", "onnx", "onnx_ir"},
    "custom_operators.py": {"numba", "onnx"},
    "registration.py": {"importers", "runtime"},
    "runtime/program_cache.py": {"importers"},
    "runtime/sources.py": {"optimizer", "importers"},
    "runtime/value_infos.py": {"onnx_ir"},
    "runtime/fixed_dimensions.py": {"onnx_ir"},
    "runtime/variant_inputs.py": {"onnx_ir"},
    "runtime/emission.py": {"onnx_ir"},
    "runtime/groups.py": {"onnx_ir"},
    "runtime/growth.py": {"onnx_ir"},
    "runtime/strips.py": {"onnx_ir"},
    "runtime/graph.py": {"onnx", "onnx_ir"},
    "runtime/shape_inference.py": {"onnx_ir"},
    "runtime/fusion.py": {"onnx", "onnx_ir"},
    "runtime/placement.py": {"onnx", "onnx_ir"},
    "runtime/half_values.py": {"onnx_ir"},
    "runtime/ports.py": {"onnx_ir"},
    "runtime/host_steps.py": {"onnx_ir"},
    "runtime/host.py": {"onnx", "onnx_ir", "reference"},
    "backend.py": {"onnx", "runtime"},
    "onnx_ir_import.py": {"onnx_ir"},
    "runtime/ops": {"onnx", "onnx_ir"},
    "runtime/validity.py": {"onnx"},
    "runtime/host_shapes.py": {"onnx", "onnx_ir"},
}


def sources():
    found = [ROOT / f"{name}.py" for name in ("__init__", "backend", "registration", *GROUND)]
    for room in ROOMS:
        found += (ROOT / room).rglob("*.py")
    return sorted(found)


def is_type_checking(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(path, with_types=False):
    """Yield (dotted name, line, whether it is inside a function) of what a file imports.

    What only a type checker imports is left out unless asked for. Names of ours begin with
    ``sardonyx``.
    """
    package = ["sardonyx", *path.relative_to(ROOT).parts[:-1]]

    def walk(node, inside):
        if is_type_checking(node) and not with_types:
            for child in node.orelse:
                yield from walk(child, inside)
            return
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, node.lineno, inside
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            module = [*base, *(node.module or "").split(".")]
            dotted = ".".join(part for part in module if part)
            for name in node.names:
                yield f"{dotted}.{name.name}", node.lineno, inside
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from walk(child, inside or is_function)

    yield from walk(ast.parse(path.read_text()), False)


def room_of(dotted):
    """Room of one of our dotted names, or module of the ground; empty for the root."""
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in (*ROOMS, *GROUND) else ""


def extra(path):
    name = path.relative_to(ROOT).as_posix()
    return set().union(*(also for key, also in EXTRA.items() if (name + "/").startswith(key + "/")))


def violations(path):
    relative = path.relative_to(ROOT)
    room = relative.parts[0] if len(relative.parts) > 1 else ""
    also = extra(path)
    for dotted, line, inside in imports(path):
        top = dotted.split(".")[0]
        where = f"{relative}:{line} imports {dotted}"
        if top == "sardonyx":
            target = room_of(dotted)
            if target != room and target not in OURS[room] | also:
                yield f"{where}: {room or 'the root'} may not import {target or 'the root'}"
        elif top in LIBRARIES | FRAMEWORKS | PEERS:
            if top not in ALLOWED[room] | also:
                yield f"{where}: {room or 'the root'} may not"
            elif top in FRAMEWORKS | PEERS and not inside:
                yield f"{where}: only inside a function"


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_follow_the_arrows(path):
    assert not list(violations(path))


def test_the_arrows_are_checked(tmp_path, monkeypatch):
    """A file that breaks every rule is caught at every rule."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "kernels").mkdir()
    bad = tmp_path / "kernels" / "bad.py"
    bad.write_text(
        "from ..runtime import program\n"
        "from .. import InvalidModel\n"
        "import onnx.helper\n"
        "from . import simd\n"
        "import numba\n"
        "def f():\n    from sardonyx.tools.cli import main\n"
    )
    lines = [found.split(":")[1].split()[0] for found in violations(bad)]
    assert lines == ["1", "2", "3", "7"]
    (tmp_path / "importers").mkdir()
    eager = tmp_path / "importers" / "eager.py"
    eager.write_text("import torch\ndef f():\n    import torch\n")
    assert ["only inside a function" in found for found in violations(eager)] == [True]


def file_of(dotted):
    """File that defines one of our dotted names: a module, or the ``__init__`` of a package."""
    parts = dotted.split(".")[1:]
    for count in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:count])
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                return file
    return ROOT / "__init__.py"


def import_graph():
    """Files of the package, each with those that it imports, for types and in functions too."""
    return {
        path: {
            file_of(dotted)
            for dotted, _, _ in imports(path, with_types=True)
            if dotted.split(".")[0] == "sardonyx"
        }
        for path in sources()
    }


def reachable(graph, start):
    """Nodes at the end of a path of at least one edge."""
    seen, waiting = set(), [start]
    while waiting:
        new = graph[waiting.pop()] - seen
        seen |= new
        waiting += new
    return seen


def circles(graph):
    """Strongly connected components with an edge inside, as sorted names of files."""
    reach = {node: reachable(graph, node) for node in graph}
    components = {
        frozenset(other for other in reach[node] if node in reach[other]) for node in graph
    }
    return sorted(
        sorted(path.relative_to(ROOT).as_posix() for path in component)
        for component in components
        if component
    )


def test_no_files_import_each_other_in_a_circle():
    assert circles(import_graph()) == []


def test_circles_are_found(tmp_path, monkeypatch):
    """Also through types, functions, packages and absolute names."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    tree = {
        "__init__.py": "from .runtime import a",
        **{f"{name}.py": "" for name in GROUND},
        "backend.py": "from . import errors, runtime",
        "registration.py": "",
        "runtime/__init__.py": "",
        "runtime/a.py": "if TYPE_CHECKING:\n    from .b import B",
        "runtime/b.py": "from . import c, a_name_of_the_package",
        "runtime/c.py": "def f():\n    import sardonyx.runtime.a",
        "runtime/d.py": "from .. import runtime, InvalidModel\nfrom .b import B",
        "kernels/__init__.py": "from . import one",
        "kernels/one.py": "from . import name\nfrom ..errors import InvalidModel",
    }
    for name, text in tree.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert circles(import_graph()) == [
        ["kernels/__init__.py", "kernels/one.py"],
        ["runtime/a.py", "runtime/b.py", "runtime/c.py"],
    ]


def test_packages_of_pyproject_are_the_folders():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = [
        name
        for name in settings["tool"]["setuptools"]["packages"]
        if name not in ("sardonyx.clusters", "sardonyx.tools.data")  # files alone
    ]
    folders = ["sardonyx"]
    for room in ROOMS:
        folders += [
            ".".join(["sardonyx", *path.parent.relative_to(ROOT).parts])
            for path in (ROOT / room).rglob("__init__.py")
        ]
    assert sorted(listed) == sorted(folders)


def test_every_folder_with_code_is_a_package():
    for path in sources():
        assert (path.parent / "__init__.py").exists(), path

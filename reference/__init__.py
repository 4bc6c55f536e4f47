"""Operators that follow the standard where onnx's reference implementation does not.

A class of a module of this folder whose name is that of an operator is its implementation; others
are onnx's own, with the types of the standard (`operator`).
"""

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules

import onnx
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from ..custom_operators import how_to_register
from .custom import custom_operators
from .operator import ML, originals

_CONTRIB = "com.microsoft"
"""Of these onnx has no schemas; those that have kernels are here, too."""
_AS_THEY_ARE = {"If"}
"""They run graphs."""


def _operators() -> list[type[OpRun]]:
    schemas = {(schema.domain, schema.name) for schema in onnx.defs.get_all_schemas()}
    own: dict[tuple[str, str], type[OpRun]] = {}
    for info in iter_modules(__path__):
        for name, value in vars(import_module(f"{__name__}.{info.name}")).items():
            if isinstance(value, type) and issubclass(value, OpRun):
                own[value.op_domain, name] = value
    own = {key: value for key, value in own.items() if key in schemas or key[0] == _CONTRIB}
    others: list[type[OpRun]] = []
    for domain in ("", ML):
        names = {name for d, name in schemas - own.keys() if d == domain}
        others += originals(domain, names - _AS_THEY_ARE)
    return [*own.values(), *others]


OPERATORS: list[type[OpRun]] = _operators()
"""For ``new_ops`` of a ReferenceEvaluator."""

_DOMAINS = {schema.domain for schema in onnx.defs.get_all_schemas()}
_BY_NAME = {(each.op_domain, each.__name__): each for each in OPERATORS}


def evaluator(model: onnx.ModelProto) -> ReferenceEvaluator:
    """Make an evaluator of a model that computes by these operators.

    An evaluator looks through all operators that it is given for each graph, so it gets those of
    the model's nodes; all where some are functions, which are made of others.

    Raises
    ------
    NotImplementedError
        An operator is neither of the standard nor registered; says how to register it.
    """
    names = {(node.domain, node.op_type) for node in _nodes(model.graph)}
    versions = {each.domain: each.version for each in model.opset_import}
    custom = custom_operators(names, versions)
    for domain, name in names - custom.keys() - {(f.domain, f.name) for f in model.functions}:
        if domain not in _DOMAINS and (domain, name) not in _BY_NAME:
            raise NotImplementedError(
                f"operator {domain}.{name} is not known; "
                f"{how_to_register(domain, name, versions.get(domain, 1))}"
            )
    rest = names - _BY_NAME.keys() - custom.keys() - {("", name) for name in _AS_THEY_ARE}
    chosen = OPERATORS if rest else [_BY_NAME[name] for name in sorted(names & _BY_NAME.keys())]
    return ReferenceEvaluator(model, new_ops=[*chosen, *custom.values()])


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)

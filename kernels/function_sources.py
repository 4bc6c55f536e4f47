"""Syntax trees of the functions that kernels are made of.

A function is found by its file and line; those that are generated (``define``) keep their text.
"""

from __future__ import annotations

import ast
import functools
import itertools
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from .untranslated import Untranslated

Tree = ast.FunctionDef | ast.Lambda

_generated: dict[str, str] = {}
_numbers = itertools.count()


def define(source: str, scope: dict[str, Any]) -> None:
    """Run a text that defines functions in a scope, and keep it for `tree_of`."""
    name = f"<generated {next(_numbers)}>"
    _generated[name] = source
    exec(compile(source, name, "exec"), scope)


def tree_of(function: FunctionType) -> Tree:
    """Return the tree of a function or lambda.

    Raises
    ------
    Untranslated
        Its text is not known, or more than one may be meant.
    """
    code = function.__code__
    trees = _trees(code.co_filename).get(code.co_firstlineno, [])
    if code.co_name == "<lambda>":
        trees = [tree for tree in trees if isinstance(tree, ast.Lambda) and _ends(tree, code)]
    else:
        trees = [tree for tree in trees if getattr(tree, "name", "") == code.co_name]
    if len(trees) != 1:
        raise Untranslated(f"the text of {code.co_qualname}")
    return trees[0]


def _ends(tree: ast.Lambda, code: CodeType) -> bool:
    """Tell whether code has the parameters of a tree, and ends where its body does."""
    names = tuple(argument.arg for argument in tree.args.args)
    ends = {(end, column) for _, end, _, column in code.co_positions()}
    place = tree.body.end_lineno, tree.body.end_col_offset
    return names == code.co_varnames[: code.co_argcount] and place in ends


@functools.cache
def _trees(file: str) -> dict[int, list[Tree]]:
    text = _generated.get(file)
    if text is None:
        try:
            text = Path(file).read_text(encoding="utf-8")
        except OSError:
            return {}
    trees: dict[int, list[Tree]] = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            trees.setdefault(first, []).append(node)
        elif isinstance(node, ast.Lambda):
            trees.setdefault(node.lineno, []).append(node)
    return trees

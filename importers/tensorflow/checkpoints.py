"""Checkpoints of TensorFlow: values for the variables of a module or function."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Sequence
from typing import Any

from ...errors import InvalidArgument
from ..frameworks import conversion

_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


def restore(tf: Any, source: Any, variables: Sequence[Any], checkpoint: Any) -> None:
    """Assign the values of a checkpoint to variables.

    Parameters
    ----------
    tf : module
        TensorFlow.
    source : tf.Module or tf.function
        Whose variables they are. It may be what was saved (``tf.train.Checkpoint(module)``), or
        an attribute of it (``tf.train.Checkpoint(model=module)``); of a function its method's
        module, or the objects that it refers to by their names.
    variables : sequence of tf.Variable
        What the function reads. All of them must be in the checkpoint.
    checkpoint : str or path
        The prefix of its files, its ``.index`` file, or a folder, of which it is the latest.

    Raises
    ------
    InvalidArgument
        There is no such checkpoint, or it lacks variables or has them of other shapes; names
        them. Nothing is changed then.
    """
    prefix = _prefix(tf, os.fspath(checkpoint))
    with conversion("TensorFlow", f"the checkpoint {prefix}"):
        shapes = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
        if _GRAPH not in shapes:
            _restore_by_name(tf, variables, prefix, shapes)
            return
        view = tf.train.CheckpointView(prefix)
        owners = list(_owners(tf, source))
        names = [name for name in view.children(0) if not hasattr(tf.train.Checkpoint, name)]
        roots = [*owners, *(tf.train.Checkpoint(**{n: owner}) for owner in owners for n in names)]
        lacks = {id(root): _missing(view, root, variables) for root in roots}
        if not roots:
            raise InvalidArgument("checkpoint= needs a tf.Module, or a function that refers to one")
        best = min(roots, key=lambda root: len(lacks[id(root)]))
        paths = _paths(tf, best)
        _check_names(prefix, [paths.get(id(v), v.name) for v in lacks[id(best)]], shapes)
        for variable in variables:
            _check_shape(prefix, paths.get(id(variable), ""), variable, shapes)
        saver = best if isinstance(best, tf.train.Checkpoint) else tf.train.Checkpoint(best)
        saver.restore(prefix).expect_partial()


def _prefix(tf: Any, path: str) -> str:
    if os.path.isdir(path):
        latest = tf.train.latest_checkpoint(path)
        if latest is None:
            raise InvalidArgument(f"the folder {path} holds no checkpoint")
        return str(latest)
    prefix = path.removesuffix(".index")
    if not os.path.exists(prefix + ".index"):
        raise InvalidArgument(
            f"there is no checkpoint {prefix}: its prefix is the name of its .index file without "
            "the suffix"
        )
    return prefix


def _owners(tf: Any, source: Any) -> Iterator[Any]:
    """Objects that may have been saved: a module, or those that a function refers to."""
    if isinstance(source, tf.Module):
        yield source
        return
    function = inspect.unwrap(
        getattr(source, "python_function", source),
        stop=lambda wrapped: hasattr(wrapped, "__self__"),
    )
    # Of a method, TensorFlow holds what it belongs to by a weak reference that it calls target.
    module = getattr(function, "__self__", None)
    module = getattr(module, "target", module)
    if isinstance(module, tf.Module):
        yield module
    if inspect.isfunction(function):
        closure = inspect.getclosurevars(function)
        named = {**closure.globals, **closure.nonlocals}
        owners = {k: v for k, v in named.items() if isinstance(v, tf.Module | tf.Variable)}
        if owners:
            yield tf.train.Checkpoint(**owners)
        yield from (value for value in owners.values() if isinstance(value, tf.Module))


def _missing(view: Any, root: Any, variables: Sequence[Any]) -> list[Any]:
    matched = {id(value) for value in view.match(root).values()}
    return [variable for variable in variables if id(variable) not in matched]


def _paths(tf: Any, root: Any) -> dict[int, str]:
    """Paths of all objects in the one that is restored, as a checkpoint writes them."""
    view = tf.train.TrackableView(root)
    paths = {id(root): ""}
    queue = [root]
    for owner in queue:
        for name, child in view.children(owner).items():
            if id(child) not in paths:
                start = paths[id(owner)]
                paths[id(child)] = f"{start}/{name}" if start else str(name)
                queue.append(child)
    return paths


def _restore_by_name(tf: Any, variables: Sequence[Any], prefix: str, shapes: Any) -> None:
    """Restore a checkpoint of TensorFlow 1, which has variables by their own names."""
    names = [variable.name.partition(":")[0] for variable in variables]
    _check_names(prefix, [name for name in names if name not in shapes], shapes)
    for name, variable in zip(names, variables, strict=True):
        _check_shape(prefix, name, variable, shapes)
    for name, variable in zip(names, variables, strict=True):
        variable.assign(tf.train.load_variable(prefix, name))


def _check_names(prefix: str, missing: Sequence[str], shapes: Any) -> None:
    if missing:
        saved = sorted(key.removesuffix(_VALUE) for key in shapes if key != _GRAPH)
        raise InvalidArgument(
            f"the checkpoint {prefix} lacks {', '.join(missing)}; it has {', '.join(saved)}"
        )


def _check_shape(prefix: str, path: str, variable: Any, shapes: Any) -> None:
    saved = shapes.get(path + _VALUE, shapes.get(path))
    if saved is not None and not variable.shape.is_compatible_with(saved):
        raise InvalidArgument(
            f"{path} has the shape {saved} in the checkpoint {prefix}, "
            f"and {variable.shape.as_list()} in the function"
        )

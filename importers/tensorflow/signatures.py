"""Signatures of SavedModels and TensorFlow Lite files."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import InvalidArgument

_DEFAULT_SIGNATURE = "serving_default"
_INTERNAL = "__saved_model_"  # beginning of signatures that only TensorFlow calls


def choose_signature(what: str, names: Sequence[str], requested: str | None) -> str:
    """Return the signature asked for; else ``serving_default``, or the only one there is.

    Raises
    ------
    InvalidArgument
        There is no such signature, or none of several is the default; lists them.
    """
    public = sorted(name for name in names if not name.startswith(_INTERNAL))
    if requested is not None:
        if requested in names:
            return requested
        only = f"only {public}" if public else "and no other one"
        raise InvalidArgument(f"{what} has no signature {requested!r}, {only}")
    if _DEFAULT_SIGNATURE in public:
        return _DEFAULT_SIGNATURE
    if len(public) == 1:
        return public[0]
    if not public:
        raise InvalidArgument(
            f"{what} has no signature: save it with signatures=, or load the object that "
            "tf.saved_model.load returns, with example_inputs="
        )
    raise InvalidArgument(f"{what} has several signatures: choose with signature=, of {public}")

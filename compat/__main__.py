"""``python -m sardonyx.compat script.py args``: a program that finds sardonyx as onnxruntime.

``-m module`` and ``-c code`` as for ``python``. With ``-v`` a list of all sessions, with the engine
of each, follows on the standard error stream.
"""

from __future__ import annotations

import argparse
import atexit
import os
import runpy
import sys
from collections.abc import Sequence

from . import install, report


def _parsed(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Split the command line at what is run; the rest is that program's."""
    parser = argparse.ArgumentParser(
        prog="python -m sardonyx.compat",
        description="Run a program in which onnxruntime's interface is that of sardonyx.",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="list all sessions at the end")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("-m", dest="module", help="a module to run")
    what.add_argument("-c", dest="code", help="code to run")
    what.add_argument("script", nargs="?", help="a file or folder to run")
    own = list(arguments)
    end = _end_of_own(own)
    return parser.parse_args(own[:end]), own[end:]


def _end_of_own(arguments: Sequence[str]) -> int:
    """Count the arguments up to the program, and with it."""
    index = 0
    while index < len(arguments) and arguments[index] in ("-v", "--verbose", "-h", "--help"):
        index += 1
    return index + (2 if arguments[index : index + 1] in (["-m"], ["-c"]) else 1)


def _print_report() -> None:
    for record in report():
        print(f"sardonyx.compat: {record}", file=sys.stderr)


def main() -> None:
    """Run what the command line names."""
    own, rest = _parsed(sys.argv[1:])
    install()
    if own.verbose:
        atexit.register(_print_report)
    if own.code is not None:
        sys.argv = ["-c", *rest]
        exec(compile(own.code, "<string>", "exec"), {"__name__": "__main__"})
    elif own.module is not None:
        sys.argv = [own.module, *rest]
        runpy.run_module(own.module, run_name="__main__", alter_sys=True)
    else:
        sys.argv = [own.script, *rest]
        sys.path[0] = os.path.dirname(os.path.abspath(own.script))
        runpy.run_path(own.script, run_name="__main__")


if __name__ == "__main__":
    main()

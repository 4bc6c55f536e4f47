"""A process of the check: does tasks of a part, and prints a line for what begins and what ends.

A dead context or a crash ends this process only; the check goes on behind the task.
"""

from __future__ import annotations

import json
import sys
import traceback
from typing import Any

from .parts import PARTS
from .tasks import Setting, Skipped, Task

MARK = "@@"


def tell(**what: Any) -> None:
    """Print a line for the process that started this one."""
    print(MARK + json.dumps(what), flush=True)


def do(task: Task) -> dict[str, Any]:
    """Do a task; returns how it ended, and its rows."""
    try:
        rows = task.run()
    except Skipped as reason:
        return {"status": "skipped", "text": str(reason)}
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error}".strip()
        return {"status": "failed", "text": f"{text[:1500]} ({where.name}:{where.lineno})"}
    return {"status": "passed", "rows": list(rows or [])}


def main(name: str, share: str, begin: str, simulates: str) -> None:
    """Do the tasks of a part: of share ``i/n`` every n-th one, from a number on."""
    setting = Setting(simulates == "1")
    (part,) = (part for part in PARTS if part.name == name)
    index, count = map(int, share.split("/"))
    tasks = part.tasks(setting)[index::count]
    tell(total=len(tasks))
    for number, task in enumerate(tasks):
        if number < int(begin):
            continue
        tell(begins=number, name=task.name)
        tell(ends=number, name=task.name, **do(task))
    tell(is_done=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

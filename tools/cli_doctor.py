"""Command ``sardonyx doctor``."""

from __future__ import annotations

import typer

from . import text


def doctor() -> None:
    """Examine this installation: processor, packages, cache folder, GPU. A fault is exit code 1."""
    from .doctor import examine, print_findings

    findings = examine()
    print_findings(findings, text.console())
    if any(each.state == "fault" for each in findings):
        raise typer.Exit(1)

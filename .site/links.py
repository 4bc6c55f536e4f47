"""Hooks of mkdocs: pages of the repository's top level, and links that leave the documentation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[1]
_PAGES = ("ARCHITECTURE.md", "CONTRIBUTING.md")
_LINK = re.compile(r"\[([^\]]+)\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages of the top level."""
    from mkdocs.structure.files import File

    for name in _PAGES:
        files.append(File.generated(config, name, content=(_ROOT / name).read_text()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Let links lead to pages of the site; those to code become its name alone."""
    depth = page.file.src_uri.count("/")

    def replaced(match: re.Match[str]) -> str:
        label, target, anchor = match[1], match[2], match[3] or ""
        inside = target.removeprefix("docs/") if page.file.src_uri in _PAGES else target
        if inside.startswith("../" * (depth + 1)):
            inside = inside.removeprefix("../")
            if inside not in _PAGES:
                return f"`{inside}`" if label == target else label
        return f"[{label}]({inside}{anchor})"

    return _LINK.sub(replaced, markdown)

"""Hooks of MkDocs: the list of decisions; files of the repository that are no pages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
DECISIONS = DOCS / "decisions"
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((\.\./[^)#\s]+)\)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Fill the list of decisions in; write links to files outside of the site as their paths."""
    folder = (DOCS / page.file.src_uri).parent

    def written(link: re.Match[str]) -> str:
        path = (folder / link[2]).resolve()
        if path.is_relative_to(DOCS):
            return link[0]
        place = f"`{path.relative_to(DOCS.parent)}`"
        return place if link[1] == path.name else f"{link[1]} ({place})"

    markdown = LINK.sub(written, markdown)
    if page.file.src_uri == "decisions/README.md":
        return f"{markdown}\n{_decisions()}\n"
    return markdown


def _decisions() -> str:
    lines = []
    for path in sorted(DECISIONS.glob("[0-9]*.md")):
        title = re.search(r"^# +(.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        lines.append(f"- [{title.group(1) if title else path.stem}]({path.name})")
    return "\n".join(lines)

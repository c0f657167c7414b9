"""The pages of the documentation as programs: their blocks of code, and what to do with each.

A page is read from top to bottom. Blocks of `python` run in one namespace, blocks of `console` in
a shell (the lines after `$`), blocks with a title are written to that file. Comments direct:

- `<!-- not run: REASON -->`: the next block is not run.
- `<!-- server: demo -->` or `<!-- server: FOLDER -->`: from here on there is a server, of the
  bundled models or of a folder that the page wrote; 127.0.0.1:8500 and 127.0.0.1:8501 stand for
  its addresses.
- `<!-- request: METHOD -->`: the next block of `json` is a request of that method.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
# Blocks that show something and are not run.
SHOWN = {"text", "promql", "mermaid"}
RUN = {"python", "console", "toml", "json"}

_PARTS = re.compile(
    r"<!-- *(?P<word>not run|server|request): *(?P<value>.*?) *-->"
    r"|^```(?P<language>\w*)(?P<options>[^\n]*)\n(?P<code>.*?)^```$",
    flags=re.DOTALL | re.MULTILINE,
)
_TITLE = re.compile(r'title="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code.

    Attributes:
        page: The page's path in the repository.
        line: The line of its first line of code.
        language: As written behind the fence.
        title: The file that it is the content of; empty if it is none.
        code: The code.
        not_run: Why it is not run; empty if it is.
        server: The server that it needs: demo, a folder, or nothing.
        request: The method whose request it is; empty if it is none.
    """

    page: str
    line: int
    language: str
    title: str
    code: str
    not_run: str
    server: str
    request: str


def pages() -> list[Path]:
    """Return every page that people read."""
    docs = [
        path
        for path in sorted((ROOT / "docs").rglob("*.md"))
        if "decisions" not in path.parts and "node_modules" not in path.parts
    ]
    roots = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "engine/README.md", "proto/README.md"]
    return [*(ROOT / name for name in roots), *docs]


def blocks(path: Path) -> Iterator[Block]:
    """Yield the blocks of a page, with what its comments say of them."""
    text = path.read_text(encoding="utf-8")
    server, not_run, request = "", "", ""
    for part in _PARTS.finditer(text):
        if part["word"] is not None:
            if part["word"] == "server":
                server = part["value"]
            elif part["word"] == "request":
                request = part["value"]
            else:
                not_run = part["value"]
            continue
        title = _TITLE.search(part["options"])
        yield Block(
            page=str(path.relative_to(ROOT)),
            line=text.count("\n", 0, part.start("code")) + 1,
            language=part["language"],
            title=title[1] if title else "",
            code=part["code"],
            not_run=not_run,
            server=server,
            request=request,
        )
        not_run = request = ""

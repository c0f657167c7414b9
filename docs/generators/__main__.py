"""Writes the pages of docs/reference; with --check, only says which are out of date."""

from __future__ import annotations

import sys

from docs.generators.pages import stale, written


def main() -> int:
    """Write the pages, or check them."""
    if "--check" in sys.argv[1:]:
        if old := stale():
            sys.stderr.write(f"out of date: {', '.join(old)}; run `make docs-reference`\n")
        return len(old)
    for path, text in written().items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

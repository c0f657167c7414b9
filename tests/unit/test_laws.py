"""The laws of the layout that import-linter does not hold; its contracts are in pyproject.toml."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping, Set as AbstractSet
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("engine", "service", "clients/python")
ENGINE = ROOT / "engine/adcaptum/engine"
MOST_FILES = 15


def modules(*roots: str) -> list[Path]:
    found = [path for root in roots for path in sorted((ROOT / root).rglob("*.py"))]
    assert found, f"there are modules under {roots}"
    return [path for path in found if "adcaptum/v1" not in str(path)]


def test_the_namespace_has_no_init_and_every_portion_is_typed() -> None:
    for source in SOURCES:
        namespace = ROOT / source / "adcaptum"
        assert not (namespace / "__init__.py").exists()
        for portion in namespace.iterdir():
            if portion.is_dir() and portion.name != "__pycache__":
                assert (portion / "py.typed").exists(), portion


def test_only_flow_yields_in_the_engine() -> None:
    # A context manager and a lazy sequence yield to whoever iterates, not to a driver.
    allowed = {"vocabulary/flow.py", "execution/taps.py", "rows/sources.py"}
    for path in ENGINE.rglob("*.py"):
        if str(path.relative_to(ENGINE)) in allowed:
            continue
        yields = [node for node in ast.walk(ast.parse(path.read_text())) if type(node) is ast.Yield]
        assert not yields, f"{path} has a bare yield in line {yields[0].lineno if yields else 0}"


def test_only_taps_register_hooks() -> None:
    for path in modules("engine", "service"):
        if path != ENGINE / "execution/taps.py":
            assert "_hook(" not in path.read_text(), path


def test_only_the_evaluator_calls_a_model() -> None:
    for path in modules("engine"):
        calls = [
            node
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in {"model", "module", "forward"}
        ]
        assert not calls or path == ENGINE / "execution/evaluator.py", path


@pytest.mark.parametrize("path", modules(*SOURCES), ids=lambda path: path.stem)
def test_imports_are_absolute_and_files_fit_on_a_few_screens(path: Path) -> None:
    source = path.read_text()
    for node in ast.walk(ast.parse(source)):
        assert not (isinstance(node, ast.ImportFrom) and node.level), path
    assert len(source.splitlines()) <= 400, path


def test_no_folder_has_more_files_than_a_reader_can_hold() -> None:
    folders: dict[Path, int] = {}
    for path in modules(*SOURCES):
        if path.name != "__init__.py":
            folders[path.parent] = folders.get(path.parent, 0) + 1
    crowded = {str(folder): n for folder, n in folders.items() if n > MOST_FILES}
    assert not crowded, f"folders of more than {MOST_FILES} files: {crowded}"


def test_no_circle_of_imports() -> None:
    circles = [sorted(found) for found in _circles(_imports())]
    assert not circles, f"files that import each other, also for annotations only: {circles}"


@pytest.mark.parametrize("path", modules(*SOURCES), ids=lambda path: path.stem)
def test_a_docstring_begins_with_a_noun_phrase_or_an_imperative(path: Path) -> None:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    riddles = {"Tells", "What", "Which", "Who", "Whom", "How", "Whether"}
    for node in ast.walk(ast.parse(path.read_text())):
        first = (ast.get_docstring(node) or "").split(maxsplit=1) if isinstance(node, kinds) else []
        assert not first or first[0] not in riddles, f"{path}, line {getattr(node, 'lineno', 1)}"


def test_circles_are_found() -> None:
    graph: dict[str, set[str]] = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"a"}}
    assert _circles(graph) == [{"b", "c"}]


def _imports() -> dict[str, set[str]]:
    """The product's files and which of them each imports, whenever it does."""
    files: dict[str, Path] = {}
    for source in SOURCES:
        for path in modules(source):
            parts = path.relative_to(ROOT / source).with_suffix("").parts
            files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    found: dict[str, set[str]] = {}
    for name, path in files.items():
        found[name] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                named = [f"{node.module}.{alias.name}" for alias in node.names]
                found[name] |= {each if each in files else node.module for each in named}
            elif isinstance(node, ast.Import):
                found[name] |= {alias.name for alias in node.names}
        found[name] &= files.keys() - {name}
    return found


def _circles(graph: Mapping[str, AbstractSet[str]]) -> list[set[str]]:
    """The strongly connected components of several nodes (Tarjan, 1972)."""
    sys.setrecursionlimit(max(sys.getrecursionlimit(), 10 * len(graph)))
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    circles: list[set[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            place = stack.index(node)
            found = set(stack[place:])
            del stack[place:]
            if len(found) > 1:
                circles.append(found)

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return circles

"""The laws of the layout that no linter holds."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("engine", "service", "clients/python")
ENGINE = ROOT / "engine/adcaptum/engine"


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
    assert len(source.splitlines()) <= 450, path

"""No pickle is read but those of trusted files: a search of the product's code."""

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
FILES = sorted(
    path
    for room in ("engine", "service", "clients/python/adcaptum/client")
    for path in (ROOT / room).rglob("*.py")
)
PICKLES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
TRUSTED = {
    "service/adcaptum/service/models/loaders/torch_export.py",
    "service/adcaptum/service/models/loaders/torchscript.py",
    # At the command line: the program that its user converts.
    "service/adcaptum/service/authoring/conversion.py",
}
"""The files that may load what runs code: behind a SHA-256, or the user's own."""


ALLOWED: dict[str, Callable[[dict[str | None, str]], bool]] = {
    "torch.load": lambda words: words.get("weights_only") == "True",
    "np.load": lambda words: words.get("allow_pickle") == "False",
    "numpy.load": lambda words: words.get("allow_pickle") == "False",
    **dict.fromkeys(
        ("torch.jit.load", "torch.export.load", "yaml.load", "eval", "exec"), lambda _: False
    ),
}
"""The calls that read what may run code, and whether they may with some arguments."""


def faults(source: str, *, trusted: bool = False) -> list[str]:
    """Returns what in a file may read a pickle."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [each.name for each in node.names if each.name.split(".")[0] in PICKLES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PICKLES:
            found.append(str(node.module))
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            words = {each.arg: ast.unparse(each.value) for each in node.keywords}
            if name not in ALLOWED or ALLOWED[name](words):
                continue
            if not (trusted and name in {"torch.jit.load", "torch.export.load"}):
                found.append(name)
    return found


def test_no_pickle_is_read() -> None:
    assert len(FILES) > 300
    names = {path: path.relative_to(ROOT).as_posix() for path in FILES}
    found = {
        name: faults(path.read_text(), trusted=name in TRUSTED) for path, name in names.items()
    }
    assert {name: each for name, each in found.items() if each} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib.numpy_pickle",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "torch.jit.load(path)",
        "torch.export.load(path)",
        "eval(text)",
    ],
)
def test_the_search_finds_pickles(source: str) -> None:
    assert faults(source)


def test_trusted_files_are_loaded_from_what_was_hashed() -> None:
    for path in TRUSTED:
        if "loaders" in path:
            assert "load(source.trusted" in (ROOT / path).read_text()

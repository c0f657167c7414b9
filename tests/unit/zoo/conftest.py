from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from adcaptum.zoo.registry import RECIPES

MADE = Path(__file__).parents[3] / "build" / "models"


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Finds a bundled model where `make models` puts it, or else builds it once."""
    repository = tmp_path_factory.mktemp("models")

    @cache
    def find(name: str) -> Path:
        made = MADE / name
        if (made / "model.toml").is_file():
            return made
        return RECIPES[name](lambda done: None).write(repository)

    return find

"""A server that follows its repository."""

import shutil
import time
from pathlib import Path

import pytest

from adcaptum.v1 import explanation_service_pb2 as pb
from tests import life_models
from tests.integration.conftest import Start
from tests.integration.service.conftest import Eventually
from tests.integration.service.life import READY, Life

SETTLE_SECONDS = 0.4


def names(life: Life) -> set[str]:
    """Returns the names of all models."""
    return {each.name for each in life.explanation.ListModels(pb.ListModelsRequest()).models}


@pytest.mark.slow
def test_folders_that_come_change_and_go_are_followed(
    start_server: Start, tmp_path: Path, eventually: Eventually
) -> None:
    repository, aside = tmp_path / "repository", tmp_path / "aside"
    repository.mkdir()
    aside.mkdir()
    life_models.write(repository, "first")
    server = start_server(
        repository, ADCAPTUM_WATCH="true", ADCAPTUM_SETTLE_SECONDS=str(SETTLE_SECONDS)
    )
    server.wait_for("watching")
    with Life.at(server.address) as life:
        folder = life_models.write(aside, "second", 2.0)
        shutil.copytree(folder, repository / "second")
        eventually(lambda: "second" in names(life) and life.states("second") == {"1": READY})
        assert life.factor("second") == 2.0

        # One that is being copied, its declaration first, is left alone until it is whole.
        folder = life_models.write(aside, "third", 3.0)
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            target = repository / "third" / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            time.sleep(SETTLE_SECONDS / 2)
            assert "third" not in names(life)
        eventually(lambda: "third" in names(life) and life.states("third") == {"1": READY})
        # Without a declaration, or with half of one, it is no model.
        half = repository / "half"
        half.mkdir()
        (half / "model.toml").write_text("[arguments")

        life_models.add_version(repository / "second", "1", 5.0)
        eventually(lambda: life.factor("second") == 5.0)
        life_models.spoil(repository / "second", "1")
        eventually(lambda: bool(life.model("second").versions[0].load_failure))
        assert life.factor("second") == 5.0

        shutil.rmtree(repository / "second")
        eventually(lambda: "second" not in names(life))
        assert life.factor("first") == 1.0
        assert "half" not in names(life)

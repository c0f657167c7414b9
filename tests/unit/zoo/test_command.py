from pathlib import Path

from typer.testing import CliRunner

from adcaptum.zoo.__main__ import application


def test_build_writes_what_it_is_asked_for_and_prints_its_accuracy(tmp_path: Path) -> None:
    result = CliRunner().invoke(application, ["build", "--into", str(tmp_path), "--only", "cells"])
    assert result.exit_code == 0, result.output
    assert [path.name for path in tmp_path.iterdir()] == ["cells"]
    assert "held-out rows" in result.output


def test_build_refuses_a_model_that_there_is_not(tmp_path: Path) -> None:
    result = CliRunner().invoke(application, ["build", "--into", str(tmp_path), "--only", "cats"])
    assert result.exit_code == 2
    assert "no model cats" in result.output
    assert not list(tmp_path.iterdir())

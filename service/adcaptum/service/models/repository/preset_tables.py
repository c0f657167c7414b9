"""Reads the presets of `model.toml`: `[defaults]` and `[presets.NAME]`."""

from typing import Final

from adcaptum.engine.methods import METHODS
from adcaptum.service.lifecycle.names import NAME, NAME_RULE
from adcaptum.service.models.declaration import DEFAULT_PRESET
from adcaptum.service.models.repository import spec_table
from adcaptum.service.models.repository.spec_table import WrongValue
from adcaptum.service.models.repository.toml_table import TomlTable
from adcaptum.service.nearest import shortened
from adcaptum.v1 import explain_spec_pb2

DESCRIPTION: Final = "description"

FORMER: Final = ("method", "params")
"""Keys that `[defaults]` had before there were presets."""


def read(table: TomlTable) -> dict[str, explain_spec_pb2.Preset]:
    """Reads the presets of a declaration by name, the default first, if it has one.

    Args:
        table: The whole declaration.

    Raises:
        DeclarationError: A preset has a name that is not allowed, or is not of the form of an
            ExplainSpec.
    """
    found: dict[str, explain_spec_pb2.Preset] = {}
    if "defaults" in table:
        defaults = table.table("defaults")
        _refuse_former(defaults)
        found[DEFAULT_PRESET] = _preset(DEFAULT_PRESET, defaults)
    presets = table.table("presets")
    for name in presets.names():
        if name == DEFAULT_PRESET:
            raise presets.error(name, "the preset of that name is the table [defaults]")
        if NAME.fullmatch(name) is None:
            raise presets.error(name, f"{shortened(name)} is not of the form {NAME_RULE}")
        if name in METHODS:
            raise presets.error(name, f"{name!r} is the name of a method")
        found[name] = _preset(name, presets.table(name))
    return found


def _preset(name: str, table: TomlTable) -> explain_spec_pb2.Preset:
    preset = explain_spec_pb2.Preset(name=name, description=table.text(DESCRIPTION, ""))
    values = {key: table.raw(key) for key in table.names() if key != DESCRIPTION}
    try:
        spec_table.read(values, preset.spec)
    except WrongValue as error:
        raise table.error(error.path, error.problem) from error
    if not preset.spec.methods and (name != DEFAULT_PRESET or not values):
        example = 'methods = [{ name = "integrated_gradients", params = { n_steps = 50 } }]'
        raise table.error("methods", f"missing; must be a list of methods, such as {example}")
    return preset


def _refuse_former(defaults: TomlTable) -> None:
    for key in FORMER:
        if key in defaults:
            given = shortened(defaults.raw(key))
            raise defaults.error(
                key,
                f"{given}: it is a part of 'methods' now: "
                'methods = [{ name = "…", params = { … } }]',
            )

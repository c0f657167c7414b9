"""Presets: the question of a request is its preset with the fields that its spec sets.

A question is a value: an `ExplainSpec`, apart from who is asked about what, and how it runs.
"""

from collections.abc import Mapping
from typing import Final

from adcaptum.service.errors import InvalidRequest, Reason
from adcaptum.v1 import explain_spec_pb2, explanation_service_pb2 as pb

DEFAULT: Final = "default"
"""The preset of requests that name none."""


def effective_spec(
    request: pb.ExplainRequest, presets: Mapping[str, explain_spec_pb2.ExplainSpec]
) -> explain_spec_pb2.ExplainSpec:
    """Returns the question of a request.

    Args:
        request: The request.
        presets: The presets of its model by name, one of them `default`.

    Returns:
        The preset itself, which must not be changed, if the request sets no field of a spec; else
        the request's spec, which is completed in place: it may hold megabytes.

    Raises:
        InvalidRequest: The model has no preset of that name.
    """
    preset = preset_of(request.preset, presets)
    if not request.HasField("spec"):
        return preset
    return completed(request.spec, preset)


def preset_of(
    name: str, presets: Mapping[str, explain_spec_pb2.ExplainSpec]
) -> explain_spec_pb2.ExplainSpec:
    """Returns a preset by its name; empty: the default one.

    Raises:
        InvalidRequest: There is none of that name.
    """
    preset = presets.get(name or DEFAULT)
    if preset is None:
        raise InvalidRequest.unknown("preset", name, presets, Reason.PRESET_UNKNOWN)
    return preset


def completed(
    spec: explain_spec_pb2.ExplainSpec, preset: explain_spec_pb2.ExplainSpec
) -> explain_spec_pb2.ExplainSpec:
    """Gives a spec each field that it does not set as the preset has it; returns the preset if all.

    Set are messages and optional fields that are there, and lists that are not empty. A field is
    taken as a whole: nothing inside it is merged.
    """
    given = {field.number for field, _ in spec.ListFields()}
    if not given:
        return preset
    for field, value in preset.ListFields():
        if field.number in given:
            continue
        if field.is_repeated:
            getattr(spec, field.name).extend(value)
        elif field.message_type is not None:
            getattr(spec, field.name).CopyFrom(value)
        else:
            setattr(spec, field.name, value)
    return spec

"""Names of the features of inputs: columns of tables, and tokens of texts."""

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.models.texts import TokenisedTexts
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.v1 import explanation_pb2

Container = RepeatedCompositeFieldContainer[explanation_pb2.InputFeatures]


def write(into: Container, parsed: ParsedRequest) -> None:
    """Writes the names of features that attributions of inputs refer to: of texts, by example.

    Args:
        into: The features of a reply, which are empty.
        parsed: The request.
    """
    if not are_wanted(parsed):
        return
    write_columns(into, parsed.model)
    write_tokens(into, parsed)


def write_tokens(into: Container, parsed: ParsedRequest) -> None:
    """Writes the tokens of texts, which have other ones in each request, if they are wanted."""
    inputs = parsed.inputs
    if inputs.texts is not None and are_wanted(parsed):
        declared = parsed.model.loaded.declaration.inputs[inputs.text_place]
        _write_tokens(into, declared.name, inputs.texts)


def are_wanted(parsed: ParsedRequest) -> bool:
    """Returns whether a reply has names of features: not if all attributions are of a layer."""
    question = parsed.question
    output = question.output
    if output.HasField("return_features") and not output.return_features:
        return False
    return question.layer is None or any(method.abilities.of_inputs for method in question.methods)


def write_columns(into: Container, model: ServedModel) -> None:
    """Writes the columns of each tabular input whose owner named them."""
    for declared in model.loaded.declaration.inputs:
        if declared.features:
            message = into.add()
            message.input = declared.name
            message.names.extend(declared.features)
            if any(declared.units):
                message.units.extend(declared.units)


def _write_tokens(into: Container, name: str, texts: TokenisedTexts) -> None:
    for example, text in enumerate(texts.texts):
        message = into.add()
        message.input = name
        message.example = example
        message.names.extend(text.tokens)
        message.starts.extend(text.starts)
        message.ends.extend(text.ends)

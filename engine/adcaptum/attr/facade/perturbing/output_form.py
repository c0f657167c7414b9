"""The form of a forward's output, found by a call with the unchanged inputs."""

from __future__ import annotations

from dataclasses import replace

from torch.futures import Future

from adcaptum.attr.errors import translated
from adcaptum.attr.facade.answer import run_flow
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.engine.execution.forwards.futures import following, run_later
from adcaptum.engine.execution.forwards.whole_batch import WholeBatch
from adcaptum.engine.execution.training_mode import check_mode
from adcaptum.engine.rows.sources import Given
from adcaptum.engine.vocabulary.evaluation import Evaluation, Reading
from adcaptum.engine.vocabulary.flow import Flow, ask


def output_form(call: CaptumCall) -> WholeBatch:
    """Calls the forward with the unchanged inputs, and returns the form of its output."""
    whole = WholeBatch(call.model, call.explicand.count)
    with translated():
        check_mode(call.model)
        run_flow(
            replace(call, model=whole), output_at_inputs(call), batch_rows=call.explicand.count
        )
    return whole


def output_form_later(call: CaptumCall) -> Future[WholeBatch]:
    """Does the same for a forward that gives futures."""
    count = call.explicand.count
    whole = WholeBatch(call.model, count)
    with translated():
        asked = run_later(whole.later, output_at_inputs(call), batch_rows=count)
    return following(asked, lambda _: whole)


def output_at_inputs(call: CaptumCall) -> Flow[Reading]:
    """Evaluates the unchanged inputs."""
    explicand = call.explicand
    return (yield from ask(Evaluation(Given(explicand.inputs), arguments=explicand.arguments)))

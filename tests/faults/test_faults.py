"""Every fault, a few times: no call is lost, none is answered wrongly. `make faults` has more."""

import pytest

from tests.faults.scenarios import FAULTS, HELD, run

QUARANTINED = {"REQUEST_QUARANTINED", "MODEL_QUARANTINED"}
ANSWERS = {
    "SIGTERM (the server ends)": {"exit status 0"},
    "a model raises": {"MODEL_RAISED"},
    "half-open and slow clients": {"open", "closed"},
    "returns NaN": {"answered"},
    "returns another shape": {"answered"},
    **dict.fromkeys(("sleeps for ever", "os._exit", "segfaults", "allocates"), QUARANTINED),
}
"""The ends that the calls may have that caused a fault."""

FAILING = {"SIGTERM (the server ends)", "2,000 calls at once"}
"""Faults during which calls may be refused with a status after which a client repeats."""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", FAULTS)
def test_no_call_is_lost_and_none_is_answered_wrongly(fault: str) -> None:
    outcome = run(fault, FAULTS[fault].few)
    tally = outcome.tally
    assert (tally.lost, tally.wrong, tally.refused) == (0, 0, {}), tally.notes
    assert tally.sent == tally.right + tally.retryable
    assert {*outcome.answers} <= ANSWERS.get(fault, set())
    if fault == "half-open and slow clients":
        # All but those that have spoken HTTP/2 before, for which a ping has to be due.
        assert outcome.answers.count("closed") == 3 * HELD
    if fault not in FAILING:
        assert tally.retryable == 0
    if fault != "2,000 calls at once":
        assert tally.right > 0.9 * tally.sent

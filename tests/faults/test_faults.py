"""Every fault once: no call is lost, none is answered wrongly. `make faults` prints the table."""

import pytest

from tests.faults.scenarios import FAULTS

TYPED = {"MODEL_RAISED", "REQUEST_QUARANTINED", "MODEL_QUARANTINED", "answered"}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", FAULTS)
def test_no_call_is_lost_and_none_is_answered_wrongly(fault: str) -> None:
    outcome = FAULTS[fault](2)
    tally = outcome.tally
    assert (tally.lost, tally.wrong, tally.refused) == (0, 0, {}), tally.notes
    assert tally.right > 0.9 * tally.sent
    assert set(outcome.answers) <= TYPED

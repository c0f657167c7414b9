"""Forecasts of the rows that methods take to a tolerance, from those that requests took."""

from typing import Any

import numpy as np
import pytest

from adcaptum.engine import Attribution, StopReason, explain
from adcaptum.engine.scheduling.ledger import Ledger
from adcaptum.engine.scheduling.request import Request
from adcaptum.service.answers.outcome import Outcome
from adcaptum.service.handlers import costs
from adcaptum.service.models.row_forecasts import MOST, RowForecasts
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests import parsed_request as question
from adcaptum.service.requests.pieces import Piece
from adcaptum.v1 import explain_spec_pb2
from tests.unit.service import asking
from tests.unit.service.asking import label, method
from tests.unit.service.tiny_model import served


def learnt(*used: int, tolerance: float = 0.05, planned: int = 100) -> RowForecasts:
    ratios = RowForecasts()
    for rows in used:
        ratios.learn("rise", tolerance, planned, rows, whole=True)
    return ratios


def test_what_a_method_foretells_is_expected_until_something_is_known() -> None:
    assert RowForecasts().expected("rise", 0.05, 100) == 100


def test_the_first_requests_already_count_for_more_than_what_is_foretold() -> None:
    assert learnt(800).expected("rise", 0.05, 100) > 400


def test_the_geometric_mean_of_what_was_taken_is_approached() -> None:
    ratios = learnt(*[200, 800] * 40)
    assert ratios.expected("rise", 0.05, 100) == pytest.approx(400, rel=0.05)
    assert ratios.expected("rise", 0.05, 7) == pytest.approx(28, rel=0.05)


def test_what_was_taken_long_ago_is_forgotten() -> None:
    ratios = learnt(*[1000] * 100, *[50] * 150)
    assert ratios.expected("rise", 0.05, 100) == pytest.approx(50, rel=0.2)


def test_one_odd_request_changes_little() -> None:
    assert learnt(*[100] * 31, 10**9).expected("rise", 0.05, 100) < 130
    assert learnt(*[100] * 31, 0).expected("rise", 0.05, 100) > 75


def test_the_foretold_is_never_scaled_beyond_a_bound_nor_to_nothing() -> None:
    assert learnt(*[10**9] * 500).expected("rise", 0.05, 100) <= 100 * MOST
    few = learnt(*[0] * 500)
    assert few.expected("rise", 0.05, 10**6) == pytest.approx(10**6 / MOST, rel=0.01)
    assert few.expected("rise", 0.05, 1) == 1


def test_other_tolerances_and_methods_are_known_by_themselves() -> None:
    ratios = learnt(*[500] * 40)
    assert ratios.expected("rise", 0.04, 100) > 400
    assert ratios.expected("rise", 0.2, 100) == 100
    assert ratios.expected("owen_sampling", 0.05, 100) == 100
    assert ratios.expected("rise", None, 100) == 100


def test_what_was_cut_short_tells_only_that_more_is_needed() -> None:
    ratios = learnt(*[300] * 40)
    before = ratios.expected("rise", 0.05, 100)
    ratios.learn("rise", 0.05, 100, 120, whole=False)
    assert ratios.expected("rise", 0.05, 100) == before
    ratios.learn("rise", 0.05, 100, 900, whole=False)
    assert ratios.expected("rise", 0.05, 100) > before


def asked(
    model: ServedModel, tolerance: float, *methods: str, seed: int = 0
) -> question.ParsedRequest:
    request = asking.explain(
        np.linspace(0.1, 1, 6, dtype=np.float32).reshape(2, 3),
        targets=[label("yes")],
        methods=[method(name) for name in methods],
        budget=explain_spec_pb2.Budget(tolerance=tolerance) if tolerance else None,
        seed=seed,
    )
    return asking.read(request, model)


def answered(of: question.ParsedRequest) -> list[tuple[Piece, Attribution]]:
    module = of.model.loaded.module
    return [
        (piece, explain(module, of.methods[piece.method].method, piece.explicand))
        for piece in of.pieces(None)
    ]


def used(found: list[tuple[Piece, Attribution]]) -> dict[int, int]:
    rows: dict[int, int] = {}
    for piece, attribution in found:
        rows[piece.method] = rows.get(piece.method, 0) + attribution.rows_used
    return rows


def test_estimates_converge_to_what_requests_take() -> None:
    model, _ = served()
    first = asked(model, 0.1, "rise", "smooth_grad")
    before = first.estimated_rows()
    taken: dict[int, int] = {}
    for seed in range(12):
        one = asked(model, 0.1, "rise", "smooth_grad", seed=seed)
        found = answered(one)
        costs.learn(one, Outcome(found))
        taken = used(found)
    after = asked(model, 0.1, "rise", "smooth_grad").estimated_rows()
    for kind, rows in (("forward", taken[0]), ("gradient", taken[1])):
        assert abs(after[kind] - rows) <= abs(before[kind] - rows)
        assert after[kind] == pytest.approx(rows, rel=0.5)


def test_what_is_cut_short_by_a_deadline_teaches_no_less() -> None:
    model, _ = served()
    one = asked(model, 0.1, "rise")
    found = [(p, Attribution(a.values, stop_reason=StopReason.DEADLINE)) for p, a in answered(one)]
    before = one.estimated_rows()
    costs.learn(one, Outcome(found))
    assert one.estimated_rows() == before


def test_without_a_tolerance_nothing_is_learnt() -> None:
    model, _ = served()
    one = asked(model, 0.0, "saliency")
    before = one.estimated_rows()
    costs.learn(one, Outcome(answered(one)))
    assert one.estimated_rows() == before == {"forward": 0, "gradient": 2}


@pytest.mark.parametrize("taken", [10, 100, 1000])
def test_whatever_was_learnt_nothing_is_left_in_the_ledger(taken: int) -> None:
    ledger, ratios = Ledger(), learnt(*[taken] * 20)
    request: Request = Request("a", rows=ratios.expected("rise", 0.05, 100), seconds=1.0)
    ledger.open(request)
    for rows in (60, 140):
        ledger.come(request, rows)
        request.pending_rows += rows
    ledger.count(request, -200)
    request.pending_rows = 0
    ledger.close(request)
    totals: Any = ledger.total
    backlog = ledger.backlogs[request.priority]
    assert (totals.requests, totals.rows, totals.nbytes) == (0, 0, 0)
    assert (backlog.requests, backlog.expected_rows) == (0, 0)

"""API keys, and the roles of their holders."""

import re

import grpc
import pytest
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from adcaptum.service.errors import PermissionDenied, Reason, Unauthenticated
from adcaptum.service.security.api_keys import NewKey, id_of, new_key
from adcaptum.service.security.credentials import BadCredentials, read, read_keys
from adcaptum.service.security.roles import NEEDS, OPEN, Role, need_of
from adcaptum.v1 import explanation_service_pb2 as pb, repository_service_pb2 as repository_pb2
from tests.unit.service.security.visiting import OURS, REPOSITORY, counted, guard_of, visit


@pytest.fixture
def made() -> NewKey:
    return new_key()


def line(made: NewKey, *roles: str, more: str = "") -> str:
    return f"[keys]\nfraud = {{ key = '{made.stored}', roles = {list(roles)}{more} }}"


def test_the_holder_of_a_key_is_known_by_its_name(made: NewKey) -> None:
    guard, _ = guard_of(line(made, "predict"))
    assert visit(guard, f"Bearer {made.key}").caller == "key:fraud"
    assert visit(guard, f"bearer  {made.key}").caller == "key:fraud"


def test_a_key_is_not_stored_and_has_256_random_bits(made: NewKey) -> None:
    assert made.key not in made.stored
    assert made.key.split("_", 2)[2] not in made.stored
    assert re.fullmatch(r"adc_[0-9a-f]{10}_[A-Za-z0-9_-]{43}", made.key)
    assert made.key != new_key().key


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        ("", "missing"),
        ("Basic dTpw", "malformed"),
        ("Bearer", "malformed"),
        ("Bearer ", "malformed"),
        ("Bearer something", "malformed"),
        ("Bearer adc_0000000000_" + 43 * "A", "key"),
        ("Bearer adc_ID_" + 43 * "A", "key"),
        ("Bearer KEYx", "key"),
        ("Bearer adc_", "key"),
        ("Bearer adc_\xe9", "key"),
    ],
)
def test_bad_credentials_are_refused_and_the_answer_does_not_say_why(
    made: NewKey, shown: str, reason: str
) -> None:
    guard, registry = guard_of(line(made, "predict"))
    shown = shown.replace("KEY", made.key).replace("ID", id_of(made.key))
    with pytest.raises(Unauthenticated) as refused:
        visit(guard, shown)
    assert counted(registry, "failures_total", reason=reason) == 1
    if shown:
        assert refused.value.reason is Reason.CREDENTIALS_INVALID
        assert refused.value.message == "The credentials are not valid."
    else:
        assert refused.value.reason is Reason.CREDENTIALS_MISSING


def test_a_key_ends_when_it_expires(made: NewKey) -> None:
    guard, registry = guard_of(line(made, "predict", more=", expires = 2020-01-01"))
    with pytest.raises(Unauthenticated):
        visit(guard, f"Bearer {made.key}")
    assert counted(registry, "failures_total", reason="expired") == 1
    guard, _ = guard_of(line(made, "predict", more=", expires = 2999-01-01T00:00:00Z"))
    visit(guard, f"Bearer {made.key}")


def test_a_caller_may_have_two_keys_for_a_time(made: NewKey) -> None:
    other = new_key()
    guard, _ = guard_of(
        f"[keys]\nfraud = {{ key = ['{made.stored}', '{other.stored}'], roles = ['predict'] }}"
    )
    assert {visit(guard, f"Bearer {each.key}").caller for each in (made, other)} == {"key:fraud"}


@pytest.mark.parametrize(
    ("roles", "method", "model", "allowed"),
    [
        (["predict"], "Predict", "cells", True),
        (["predict"], "Explain", "cells", False),
        (["explain"], "Predict", "cells", False),
        (["predict:cells*"], "Predict", "cells-2", True),
        (["predict:cells*"], "Predict", "digits", False),
        (["predict:cells*", "predict:d?gits"], "Predict", "digits", True),
        (["predict:cells"], "Predict", "cells\n", False),
        (["predict:*s"], "Predict", "x" * 200 + "s", False),
        (["predict:cells"], "Predict", "", True),
        (["admin"], "Predict", "cells", False),
        (["read"], "GetModel", "cells", True),
        (["predict:cells"], "GetModel", "cells", True),
        (["predict:cells"], "GetModel", "digits", False),
        (["metrics"], "GetServer", "", False),
        (["explain:cells"], "GetServer", "", True),
        (["explain:cells"], "ListModels", "", True),
        (["admin"], "ListModels", "", False),
        (["read", "predict", "explain", "metrics"], "../RestartWorkers", "", False),
        (["admin"], "../RestartWorkers", "", True),
        (["admin:cells"], "../RestartWorkers", "", False),
        (["admin"], "../ListWorkers", "", True),
        (["admin:cells*"], "../LoadModel", "cells-2", True),
        (["admin:cells*"], "../LoadModel", "digits", False),
        (["admin:cells*"], "../LoadModel", "", False),
        (["admin"], "../LoadModel", "", True),
        (["read", "explain"], "../SetAlias", "cells", False),
        (["read", "predict", "explain", "metrics"], "../SomethingNew", "", False),
    ],
)
def test_calls_need_their_role_for_their_model(
    made: NewKey, roles: list[str], method: str, model: str, allowed: bool
) -> None:
    guard, registry = guard_of(line(made, *roles))
    path = REPOSITORY + method[3:] if method.startswith("../") else OURS + method
    if allowed:
        visit(guard, f"Bearer {made.key}", path, model)
        return
    with pytest.raises(PermissionDenied) as denied:
        visit(guard, f"Bearer {made.key}", path, model)
    assert denied.value.reason is Reason.ROLE_MISSING
    assert counted(registry, "denied_total", role=denied.value.role) == 1


def test_only_health_checks_are_open_to_everybody() -> None:
    ours = [pb.DESCRIPTOR, repository_pb2.DESCRIPTOR]
    methods = {
        f"{service.full_name}/{method.name}"
        for file in ours
        for service in file.services_by_name.values()
        for method in service.methods
    }
    assert methods
    assert all(need_of(each) is not None for each in methods)
    explained = {each for each in methods if each.startswith(OURS)}
    assert explained <= NEEDS.keys()
    administrative = {need_of(each) for each in methods - explained}
    assert administrative == {(Role.ADMIN, (), True), (Role.ADMIN, (1, 1), False)}
    assert {f"{health.SERVICE_NAME}/{name}" for name in ("Check", "Watch")} <= OPEN
    assert need_of(f"{health.SERVICE_NAME}/List") == (Role.READ, (), True)
    assert need_of(f"{reflection.SERVICE_NAME}/ServerReflectionInfo") == (Role.READ, (), False)


def test_models_are_listed_that_a_caller_may_read(made: NewKey) -> None:
    guard, _ = guard_of(line(made, "explain:cells*"))
    visitor = visit(guard, f"Bearer {made.key}", OURS + "ListModels", "")
    answer = pb.ListModelsResponse()
    for name in ("cells", "digits", "cells-2"):
        answer.models.add(name=name)
    visitor.show(answer)
    assert [each.name for each in answer.models] == ["cells", "cells-2"]


def test_only_a_proxy_speaks_for_others(made: NewKey) -> None:
    guard, _ = guard_of(line(made, "predict"))
    assert visit(guard, f"Bearer {made.key}", caller="mallory").caller == "key:fraud"
    guard, _ = guard_of(line(made, "predict", more=", proxy = true"))
    assert visit(guard, f"Bearer {made.key}", caller="alice").caller == "key:fraud/alice"
    assert visit(guard, f"Bearer {made.key}").caller == "key:fraud"
    long = visit(guard, f"Bearer {made.key}", caller=128 * "x").caller
    assert len(long) <= 128
    assert long.startswith("key:")


def test_a_certificate_says_who_calls_where_nothing_else_does(made: NewKey) -> None:
    guard, _ = guard_of(
        line(made, "predict") + "\n[certificates]\n'batch.test' = { roles = ['explain'] }"
    )
    facts = {"x509_subject_alternative_name": [b"other.test", b"batch.test"]}
    visitor = visit(guard, "", OURS + "Explain", certificate=facts)
    assert visitor.caller == "cert:batch.test"
    by_name = {"x509_common_name": [b"batch.test"]}
    assert visit(guard, "", OURS + "Explain", certificate=by_name).caller == "cert:batch.test"
    with pytest.raises(Unauthenticated):
        visit(guard, "", OURS + "Explain", certificate={"x509_common_name": [b"nobody"]})
    # A wrong key is not made good by a certificate.
    with pytest.raises(Unauthenticated):
        visit(guard, "Bearer adc_x_y", OURS + "Explain", certificate=facts)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[keys", "at end of document"),
        ("[keys]\na = { key = 'x', roles = [] }", "keys.a.key: must be ID:DIGEST"),
        ("[keys]\na = { key = [], roles = [] }", "keys.a.key: must be ID:DIGEST"),
        ("[keys]\na = { roles = [] }", "keys.a.key: Field required"),
        ("[keys]\na = { key = 'GOOD', roles = ['reed'] }", "keys.a.roles: 'reed'; must be ROLE"),
        ("[keys]\na = { key = 'GOOD', roles = ['read:'] }", "keys.a.roles: 'read:'; must be"),
        ("[keys]\na = { key = 'GOOD', roles = [], x = 1 }", "keys.a.x: there is no such entry"),
        ("[keys]\na = { key = 'GOOD', roles = [], row_seconds = 0 }", "keys.a.row_seconds"),
        (
            "[keys]\na = { key = 'GOOD', roles = [] }\nb = { key = 'GOOD', roles = [] }",
            "keys.b.key: the id",
        ),
        ("[jwt]\nissuer = 'i'\naudience = 'a'", "jwt.jwks: Field required"),
        ("[jwt]\nissuer = 'i'\naudience = []\njwks = 'j'", "jwt.audience"),
        (
            "[jwt]\nissuer = 'i'\naudience = 'a'\njwks = 'j'\nalgorithms = ['HS256', 'none']",
            "jwt.algorithms: HS256, none; must be of",
        ),
    ],
)
def test_a_wrong_file_is_told_by_its_field_without_its_value(
    made: NewKey, text: str, told: str
) -> None:
    with pytest.raises(BadCredentials) as raised:
        read(text.replace("GOOD", made.stored))
    assert told in str(raised.value)
    assert made.stored not in str(raised.value)


def test_lines_of_the_environment_are_the_table_of_keys(made: NewKey) -> None:
    found = read_keys(f"a = {{ key = '{made.stored}', roles = ['read'] }}")
    assert [each.identity.name for each in found.keys.values()] == ["key:a"]


def test_statuses_of_refusals() -> None:
    from adcaptum.service.rpc.error_answers import answer

    missing = answer(Unauthenticated(is_missing=True), "1")
    assert missing.code is grpc.StatusCode.UNAUTHENTICATED
    denied = answer(PermissionDenied(role="explain", model="cells"), "1")
    assert denied.code is grpc.StatusCode.PERMISSION_DENIED
    assert b"ROLE_MISSING" in denied.details
    assert b"explain" in denied.details

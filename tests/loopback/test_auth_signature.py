"""Signatures beside a key, over TLS: both forms of definitions, each store. Source: token reference, section 4."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.credentials import told
from tests.support.gateway import Response
from tests.support.token_world import EACH_BACKEND, FORMS, KeyWorld, as_seen, key_world

REFUSED = (401, "Request signature verification failed")
SKEW = 5


def settings(**signature: Any) -> dict[str, Any]:
    """Fields of an API whose keys are signed."""
    whole = {"algorithm": "MasherySHA256", "header": "X-Signature", "secret": "s3cret", "allowed_clock_skew": SKEW, **signature}
    return {"auth_configs": {"authToken": {"auth_header_name": "X-Key", "validate_signature": True, "signature": whole}}}


CONTEXT = {"enable_context_vars": True}
APIS: dict[str, dict[str, Any]] = {
    "sha": settings(),
    "md5": settings(algorithm="MasheryMD5"),
    "wide": settings(allowed_clock_skew=100_000),
    "never": settings(allowed_clock_skew=-1),
    "param": settings(use_param=True),
    "named": settings(param_name="sig"),
    "stripped": {**settings(use_param=True, param_name="sig"), "strip_auth_data": True},
    "code": settings(error_code=403),
    "message": settings(error_message='Sign "it".'),
    "both": settings(error_code=418, error_message="Tea"),
    "meta": settings(secret="$tyk_meta.shared"),
    "context": {**settings(secret="$tyk_context.headers_X_Tenant/$tyk_context.token"), **CONTEXT},
    "no-context": settings(secret="$tyk_context.headers_X_Tenant"),
    "env": settings(secret="$secret_env.SHARED"),
    "conf": settings(secret="a-$secret_conf.shared"),
    "file": settings(secret="$secret_file.shared.txt"),
    "vault": settings(secret="$secret_vault.shared"),
    "reference": settings(secret="env://SHARED"),
    "lost": settings(secret="vault://shared"),
}


@pytest.fixture(scope="module", params=EACH_BACKEND)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyWorld]:
    folder = tmp_path_factory.mktemp(request.param)
    secrets = folder / "kv"
    secrets.mkdir()
    (secrets / "shared.txt").write_text("of-a-file\n")
    with key_world(
        folder,
        request.param,
        APIS,
        environ={"SHARED": "of-the-environment"},
        secrets={"shared": "of-the-configuration"},
        kv={"file": {"base_path": str(secrets)}},
        hash_key_function="murmur64",
    ) as found:
        found.put("custom", meta_data={"shared": "of-the-key"})
        yield found


def sign(key: str, secret: str = "s3cret", *, off: float = 0, algorithm: str = "sha256") -> str:
    return hashlib.new(algorithm, f"{key}{secret}{int(time.time() + off)}".encode()).hexdigest()


def ask(world: KeyWorld, api: str, signature: str = "", *headers: tuple[str, str], key: str = "custom", query: str = "") -> Response:
    signed = [("X-Signature", signature)] if signature else []
    return world.ask(f"/{api}/{query}", ("X-Key", key), *signed, *headers)


def outcome(response: Response) -> tuple[int, str]:
    return (200, "") if response.status == 200 else told(response)


pytestmark = pytest.mark.parametrize("form", FORMS)


@pytest.mark.parametrize("sent", ["raw", "whole"])
@pytest.mark.parametrize("signed", ["raw", "whole"])
def test_every_combination_of_sent_and_signed_key(world: KeyWorld, form: str, sent: str, signed: str) -> None:
    """Pinned, with both hashes."""
    keys = {"raw": "custom", "whole": world.put("custom", meta_data={"shared": "of-the-key"})}
    for api, algorithm in (("sha", "sha256"), ("md5", "md5")):
        signature = sign(keys[signed], algorithm=algorithm)
        assert outcome(ask(world, f"{form}-{api}", signature, key=keys[sent])) == (200, "")
        assert outcome(ask(world, f"{form}-{api}", signature.upper(), key=keys[sent])) == (200, "")
        assert outcome(ask(world, f"{form}-{api}", sign(keys[signed] + "x", algorithm=algorithm), key=keys[sent])) == REFUSED


@pytest.mark.parametrize(
    ("change", "passes"),
    [
        (lambda good: good, True),
        (lambda good: "", False),
        (lambda good: good + "00", False),
        (lambda good: good + "!", False),
        (lambda good: good[:-2], False),
        (lambda good: "0" * 64, False),
        (lambda good: hashlib.md5(good.encode()).hexdigest(), False),
    ],
)
def test_only_the_signature_passes(world: KeyWorld, form: str, change: Any, passes: bool) -> None:
    """The upstream hears of nothing else."""
    before = len(world.upstream.requests)
    assert outcome(ask(world, f"{form}-sha", change(sign("custom")))) == ((200, "") if passes else REFUSED)
    assert len(world.upstream.requests) - before == passes


def test_a_repeated_signature_is_none(world: KeyWorld, form: str) -> None:
    """Two servers could read two."""
    good = sign("custom")
    assert outcome(ask(world, f"{form}-sha", good, ("X-Signature", good))) == REFUSED
    assert outcome(ask(world, f"{form}-sha", "0" * 64, ("X-Signature", good))) == REFUSED


@pytest.mark.parametrize(
    ("api", "off", "passes"),
    [
        ("sha", SKEW - 2, True),
        ("sha", 2 - SKEW, True),
        ("sha", SKEW + 3, False),
        ("sha", -SKEW - 3, False),
        ("wide", -3590, True),
        ("wide", 3590, True),
        ("wide", -3610, False),
        ("wide", 3610, False),
        ("never", 0, False),
    ],
)
def test_clocks_may_differ_by_the_skew(world: KeyWorld, form: str, api: str, off: float, passes: bool) -> None:
    """In both directions; an hour is the most."""
    assert outcome(ask(world, f"{form}-{api}", sign("custom", off=off))) == ((200, "") if passes else REFUSED)


def test_a_signature_is_used_again_until_its_time_is_over(world: KeyWorld, form: str) -> None:
    """It is bound to nothing of the request: the documents say so."""
    almost = sign("custom", off=2 - SKEW)
    assert [outcome(ask(world, f"{form}-sha", almost, query=path))[0] for path in ("a", "b", "c")] == [200] * 3
    time.sleep(4)
    assert outcome(ask(world, f"{form}-sha", almost)) == REFUSED


@pytest.mark.parametrize(
    ("api", "query", "header", "passes"),
    [
        ("param", "?X-Signature={good}", "", True),
        ("param", "?x-signature={good}", "", False),
        ("param", "?X-Signature={good}", "bad", True),
        ("param", "?X-Signature=bad", "{good}", False),
        ("param", "?X-Signature=", "{good}", True),
        ("named", "?sig={good}", "", True),
        ("named", "?X-Signature={good}", "", False),
        ("sha", "?X-Signature={good}", "", False),
    ],
)
def test_where_the_signature_stands(world: KeyWorld, form: str, api: str, query: str, header: str, passes: bool) -> None:
    """A parameter that is not empty goes before the header."""
    good = sign("custom")
    response = ask(world, f"{form}-{api}", header.format(good=good), query=query.format(good=good))
    assert outcome(response) == ((200, "") if passes else REFUSED)


@pytest.mark.parametrize(
    ("api", "expected"), [("code", (403, REFUSED[1])), ("message", (401, 'Sign "it".')), ("both", (418, "Tea")), ("sha", REFUSED)]
)
@pytest.mark.parametrize("signature", ["", "0" * 64])
def test_the_answer_can_be_the_apis_own(world: KeyWorld, form: str, api: str, expected: tuple[int, str], signature: str) -> None:
    """Each part alone; without ``WWW-Authenticate``."""
    response = ask(world, f"{form}-{api}", signature)
    assert outcome(response) == expected
    assert "www-authenticate" not in response.headers and response.headers["x-generator"] == "tyk.io"


@pytest.mark.parametrize(
    ("api", "secret"),
    [
        ("meta", "of-the-key"),
        ("context", "blue/{id}"),
        ("env", "of-the-environment"),
        ("conf", "a-of-the-configuration"),
        ("file", "of-a-file"),
        ("reference", "of-the-environment"),
    ],
)
def test_secrets_from_everywhere(world: KeyWorld, form: str, api: str, secret: str) -> None:
    """And the text of the variable itself is not one."""
    id = world.put("custom", meta_data={"shared": "of-the-key"})
    tenant = ("X-Tenant", "blue")
    assert outcome(ask(world, f"{form}-{api}", sign("custom", secret.format(id=id)), tenant)) == (200, "")
    configured = APIS[api]["auth_configs"]["authToken"]["signature"]["secret"]
    for wrong in ("", "other", configured):
        assert outcome(ask(world, f"{form}-{api}", sign("custom", wrong), tenant)) == REFUSED


@pytest.mark.parametrize("api", ["meta", "no-context", "vault", "lost"])
@pytest.mark.parametrize("secret", ["", "$tyk_meta.shared", "vault://shared", "blue"])
def test_an_empty_secret_lets_nobody_in(world: KeyWorld, form: str, api: str, secret: str) -> None:
    """A key without the member, variables that are off, stores that are not supported."""
    world.put("plain")
    assert outcome(ask(world, f"{form}-{api}", sign("plain", secret), ("X-Tenant", "blue"), key="plain")) == REFUSED


def test_what_cannot_work_is_said_on_load(world: KeyWorld, form: str) -> None:
    """By the place in the file."""
    told_of = {str(event["file"]): str(event["problem"]) for event in world.gateway.events if event.get("event") == "load.problem"}
    about = {name for name in APIS for file, problem in told_of.items() if f"{form}-{name}.json" in file and ".secret" in problem}
    assert about == {"vault", "lost"}


def test_the_signature_stays_here(world: KeyWorld, form: str) -> None:
    """With ``strip_auth_data``, header and parameter; without it both go on."""
    good = sign("custom")
    response = ask(world, f"{form}-stripped", good, query=f"x?a=1&sig={good}&b=2")
    assert json.loads(response.body)["target"] == "/x?a=1&b=2"
    assert not {"x-signature", "x-key"} & set(as_seen(response))
    response = ask(world, f"{form}-named", good, query=f"x?a=1&sig={good}")
    assert json.loads(response.body)["target"] == f"/x?a=1&sig={good}"
    assert {"x-signature", "x-key"} <= set(as_seen(response))


def test_key_then_signature_then_expiry(world: KeyWorld, form: str) -> None:
    """In this order; the key's own answers are as ever."""
    world.put("expired", expires=int(time.time()) - 10)
    world.put("narrow", access_rights={"other": {"api_id": "other"}})
    api = f"{form}-sha"
    assert outcome(world.ask(f"/{api}/")) == (401, "Authorization field missing")
    assert outcome(ask(world, api, sign("nobody"), key="nobody")) == (403, "Access to this API has been disallowed")
    assert outcome(ask(world, api, "", key="expired")) == REFUSED
    assert outcome(ask(world, api, sign("expired"), key="expired")) == (401, "Key has expired, please renew")
    assert outcome(ask(world, api, sign("narrow"), key="narrow")) == (403, "Access to this API has been disallowed")


def test_secrets_stand_in_no_log(world: KeyWorld, form: str) -> None:
    """Neither does a signature."""
    good = sign("custom", "of-the-key")
    assert outcome(ask(world, f"{form}-meta", good)) == (200, "")
    assert outcome(ask(world, f"{form}-sha", good)) == REFUSED
    text = "\n".join(world.gateway.lines)
    for secret in (good, "of-the-key", "of-the-environment", "of-the-configuration", "of-a-file", "s3cret"):
        assert secret not in text

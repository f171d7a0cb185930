"""From ``request_signing`` to what signs: what is complete, which key, what is said at load."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock

from tests.support.apis import FixedClock, make_api
from tests.support.certs import key, key_pem, make_self_signed
from tlsgate.errors import ConfigError, PkiError, Problem, Refusal
from tlsgate.gateway.upstream_signing import build_request_signer
from tlsgate.model.credentials import HmacSettings, RequestSigning, SigningRules
from tlsgate.pki.pem import parse_pem
from tlsgate.transform.request_signing import CavageSigner, MessageSigner, RequestSigner, Unsigned

PEMS = {
    "rsa": make_self_signed("signer", private_key=key("rsa-2048")).full_pem,
    "bare": key_pem(key("rsa-2048")),
    "p256": key_pem(key("p256")),
    "ed25519": key_pem(key("ed25519")),
    "public": make_self_signed("public").pem,
}
MODERN = SigningRules(format="rfc9421")


def resolve(reference: str) -> Any:
    if reference not in PEMS:
        raise PkiError("no such file")
    return parse_pem(PEMS[reference])


def build(settings: RequestSigning | None, **fields: Any) -> tuple[RequestSigner | None, list[Problem]]:
    notes: list[Problem] = []
    api = make_api(request_signing=settings, **fields)
    made = build_request_signer(api, resolve=resolve, note=notes.append, clock=FixedClock(), reactor=Clock())
    return made, notes


def refusal(signer: RequestSigner | None) -> str:
    assert isinstance(signer, Unsigned)
    with pytest.raises(Refusal) as caught:
        signer.sign(None, "http", b"/", [], b"")  # type: ignore[arg-type]
    return caught.value.id


def test_without_settings_nothing_signs() -> None:
    """The forwarder pays nothing."""
    assert build(None) == (None, [])


@pytest.mark.parametrize("algorithm", ["hmac-sha1", "hmac-sha256", "hmac-sha384", "hmac-sha512"])
def test_secrets_sign(algorithm: str) -> None:
    """All four."""
    signer, notes = build(RequestSigning(key_id="k", algorithm=algorithm, secret="s"))
    assert isinstance(signer, CavageSigner) and notes == []


@pytest.mark.parametrize("certificate", ["rsa", "bare"])
def test_a_private_key_signs_with_or_without_its_certificate(certificate: str) -> None:
    """What counts is the key."""
    signer, notes = build(RequestSigning(key_id="k", algorithm="rsa-sha256", certificate=certificate))
    assert isinstance(signer, CavageSigner) and notes == []


@pytest.mark.parametrize(
    ("algorithm", "certificate"),
    [("rsa-pss-sha512", "rsa"), ("rsa-v1_5-sha256", "bare"), ("ecdsa-p256-sha256", "p256"), ("ed25519", "ed25519"), ("hmac-sha256", "")],
)
def test_message_signatures_take_every_kind_of_key(algorithm: str, certificate: str) -> None:
    """By the settings of ours beside Tyk's."""
    signer, notes = build(RequestSigning(key_id="k", algorithm=algorithm, secret="s", certificate=certificate, rules=MODERN))
    assert isinstance(signer, MessageSigner) and notes == []


@pytest.mark.parametrize(
    ("settings", "id", "noted"),
    [
        (RequestSigning(), "signing.fields", False),
        (RequestSigning(algorithm="hmac-sha256", secret="s"), "signing.fields", False),
        (RequestSigning(key_id="k", secret="s"), "signing.fields", False),
        (RequestSigning(key_id="k", algorithm="hmac-sha256"), "signing.fields", False),
        (RequestSigning(key_id="k", algorithm="rsa-sha256", secret="s"), "signing.fields", False),
        (RequestSigning(key_id="k", algorithm="hmac-sha256", secret="env://NOWHERE"), "signing.fields", False),
        (RequestSigning(key_id="k", algorithm="hmac-123", secret="s"), "signing.algorithm", False),
        (RequestSigning(key_id="k", algorithm="rsa-123", certificate="rsa"), "signing.algorithm", False),
        (RequestSigning(key_id="k", algorithm="ed25519", secret="s"), "signing.algorithm", False),
        (RequestSigning(key_id="k", algorithm="rsa-sha256", certificate="none"), "signing.certificate", True),
        (RequestSigning(key_id="k", algorithm="rsa-sha256", certificate="public"), "signing.key", True),
        (RequestSigning(key_id="k", algorithm="rsa-sha256", certificate="p256"), "signing.key", True),
        (RequestSigning(key_id="k", algorithm="ed25519", certificate="p256", rules=MODERN), "signing.key", True),
        (RequestSigning(key_id="k", algorithm="hmac-sha1", certificate="rsa", rules=MODERN), "signing.algorithm", False),
        (RequestSigning(key_id="k", algorithm="hmac-sha256", certificate="rsa", rules=MODERN), "signing.fields", False),
    ],
)
def test_what_is_not_complete_refuses_each_request(settings: RequestSigning, id: str, noted: bool) -> None:
    """The load says what only it can know: the rest was said when the definition was read."""
    signer, notes = build(settings)
    assert refusal(signer) == id
    assert [note.path for note in notes] == (["request_signing.certificate_id"] if noted else [])


def test_the_list_of_algorithms_limits_draft_cavage() -> None:
    """``hmac_allowed_algorithms``; its names are not those of RFC 9421."""
    allowed = HmacSettings(algorithms=("hmac-sha512",))
    assert refusal(build(RequestSigning(key_id="k", algorithm="hmac-sha1", secret="s"), hmac=allowed)[0]) == "signing.algorithm"
    assert isinstance(build(RequestSigning(key_id="k", algorithm="hmac-sha512", secret="s"), hmac=allowed)[0], CavageSigner)
    modern = RequestSigning(key_id="k", algorithm="ed25519", certificate="ed25519", rules=MODERN)
    assert isinstance(build(modern, hmac=allowed)[0], MessageSigner)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"signature_header": "A B"}, "request_signing.signature_header"),
        ({"signature_header": "Transfer_Encoding"}, "request_signing.signature_header"),
        ({"headers": ("date", "x\r\ny")}, "request_signing.header_list"),
        ({"headers": ("(status)",)}, "request_signing.header_list"),
        ({"key_id": "a\nb"}, "request_signing.key_id"),
        ({"key_id": "\xe4"}, "request_signing.key_id"),
    ],
)
def test_what_would_break_a_request_is_an_error_of_the_definition(fields: dict[str, Any], path: str) -> None:
    """Said with its place."""
    with pytest.raises(ConfigError) as caught:
        build(RequestSigning(**{"key_id": "k", "algorithm": "hmac-sha256", "secret": "s", **fields}))
    assert [problem.path for problem in caught.value.problems] == [path]

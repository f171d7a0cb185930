"""Signatures beside a key: the vector, what may be signed, what is refused and at which cost nothing passes."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tests.support.apis import make_api, make_config
from tests.support.keys import Keys, run
from tlsgate.auth import token
from tlsgate.auth.key_signature import find_key_texts, is_signature
from tlsgate.auth.sources import find_parameter
from tlsgate.errors import Refusal
from tlsgate.model.credentials import CredentialSource, KeySignature
from tlsgate.model.exchange import Exchange

KEY = "5bcef48a3f03d311ff27d156630baf849e3b438b8a48fec99239d5c9"
TIME = 1546259837
SHA256 = "fce2e80253cd438b666341176f34bde499116b63719e2482dae6965518ffd316"
MD5 = "eb7cc742c07c2ce0d71fa2d5a6f81a91"
TO_SEED: dict[str, Any] = {"secret": "$tyk_meta.shared", "header": "X-Sig", "algorithm": "MasherySHA256"}


def sign(key: str, second: float, secret: str = "s3cret", algorithm: str = "sha256") -> str:
    return hashlib.new(algorithm, f"{key}{secret}{int(second)}".encode()).hexdigest()


def attempt(keys: Keys, exchange: Exchange, settings: dict[str, Any], **fields: Any) -> str:
    """Id of the refusal, or ``passes``."""
    api = make_api(org_id="org", keyless=False, key_signature=KeySignature(**settings), **fields)
    step = token.build(api, keys.config, keys.tools)
    try:
        if not step.try_now(exchange):
            run(step.finish(exchange))
    except Refusal as refusal:
        return refusal.id
    return "passes"


def with_key(**fields: Any) -> Keys:
    keys = Keys(**fields)
    keys.add("custom", meta_data={"shared": "s3cret", "number": 7})
    return keys


def test_without_the_setting_it_is_the_tokens_own_step() -> None:
    """Nothing in the way."""
    keys = Keys()
    step = token.build(make_api(org_id="org", keyless=False), keys.config, keys.tools)
    assert isinstance(step, token.TokenAuth)


@pytest.mark.parametrize(("algorithm", "signature"), [("sha256", SHA256), ("md5", MD5)])
def test_the_vector(algorithm: str, signature: str) -> None:
    """Source: token reference, section 4."""
    digest = bytes.fromhex(signature)
    make = {"sha256": hashlib.sha256, "md5": hashlib.md5}[algorithm]
    assert is_signature(digest, (KEY.encode(),), b"foobar", TIME, 0, make)
    assert not is_signature(digest, (KEY.encode(),), b"foobaz", TIME, 0, make)
    assert not is_signature(digest, (KEY[:-1].encode(),), b"foobar", TIME, 0, make)


@pytest.mark.parametrize(
    ("skew", "off", "passes"),
    [(0, 0, True), (0, 1, False), (0, -1, False), (2, 2, True), (2, -2, True), (2, 3, False), (2, -3, False), (-1, 0, False)],
)
def test_the_skew_counts_in_both_directions(skew: int, off: int, passes: bool) -> None:
    """0 is the same second only, a negative one never."""
    keys = with_key()
    signature = sign("custom", keys.clock.now() + off)
    outcome = attempt(keys, keys.request("custom", headers=[("X-Sig", signature)]), {**TO_SEED, "skew_s": skew})
    assert outcome == ("passes" if passes else "auth.signature_failed")


@pytest.mark.parametrize("function", ["", "murmur64", "sha256"])
@pytest.mark.parametrize("sent", ["raw", "whole"])
@pytest.mark.parametrize("signed", ["raw", "whole", "other", "org"])
def test_a_custom_key_is_signed_in_either_spelling(function: str, sent: str, signed: str) -> None:
    """Pinned: {send raw, send generated} x {sign raw, sign generated}."""
    keys = Keys(hash_key_function=function) if function else Keys()
    whole = keys.add("custom", meta_data={"shared": "s3cret"})
    texts = {"raw": "custom", "whole": whole, "other": "customs", "org": "orgcustoms"}
    exchange = keys.request({"raw": "custom", "whole": whole}[sent], headers=[("X-Sig", sign(texts[signed], keys.clock.now()))])
    assert attempt(keys, exchange, TO_SEED) == ("passes" if signed in ("raw", "whole") else "auth.signature_failed")


def test_texts_of_a_key() -> None:
    """Without the owner, the part of a base64 id, as stored; each once."""
    assert find_key_texts("orgcustom", "org") == (b"custom", b"orgcustom")
    assert find_key_texts("custom", "org") == (b"custom",)
    assert find_key_texts("custom", "") == (b"custom",)
    assert find_key_texts("org", "org") == (b"org",)
    whole = Keys(hash_key_function="murmur64").naming.generate("org", "custom")
    assert find_key_texts(whole, "org") == (whole.encode(), b"custom")


@pytest.mark.parametrize(
    "change",
    [
        lambda signature: signature + "00",
        lambda signature: signature + "zz",
        lambda signature: signature[:-2],
        lambda signature: " " + signature[1:],
        lambda signature: "0x" + signature,
        lambda signature: signature + "\xe9",
        lambda signature: signature[:-1] + ("0" if signature[-1] != "0" else "1"),
        lambda signature: "",
        lambda signature: f"{signature}, {signature}",
    ],
)
def test_nothing_but_the_signature_passes(change: Any) -> None:
    """BETTER: in Tyk rubbish after it does no harm."""
    keys = with_key()
    signature = sign("custom", keys.clock.now())
    assert attempt(keys, keys.request("custom", headers=[("X-Sig", signature.upper())]), TO_SEED) == "passes"
    assert attempt(keys, keys.request("custom", headers=[("X-Sig", change(signature))]), TO_SEED) == "auth.signature_failed"


def test_no_signature_and_no_event() -> None:
    """Tyk tells nobody of a failed signature."""
    keys = with_key()
    assert attempt(keys, keys.request("custom"), TO_SEED) == "auth.signature_failed"
    assert keys.events == []
    assert attempt(keys, keys.request("nobody"), TO_SEED) == "auth.key_not_found"
    assert attempt(keys, keys.request(), TO_SEED) == "auth.auth_field_missing"


@pytest.mark.parametrize(
    ("settings", "query", "header", "passes"),
    [
        ({}, "X-Sig={good}", "", False),
        ({"use_param": True}, "X-Sig={good}", "", True),
        ({"use_param": True}, "X-Sig={good}", "{bad}", True),
        ({"use_param": True}, "X-Sig={bad}", "{good}", False),
        ({"use_param": True}, "X-Sig=", "{good}", True),
        ({"param_name": "sig"}, "sig={good}", "", True),
        ({"param_name": "sig"}, "X-Sig={good}", "", False),
        ({"param_name": "sig"}, "Sig={good}", "", False),
        ({"param_name": "sig", "header": ""}, "sig={good}", "", True),
    ],
)
def test_where_the_signature_stands(settings: dict[str, Any], query: str, header: str, passes: bool) -> None:
    """A parameter that is not empty beats the header; its name is that of the header unless it has its own."""
    keys = with_key()
    good = sign("custom", keys.clock.now())
    headers = [("X-Sig", header.format(good=good, bad="0" * 64))] if header else []
    exchange = keys.request("custom", query=query.format(good=good, bad="0" * 64), headers=headers)
    assert (attempt(keys, exchange, {**TO_SEED, **settings}) == "passes") is passes


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("s3cret", "s3cret"),
        ("a-$tyk_meta.shared-b", ""),
        ("a $tyk_meta.shared b", "a s3cret b"),
        ("$tyk_meta.number", "7"),
        ("$tyk_meta.none", ""),
        ("$tyk_context.headers_X_Tenant", "blue"),
        ("$tyk_context.token", "orgcustom"),
        ("$secret_conf.shared", "from the file"),
        ("$secret_env.SHARED", "from the environment"),
        ("$secret_env.NO_SUCH", ""),
        ("$secret_vault.a/b", ""),
    ],
)
def test_secrets_may_hold_variables(monkeypatch: pytest.MonkeyPatch, secret: str, text: str) -> None:
    """Empty is refused, whatever was signed."""
    monkeypatch.setenv("TYK_SECRET_SHARED", "from the environment")
    keys = with_key()
    keys.config = make_config(secrets={"shared": "from the file"})
    exchange = keys.request("custom", headers=[("X-Sig", sign("custom", keys.clock.now(), text)), ("X-Tenant", "blue")])
    exchange.context = {}
    outcome = attempt(keys, exchange, {**TO_SEED, "secret": secret}, context_variables=True)
    assert outcome == ("passes" if text else "auth.signature_failed")


@pytest.mark.parametrize("base", ["", "token", "basic"])
def test_whose_meta_data_it_is(base: str) -> None:
    """That of the session that counts; the key is the one that was sent, whichever that is."""
    keys = with_key()
    keys.add("basic-user", meta_data={"shared": "theirs"})
    exchange = keys.request("basic-user")
    assert attempt(keys, exchange, {**TO_SEED, "secret": "x", "skew_s": -1}) == "auth.signature_failed"
    # Another method's session is in place now.
    secret = "theirs" if base == "basic" else "s3cret"
    later = keys.request("custom", headers=[("X-Sig", sign("custom", keys.clock.now(), secret))])
    later.key, later.session = exchange.key, exchange.session
    assert attempt(keys, later, TO_SEED, base_identity=base) == "passes"
    assert (later.session is exchange.session) is (base == "basic")


def test_an_ignored_path_asks_for_none() -> None:
    """As it asks for no key."""
    keys = with_key()
    exchange = keys.request()
    exchange.ignored = True
    assert attempt(keys, exchange, TO_SEED) == "passes"


def test_a_cached_key_waits_for_nothing() -> None:
    """And is refused at once when its signature is wrong."""
    keys = with_key()
    api = make_api(org_id="org", keyless=False, key_signature=KeySignature(**TO_SEED), auth_default=CredentialSource())
    step = token.build(api, keys.config, keys.tools)
    good = sign("custom", keys.clock.now())
    first = keys.request("custom", headers=[("X-Sig", good)])
    assert not step.try_now(first)
    run(step.finish(first))
    assert step.try_now(keys.request("custom", headers=[("X-Sig", good)]))
    with pytest.raises(Refusal):
        step.try_now(keys.request("custom", headers=[("X-Sig", "0" * 64)]))
    assert find_parameter(first, b"none") == b""

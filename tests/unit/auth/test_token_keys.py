"""Keys of a source and what they verify."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.apis import FixedClock
from tests.support.keys import run
from tests.support.provider import Provider, b64, sign_hmac
from tlsgate.auth.token_keys import KeysAway, TokenKeys, WrongFamily
from tlsgate.idp.key_sets import KeySets
from tlsgate.jose.compact import TokenFault, parse_compact
from tlsgate.jose.keys import KeyFault
from tlsgate.model.tokens import KeySetAddress

SECRET = b"0123456789abcdef0123456789abcdef"
URL = "https://idp.test/keys"
PROVIDER = Provider()


class Sets:
    """Key sets of two addresses; the second one can be away."""

    def __init__(self) -> None:
        self.away: set[str] = set()
        self.changed: set[str] = set()
        """Addresses whose set has one more key than before."""
        self.asked: list[str] = []
        self.clock = FixedClock(0.0)
        self.sets = KeySets(self._fetch, self.clock, stale_s=600)

    async def _fetch(self, url: str) -> tuple[int, bytes, str]:
        self.asked.append(url)
        if url in self.away:
            raise OSError("away")
        keys = json.loads(PROVIDER.page("/keys")[1])["keys"]
        if url in self.changed:
            keys.append({**keys[0], "kid": "more"})
        return 200, json.dumps({"keys": keys if url == URL else [{**keys[0], "kid": "other"}]}).encode(), ""


def verdict(keys: TokenKeys, token: str) -> str:
    try:
        run(keys.verify(parse_compact(token.encode())))
    except (TokenFault, WrongFamily, KeysAway) as error:
        return type(error).__name__
    return ""


def of_secret() -> TokenKeys:
    return TokenKeys("hmac", b64(SECRET), (), None)


def test_a_shared_secret() -> None:
    """Any HMAC algorithm of the family, no other; what is unknown is no token."""
    keys = of_secret()
    assert [verdict(keys, sign_hmac({}, SECRET, name)) for name in ("HS256", "HS384", "HS512")] == ["", "", ""]
    assert verdict(keys, sign_hmac({}, b"another")) == "TokenFault"
    assert verdict(keys, PROVIDER.token()) == "WrongFamily"
    for name, result in (("none", "WrongFamily"), ("None", "TokenFault"), ("hs256", "TokenFault"), ("EdDSA", "WrongFamily")):
        _, payload, signature = sign_hmac({}, SECRET).split(".")
        assert verdict(keys, ".".join((_head({"alg": name}), payload, signature))) == result, name
    assert keys.version() == of_secret().version() == 0


def _head(header: dict[str, Any]) -> str:
    return sign_hmac({}, b"x", **header).split(".")[0]


def test_a_public_key_is_never_a_secret_for_a_token() -> None:
    """The token says HS256 and is signed with the text of the public key."""
    key = PROVIDER.keys["rsa"].public_key()
    for form in (Encoding.PEM, Encoding.DER):
        data = key.public_bytes(form, PublicFormat.SubjectPublicKeyInfo)
        keys = TokenKeys("rsa", b64(data), (), None)
        assert verdict(keys, PROVIDER.token()) == ""
        assert verdict(keys, sign_hmac({}, data)) == "WrongFamily"


def test_key_sets() -> None:
    """By the id of the key; its type and the family decide; without an id, or with another key, it is no token."""
    sets = Sets()
    keys = TokenKeys("rsa", URL, (), sets.sets)
    assert verdict(keys, PROVIDER.token()) == "" and keys.version() == 1
    assert verdict(keys, PROVIDER.token(algorithm="PS384")) == ""
    assert verdict(keys, PROVIDER.token(header={"kid": "ec"})) == "TokenFault"
    assert verdict(keys, PROVIDER.token(header={"kid": "unknown"})) == "TokenFault"
    assert verdict(keys, PROVIDER.token(header={"kid": None})) == "TokenFault"
    assert verdict(keys, PROVIDER.token(kid="ec", algorithm="ES256")) == "WrongFamily"
    assert verdict(TokenKeys("ecdsa", URL, (), sets.sets), PROVIDER.token(kid="ec", algorithm="ES256")) == ""


def test_several_addresses() -> None:
    """In order; one that is away is passed over, and only its absence is a reason to speak of it."""
    sets = Sets()
    addresses = (KeySetAddress(url="https://b.test"), KeySetAddress(url=URL))
    keys = TokenKeys("rsa", "", addresses, sets.sets)
    assert verdict(keys, PROVIDER.token()) == ""
    sets.clock.time += 60
    assert verdict(keys, PROVIDER.token()) == "" and sets.asked == ["https://b.test", URL], "known here, so not asked for there"
    sets = Sets()
    sets.away = {"https://b.test"}
    keys = TokenKeys("rsa", "", addresses, sets.sets)
    assert verdict(keys, PROVIDER.token()) == ""
    assert verdict(keys, PROVIDER.token(header={"kid": "unknown"})) == "KeysAway"
    keys.prefetch()


def test_a_set_that_is_too_old_hides_nothing() -> None:
    """What another address changes meanwhile still changes the number; so does each return."""
    sets = Sets()
    keys = TokenKeys("rsa", "", (KeySetAddress(url="https://b.test"), KeySetAddress(url=URL)), sets.sets)
    assert verdict(keys, PROVIDER.token()) == ""
    seen = [keys.version()]
    sets.away = {"https://b.test"}
    for _ in range(700):
        sets.clock.time += 1
        assert verdict(keys, PROVIDER.token()) == ""
        keys.version()
    seen.append(keys.version())
    sets.changed = {URL}
    sets.clock.time += 250
    assert verdict(keys, PROVIDER.token()) == ""
    seen.append(keys.version())
    sets.away = set()
    sets.clock.time += 60
    assert verdict(keys, PROVIDER.token(header={"kid": "other"})) == "" and verdict(keys, PROVIDER.token()) == ""
    seen.append(keys.version())
    assert len(set(seen)) == 4


@pytest.mark.parametrize(("family", "source"), [("rsa", "nonsense"), ("hmac", ""), ("rsa", URL)])
def test_what_cannot_verify_is_a_fault(family: str, source: str) -> None:
    """Also an address when nobody fetches."""
    with pytest.raises(KeyFault):
        TokenKeys(family, source, (), None)

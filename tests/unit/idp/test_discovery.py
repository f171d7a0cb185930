"""Discovery documents: one question for all, bounded questions, through outages, only the issuer's own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from tests.support.apis import FixedClock
from tests.support.keys import begin, run
from tests.unit.idp.test_key_sets import key_set
from tlsgate.idp.discovery import LIFE_S, Discovery, find_document
from tlsgate.idp.key_sets import KeySets, KeysUnavailable

ISSUER = "https://idp.test/app"
DOCUMENT = f"{ISSUER}/.well-known/openid-configuration"
URL = "https://idp.test/keys"
KEYS = key_set("a")


class Provider:
    """Answers at once, or when the test says so."""

    def __init__(self, *, held: bool = False, **members: Any) -> None:
        self.body = json.dumps({"issuer": ISSUER, "jwks_uri": URL, **members}).encode()
        self.status = 200
        self.error: Exception | None = None
        self.asked: list[str] = []
        self.held: list[Deferred[None]] | None = [] if held else None

    async def __call__(self, url: str) -> tuple[int, bytes, str]:
        self.asked.append(url)
        if self.held is not None:
            waiter: Deferred[None] = Deferred()
            self.held.append(waiter)
            await waiter
        if self.error is not None:
            raise self.error
        return (200, KEYS, "") if url != DOCUMENT else (self.status, self.body, "")


def world(provider: Provider) -> tuple[Discovery, KeySets, FixedClock]:
    clock = FixedClock(1000.0)
    sets = KeySets(provider, clock)
    return Discovery(provider, clock, sets), sets, clock


@pytest.mark.parametrize("issuer", [ISSUER, ISSUER + "/"])
def test_the_address_of_a_document(issuer: str) -> None:
    """B52: one slash, either way."""
    assert find_document(issuer) == DOCUMENT


def test_a_document_leads_to_keys_and_is_asked_for_once() -> None:
    """The keys are fetched with it, before anybody needs them."""
    provider = Provider()
    discovery, sets, _ = world(provider)
    assert discovery.peek(ISSUER) == ""
    discovery.prefetch(ISSUER)
    assert discovery.peek(ISSUER) == run(discovery.find(ISSUER)) == URL
    discovery.prefetch(ISSUER)
    assert sets.peek(URL) is not None and provider.asked == [DOCUMENT, URL] and discovery.fetches == 1


def test_what_is_not_allowed_any_more_is_forgotten() -> None:
    """A document and the keys that it leads to, or keys at an address of another host; a provider that is away is another matter."""
    for forbidden, left in ((DOCUMENT, ("", None)), (URL, (URL, None)), ("https://other.test/", (URL, KEYS))):
        discovery, sets, _ = world(Provider())
        run(discovery.find(ISSUER))
        run(sets.load(URL))
        number = sets.version(URL)
        for each in (sets, discovery):
            each.keep_only(lambda url, forbidden=forbidden: url != forbidden)
        found = sets.peek(URL)
        assert (discovery.peek(ISSUER), found is None, sets.version(URL) == number) == (left[0], left[1] is None, left[1] is not None)


def test_many_who_ask_at_once_cause_one_question() -> None:
    """And one who goes away takes nothing from the others."""
    provider = Provider(held=True)
    discovery, _, _ = world(provider)
    waiting = [begin(discovery.find(ISSUER)) for _ in range(50)]
    waiting[0][0].addErrback(lambda _: None)
    waiting[0][0].cancel()
    assert provider.held is not None
    provider.held[0].callback(None)
    assert provider.asked.count(DOCUMENT) == 1 and all(results == [URL] for _, results in waiting[1:])


def test_a_provider_that_is_away_is_left_alone() -> None:
    """For a while that doubles, up to half a minute; who asks meanwhile does not wait."""
    provider = Provider()
    provider.error = OSError("away")
    discovery, _, clock = world(provider)
    for pause in (1, 2, 4, 8, 16, 30, 30):
        before = len(provider.asked)
        for _ in range(5):
            with pytest.raises(KeysUnavailable):
                run(discovery.find(ISSUER))
        assert len(provider.asked) == before + 1
        clock.time += pause - 0.1
        with pytest.raises(KeysUnavailable):
            run(discovery.find(ISSUER))
        assert len(provider.asked) == before + 1
        clock.time += 0.2
    provider.error = None
    assert run(discovery.find(ISSUER)) == URL


def test_a_document_is_renewed_and_outlives_its_provider() -> None:
    """Beside the requests near its end; then for a day."""
    provider = Provider()
    discovery, _, clock = world(provider)
    run(discovery.find(ISSUER))
    clock.time += LIFE_S * 0.9
    provider.error = OSError("away")
    assert discovery.peek(ISSUER) == URL and provider.asked.count(DOCUMENT) == 2
    clock.time += LIFE_S
    assert discovery.peek(ISSUER) == URL
    clock.time += 86400
    assert discovery.peek(ISSUER) == ""
    provider.error = None
    provider.body = json.dumps({"issuer": ISSUER, "jwks_uri": URL + "2"}).encode()
    clock.time += 60
    assert run(discovery.find(ISSUER)) == URL + "2"


@pytest.mark.parametrize(
    "members",
    [
        {"issuer": "https://other.test"},
        {"issuer": "https://idp.test"},
        {"issuer": None},
        {"issuer": [ISSUER]},
        {"jwks_uri": None},
        {"jwks_uri": 7},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "/keys"},
        {"jwks_uri": "http://idp.test/keys"},
    ],
    ids=str,
)
def test_documents_that_lead_nowhere(members: dict[str, Any]) -> None:
    """Another issuer's, keys without TLS, or no keys at all."""
    provider = Provider(**members)
    with pytest.raises(KeysUnavailable):
        run(world(provider)[0].find(ISSUER))
    assert provider.asked == [DOCUMENT]


@pytest.mark.parametrize(("status", "body"), [(404, None), (302, None), (200, b"[]"), (200, b"{"), (200, b"\xff")])
def test_answers_that_are_no_document(status: int, body: bytes | None) -> None:
    """Status first; a redirect is not followed."""
    provider = Provider()
    provider.status = status
    provider.body = body if body is not None else provider.body
    with pytest.raises(KeysUnavailable):
        run(world(provider)[0].find(ISSUER))


def test_the_last_slash_of_a_documents_issuer_does_not_matter() -> None:
    """What tokens say is compared exactly, elsewhere."""
    assert run(world(Provider(issuer=ISSUER + "/"))[0].find(ISSUER)) == URL


@pytest.mark.parametrize(
    ("payload", "gone"), [("", True), (DOCUMENT, True), (f"https://x.test/ {DOCUMENT}", True), ("https://x.test/", False)]
)
def test_documents_and_their_keys_are_forgotten(payload: str, gone: bool) -> None:
    """``DELETE /tyk/cache/jwks``, of all or of one API, in whichever process."""
    discovery, sets, _ = world(Provider())
    run(discovery.find(ISSUER))
    discovery.on_change("key", "")
    assert discovery.peek(ISSUER) == URL
    discovery.on_change("jwks", payload)
    assert (discovery.peek(ISSUER) == "") is gone and (sets.peek(URL) is None) is gone
    assert run(discovery.find(ISSUER)) == URL

"""Tests of `tlsgate.control.key_lists`: which keys are listed, and that lists are streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.control import MemoryControl, rights, token_api
from tests.support.keys import begin, run
from tlsgate.control import key_lists
from tlsgate.control.key_lists import stream_names
from tlsgate.errors import StoreUnavailable
from tlsgate.model.policy import Policy
from tlsgate.model.session import AccessRight


def names(control: MemoryControl, query: str = "") -> list[str]:
    reply = control.call("GET", f"/tyk/keys{query}")
    assert reply.status == 200, reply
    return list(reply.body["keys"])


def add(control: MemoryControl, id: str, org: str = "org", *apis: str, **fields: Any) -> str:
    body = {"org_id": org, "access_rights": rights(*apis), **fields}
    created = control.call("POST", f"/tyk/keys/{id}", body).body
    return str(created.get("key_hash") or created["key"])


def test_no_key_is_an_empty_list() -> None:
    assert names(MemoryControl()) == []


@pytest.mark.parametrize("count", [1, 499, 500, 501, 1203])
def test_every_key_is_listed_once(count: int) -> None:
    """Around the size of a batch, too."""
    control = MemoryControl()
    for number in range(count):
        run(control.state.store.put(f"apikey-k{number}", b"{}"))
    run(control.state.store.put("orgkey.x", b"{}"))
    assert sorted(names(control)) == sorted(f"k{number}" for number in range(count))


@pytest.mark.parametrize("function", ["", "sha256"])
def test_a_filter_is_the_beginning_of_id_or_organisation(function: str) -> None:
    """Of plain ids, and of the organisation inside base64 ids."""
    control = MemoryControl(hash_key_function=function)
    acme, other = add(control, "first", "acme"), add(control, "second", "other")
    assert names(control, "?filter=acme") == [acme]
    assert names(control, "?filter=ac") == [acme]
    assert names(control, "?filter=second") == []
    assert sorted(names(control, "?filter=")) == sorted([acme, other])
    if function:
        assert sorted(names(control, "?filter=ey")) == sorted([acme, other])


def test_hashes_are_listed_only_where_allowed() -> None:
    """404 with Tyk's words; ``filter`` means nothing for hashes."""
    control = MemoryControl(hash_keys=True)
    reply = control.call("GET", "/tyk/keys")
    assert (reply.status, reply.message) == (404, "Hashed key listing is disabled in config (enable_hashed_keys_listing)")
    control = MemoryControl(hash_keys=True, enable_hashed_keys_listing=True)
    first, second = add(control, "first"), add(control, "second", "acme")
    assert sorted(names(control, "?filter=acme")) == sorted([first, second])


def test_keys_of_an_api_are_sorted() -> None:
    """By access right, those that policies give included; keys whose policies fail count by their own."""
    policy = Policy(id="two", org_id="org", access_rights={"two": AccessRight()})
    control = MemoryControl(token_api(), token_api("two"), policies=(policy,))
    ids = [add(control, name, "org", "api") for name in ("ccc", "aaa", "bbb")]
    by_policy = control.call("POST", "/tyk/keys/ddd", {"org_id": "org", "apply_policies": ["two"]}).key
    run(control.state.store.put("apikey-orgbroken", b"nonsense"))
    assert names(control, "?api_id=api&filter=org") == sorted(ids)
    assert names(control, "?api_id=two&filter=org") == [by_policy]
    assert names(control, "?api_id=api&filter=else") == []
    control.state.policies.table = type(control.state.policies.table)()
    assert names(control, "?api_id=two&filter=org") == [by_policy]


def test_keys_of_an_api_need_a_filter_unless_hashed() -> None:
    """400 in the words of Tyk's legacy mode."""
    reply = MemoryControl().call("GET", "/tyk/keys?api_id=api")
    assert (reply.status, reply.message) == (400, "The 'filter' parameter (Org ID) is required when filtering by 'api_id' in legacy mode")
    control = MemoryControl(hash_keys=True, enable_hashed_keys_listing=True)
    hashes = [add(control, name) for name in ("first", "second")]
    assert names(control, "?api_id=api") == sorted(hashes)


@pytest.mark.parametrize("allowed", [True, False])
def test_master_keys_belong_to_every_api_where_they_count(allowed: bool) -> None:
    """Only with ``allow_master_keys``."""
    control = MemoryControl(allow_master_keys=allowed)
    run(control.state.store.put("apikey-orgmaster", b'{"org_id": "org"}'))
    assert names(control, "?api_id=api&filter=org") == (["orgmaster"] if allowed else [])


def test_a_sorted_list_that_takes_too_long_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """504 `Request timeout while processing keys`."""
    control = MemoryControl()
    add(control, "first")
    monkeypatch.setattr(key_lists, "_SORTED_S", -1.0)
    reply = control.call("GET", "/tyk/keys?api_id=api&filter=org")
    assert (reply.status, reply.message) == (504, "Request timeout while processing keys")


def test_pieces_come_while_the_store_is_still_read() -> None:
    """One batch, one piece: memory does not grow with the list; a store that breaks off breaks the list off."""
    read: list[int] = []

    async def batches() -> AsyncIterator[list[str]]:
        for number in range(3):
            read.append(number)
            yield [f'k"{number}'] if number != 1 else []
        raise StoreUnavailable("gone")

    async def take() -> list[bytes]:
        pieces = await stream_names(batches())
        assert read == [0]
        found = [await anext(pieces)]
        assert read == [0]
        found.append(await anext(pieces))
        assert read == [0, 1, 2]
        with pytest.raises(StoreUnavailable):
            await anext(pieces)
        return found

    assert run(take()) == [b'{"keys":["k\\"0"', b',"k\\"2"']


def test_a_store_that_is_away_is_an_answer_not_a_broken_list() -> None:
    """Before the first piece: 503."""

    async def batches() -> AsyncIterator[list[str]]:
        raise StoreUnavailable("gone")
        yield []

    _, results = begin(stream_names(batches()))
    assert results[0].check(StoreUnavailable)


def test_a_sorted_list_is_put_together_from_short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """No turn of the reactor sorts more than a run; each key once, in order."""
    monkeypatch.setattr(key_lists, "_RUN", 7)
    monkeypatch.setattr(key_lists, "_AT_ONCE", 5)
    monkeypatch.setattr(key_lists, "_BATCH", 4)
    control = MemoryControl()
    made = [add(control, f"org{(number * 7919) % 10_007:05}") for number in range(60)]
    assert names(control, "?filter=org&api_id=api") == sorted(made)
    assert names(control, "?filter=org&api_id=other") == []

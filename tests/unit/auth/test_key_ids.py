"""Ids of keys, their hashes, and what a presented text may stand for."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.auth import key_ids
from tlsgate.auth.key_ids import KeyNaming, find_id_parts, find_owner, hash_key, looks_like_hash
from tlsgate.config.model import KeySettings

ORG = "5e9d9544a1dcd60001d0ed20"


def naming(**fields: object) -> KeyNaming:
    return KeyNaming(KeySettings(**fields))  # type: ignore[arg-type]


def ids(made: KeyNaming, org: str, presented: str) -> list[str]:
    return [candidate.id for candidate in made.candidates(org, presented)]


def wrap(org: str, id: str, algorithm: str) -> str:
    return base64.b64encode(f'{{"org":"{org}","id":"{id}","h":"{algorithm}"}}'.encode()).decode()


@pytest.mark.parametrize(
    ("text", "algorithm", "hashed"),
    [
        ("defaultf1bfc265b48841f1b1dcdc26cd39eadf", "murmur32", "319d3ab3"),
        ("defaultf1bfc265b48841f1b1dcdc26cd39eade", "murmur32", "319d3ab3"),
        ("defaulttestkey", "murmur32", "67c72ca5"),
        ("abc", "murmur32", "00000000"),
        ("eyJvcmciOiJkZWZhdWx0IiwiaWQiOiJ0ZXN0a2V5IiwiaCI6Im11cm11cjY0In0=", "murmur64", "98d7a0799c1c6914"),
        ("eyJvcmciOiJkZWZhdWx0IiwiaWQiOiJ0ZXN0a2V5IiwiaCI6Im11cm11cjEyOCJ9", "murmur128", "5984e26dcea75cb0098b38e304996010"),
        (
            "eyJvcmciOiJkZWZhdWx0IiwiaWQiOiJ0ZXN0a2V5IiwiaCI6InNoYTI1NiJ9",
            "sha256",
            "e764bc4f2103ad41131f5916e9951c2247d862fbb696273c0a7c2ae25c27ac8e",
        ),
        ("hello", "murmur128", "cbd8a7b341bd9b025b1e906a48ae1d19"),
        ("", "murmur128", "0" * 32),
    ],
)
def test_vectors(text: str, algorithm: str, hashed: str) -> None:
    """Source: keys reference, section 3."""
    assert hash_key(text, algorithm) == hashed
    assert looks_like_hash(hashed)


def test_murmur64_is_half_of_murmur128_at_every_tail_length() -> None:
    """0 to 32 bytes: block and tail."""
    for length in range(33):
        data = bytes(range(length))
        assert key_ids.murmur128(data).startswith(key_ids.murmur64(data))
    assert len({key_ids.murmur128(bytes(range(length))) for length in range(33)}) == 33


@pytest.mark.parametrize("algorithm", ["murmur64", "murmur128", "sha256"])
def test_generated_ids_are_tyks_bytes(algorithm: str) -> None:
    """The field order and the absence of blanks are part of the name."""
    made = naming(hash_key_function=algorithm)
    assert made.generate("default", "testkey") == wrap("default", "testkey", algorithm)
    assert made.generate("default", "defaulttestkey") == wrap("default", "testkey", algorithm)
    assert len(find_id_parts(made.generate("default")).id) == 32  # type: ignore[union-attr]


def test_an_id_cannot_write_its_own_algorithm() -> None:
    """Quotes in a custom id are escaped (Tyk pastes them in)."""
    made = naming(hash_key_function="sha256")
    id = made.generate("o", 'x","h":"murmur32')
    parts = find_id_parts(id)
    assert parts == ("o", 'x","h":"murmur32', "sha256")


def test_plain_ids_without_a_function() -> None:
    """``org`` + 32 hex digits, ``org`` + name; the owner before the name counts once."""
    made = naming()
    assert made.generate(ORG, "K") == ORG + "K" == made.generate(ORG, ORG + "K")
    generated = made.generate(ORG)
    assert generated.startswith(ORG) and len(generated) == len(ORG) + 32
    assert generated != made.generate(ORG)


def test_an_unknown_function_is_murmur64_and_said_so() -> None:
    """As in Tyk."""
    made = naming(hash_key_function="md5")
    assert made.function == "murmur64"
    assert "md5" in made.problems[0]


def test_owners() -> None:
    """The base64 form's ``org``, else the first 24 characters if they are hexadecimal and more follows."""
    assert find_owner(wrap("default", "x", "sha256")) == "default"
    assert find_owner(ORG + "x") == ORG
    assert find_owner(ORG) == ""
    assert find_owner("defaultx") == ""
    assert find_owner("eyJub3QiOiJvdXJzIn0=") == ""
    assert find_owner("ey!!") == "" == find_owner("ey")
    assert find_owner(wrap("", "x", "sha256")) == ""
    assert find_id_parts("eyJ4") is None
    assert find_id_parts(base64.b64encode(b'{"org":7}').decode()) is None


def test_candidates_in_order() -> None:
    """gen(O, X), X, then gen with each fallback; a whole id of the owner stands for itself alone."""
    made = naming(hash_key_function="murmur64", hash_key_function_fallback=("sha256", "murmur128", "sha256"))
    assert ids(made, "default", "raw") == [
        wrap("default", "raw", "murmur64"),
        "raw",
        wrap("default", "raw", "sha256"),
        wrap("default", "raw", "murmur128"),
        "defaultraw",
    ]
    whole = wrap("default", "raw", "murmur64")
    assert ids(made, "default", whole) == [whole]
    foreign = wrap("other", "raw", "murmur64")
    assert foreign in ids(made, "default", foreign)
    assert ids(naming(), ORG, "raw") == [ORG + "raw", "raw"]
    assert ids(naming(), ORG, ORG + "raw") == [ORG + "raw"]
    assert ids(naming(), "", "raw") == ["raw"]


def test_short_texts_stand_for_nothing() -> None:
    """``min_token_length``, 3 by default: n-1, n."""
    assert naming().candidates("o", "ab") == ()
    assert naming().candidates("o", "abc")
    assert naming(min_token_length=6).candidates("o", "abcde") == ()
    assert naming(min_token_length=6).candidates("o", "abcdef")
    assert naming(min_token_length=-1).minimum == 3


def test_the_switch_for_the_control_api_does_not_touch_requests() -> None:
    """BETTER: ``disable_key_actions_by_username`` keeps custom tokens working."""
    assert ids(naming(disable_key_actions_by_username=True), ORG, "raw") == [ORG + "raw", "raw"]


def test_hash_keys_without_a_function_is_sha256() -> None:
    """Decisions 3.4; what Tyk stored that way (murmur32) is read only when it is listed."""
    made = naming(hash_keys=True)
    id = made.generate("default", "k")
    assert id == wrap("default", "k", "sha256")
    assert made.place(id).name == hash_key(id, "sha256")
    assert not made.place(id).weak
    assert made.place("defaultk").name == hash_key("defaultk", "sha256")
    assert any("murmur32" in text for text in made.problems)


def test_the_client_does_not_choose_the_algorithm() -> None:
    """BETTER: only the configured function and the fallbacks count."""
    made = naming(hash_keys=True, hash_key_function="sha256")
    assert made.find_candidate(wrap("default", "k", "murmur32")) is None
    assert made.candidates("default", wrap("default", "k", "murmur32")) == ()
    assert made.candidates("default", wrap("default", "k", "nonsense")) == ()
    with pytest.raises(ValueError, match="not configured"):
        made.place(wrap("default", "k", "murmur64"))
    listed = naming(hash_keys=True, hash_key_function="sha256", hash_key_function_fallback=("murmur64",))
    candidate = listed.find_candidate(wrap("default", "k", "murmur64"))
    assert candidate is not None and candidate.weak
    assert any("forged" in text for text in listed.problems)
    assert candidate.key == "apikey-" + candidate.name and candidate.check_key == "key-check-" + candidate.name
    assert len(candidate.check) == 64


def test_imported_plain_keys_are_found_under_murmur32() -> None:
    """A Tyk with ``hash_keys`` and no function, read with murmur32 listed: whole ids and custom ones."""
    made = naming(hash_keys=True, hash_key_function_fallback=("murmur32",))
    names = [candidate.name for candidate in made.candidates("default", "testkey")]
    assert "67c72ca5" in names
    whole = ORG + "0123456789abcdef0123456789abcdef"
    (only,) = made.candidates(ORG, whole)
    assert (only.name, only.weak) == (hash_key(whole, "murmur32"), True)


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_has_candidates_or_none(org: str, presented: str) -> None:
    """No text breaks the look-up, and its own full id is always found again."""
    for made in (naming(), naming(hash_keys=True), naming(hash_key_function="murmur64")):
        found = made.candidates(org, presented)
        assert len(found) == len({candidate.id for candidate in found})
        if len(presented) >= 3 and find_owner(presented) != org:
            assert made.generate(org, presented) in [candidate.id for candidate in found]


def test_names_of_users() -> None:
    """As keys; where keys are hashed also the way of Tyk without hash_key_function, which is weak."""
    for settings in ({}, {"hash_key_function": "sha256"}, {"hash_keys": True, "hash_key_function_fallback": ("murmur32",)}):
        made = KeyNaming(KeySettings(**settings))  # type: ignore[arg-type]
        assert made.user_candidates("org", "john") == made.candidates("org", "john")
        assert not made.is_weak("orgjohn") or settings.get("hash_keys")
    made = KeyNaming(KeySettings(hash_keys=True))
    *before, legacy = made.user_candidates("org", "john")
    assert tuple(before) == made.candidates("org", "john")
    assert (legacy.id, legacy.name, legacy.weak) == ("orgjohn", hash_key("orgjohn", "murmur32"), True)
    assert made.is_weak(legacy.name) and not made.is_weak(before[0].name)
    assert made.user_candidates("org", "jo") == ()

"""Proofs of passwords: shared, bounded, forgotten in time, and nothing of a password in them."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from twisted.internet.defer import CancelledError

from tests.support.keys import Keys, begin, run
from tlsgate.auth import proofs as module
from tlsgate.auth.passwords import BCRYPT
from tlsgate.auth.proofs import Login
from tlsgate.errors import Refusal

USER, PASSWORD = b"john", b"correct horse"
STORED = (PASSWORD.decode(), "")


def prove(keys: Keys, password: bytes = PASSWORD, keep_s: float = 60.0, user: bytes = USER, stored: tuple[str, str] = STORED) -> Any:
    return keys.proofs.prove(user, password, *stored, keep_s)


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare instead of hashing."""
    monkeypatch.setattr(module, "judge_password", lambda password, stored, kind, usual: stored != "" and password == stored.encode())


def test_a_proof_counts_for_a_while() -> None:
    """Each time until it is as old as whoever asks allows; 0 verifies anew and remembers nothing."""
    keys = Keys()
    assert run(prove(keys)) == keys.clock.monotonic()
    first = keys.clock.monotonic()
    keys.clock.time += 59
    assert run(prove(keys)) == first and keys.jobs == 1
    assert run(prove(keys, keep_s=59)) == first + 59 and keys.jobs == 2
    keys.clock.time += 60
    assert run(prove(keys)) == first + 119 and keys.jobs == 3
    assert run(prove(keys, keep_s=0)) is not None and keys.jobs == 4
    fresh = Keys()
    assert run(prove(fresh, keep_s=0)) is not None and run(prove(fresh)) is not None and fresh.jobs == 2


def test_it_counts_for_that_user_password_and_hash_alone() -> None:
    """Where one ends and the next begins matters too."""
    keys = Keys()
    assert run(prove(keys)) is not None
    for password, user, stored in (
        (PASSWORD + b"x", USER, STORED),
        (PASSWORD[:-1], USER, STORED),
        (PASSWORD, USER, ("another", "")),
        (PASSWORD[1:], USER + PASSWORD[:1], STORED),
        (PASSWORD, USER, ("", "")),
    ):
        jobs = keys.jobs
        assert run(prove(keys, password, user=user, stored=stored)) is None
        assert keys.jobs == jobs + 1
    assert run(prove(keys, user=b"jane")) is not None and keys.jobs == 7


def test_refusals_are_not_remembered() -> None:
    """Each costs a verification."""
    keys = Keys()
    for _ in range(3):
        assert run(prove(keys, b"wrong")) is None
    assert keys.jobs == 3


def test_the_same_login_at_the_same_time_is_verified_once() -> None:
    """Right and wrong ones; unknown users too, or time would tell them apart."""
    keys = Keys()
    keys.held = []
    pairs = [
        begin(prove(keys, password, stored=stored)) for password in (PASSWORD, b"wrong") for stored in (STORED, ("", "")) for _ in range(5)
    ]
    while keys.held:
        keys.held.pop().callback(None)
    results = [results[0] for _, results in pairs]
    assert keys.jobs == 4
    assert [result is not None for result in results] == [True] * 5 + [False] * 15


def test_few_are_verified_at_once_and_a_bounded_number_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it 503 with ``Retry-After``; those that wait come in their order, and one that fails holds nobody up."""
    monkeypatch.setattr(module, "_MOST_WAITING", 3)
    keys = Keys()
    keys.held = []
    done: list[bytes] = []
    pairs = []
    for number in range(4):
        password = b"%d" % number
        deferred, results = begin(prove(keys, password))
        deferred.addCallback(lambda _, password=password: done.append(password))
        pairs.append(results)
    assert (keys.jobs, len(keys.held)) == (1, 1)
    with pytest.raises(Refusal, match="overloaded") as caught:
        run(prove(keys, b"5"))
    assert caught.value.headers == ((b"Retry-After", b"1"),)
    # The same login joins the one that is there already.
    _, joined = begin(prove(keys, b"3"))
    keys.held.pop().errback(OSError("no thread"))
    assert isinstance(pairs[0][0].value, OSError)
    for _ in range(3):
        keys.held.pop().callback(None)
    assert done == [b"0", b"1", b"2", b"3"] and joined == [None] and not keys.held
    keys.held = None
    assert run(prove(keys)) is not None


def test_clients_that_have_gone_make_room() -> None:
    """What nobody waits for is not begun; what somebody else waits for is."""
    keys = Keys()
    keys.held = []
    first, gone, stays = begin(prove(keys)), begin(prove(keys, b"gone")), begin(prove(keys, b"stays"))
    other = begin(prove(keys, b"stays"))
    for deferred, results in (gone, stays):
        deferred.cancel()
        assert results[0].check(CancelledError)
    first[0].cancel()
    keys.held.pop().callback(None)
    assert keys.jobs == 2
    keys.held.pop().callback(None)
    assert other[1] == [None] and not keys.held
    keys.held = None
    assert run(prove(keys)) is not None and keys.jobs == 3
    assert run(prove(keys, b"gone")) is None and keys.jobs == 4


def test_other_work_is_done_aside() -> None:
    """Under the same bounds; its errors reach whoever asked."""
    keys = Keys()
    assert run(keys.proofs.aside(lambda: 7)) == 7 and keys.jobs == 1

    def fail() -> None:
        raise Refusal("basic.body_user")

    with pytest.raises(Refusal, match="body_user"):
        run(keys.proofs.aside(fail))


def test_what_is_remembered_is_bounded_and_holds_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go; nothing that can be reached from the object holds the password, and two processes have two digests."""
    monkeypatch.setattr(module, "_MOST_PROOFS", 2)
    monkeypatch.setattr(module, "_MOST_LOGINS", 2)
    keys = Keys()
    hashed = ("$2b$04$hash", BCRYPT)
    monkeypatch.setattr(module, "judge_password", lambda *_: True)
    for number in range(3):
        run(prove(keys, user=b"%d" % number, stored=hashed))
        keys.proofs.remember(b"%d" % number, Login(b"%d" % number, *hashed, 0.0))
    assert list(keys.proofs.logins) == [b"1", b"2"]
    run(prove(keys, user=b"2", stored=hashed))
    assert keys.jobs == 3
    run(prove(keys, user=b"0", stored=hashed))
    assert keys.jobs == 4
    assert PASSWORD.decode() not in repr(_reachable(keys.proofs))
    other = Keys()
    run(prove(other, user=b"0", stored=hashed))
    assert not set(other.proofs._proved) & set(keys.proofs._proved)


def _reachable(root: object) -> list[object]:
    """Bytes and texts that an object holds, directly or through containers of its own."""
    found: list[object] = []
    seen = {id(root)}
    queue = [getattr(root, name) for name in vars(root) if name not in ("_run", "_clock")]
    while queue:
        item = queue.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, (bytes, str)):
            found.append(item)
        elif isinstance(item, (dict, list, tuple, set)) or type(item).__module__ == module.__name__:
            queue += gc.get_referents(item)
    return found

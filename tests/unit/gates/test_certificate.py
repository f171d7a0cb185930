"""Static mTLS per request and the right host. Source: mTLS reference, section 5; decisions 1.5, 1.8."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.support.apis import FixedClock, make_api, make_config, make_connection, make_exchange, make_peer, make_tls
from tlsgate.config.model import ControlSettings
from tlsgate.errors import Refusal
from tlsgate.gates.base import Gate, GateTools
from tlsgate.gates.certificate import build, build_host_check
from tlsgate.model.exchange import Connection
from tlsgate.model.tls import PeerIdentity
from tlsgate.routing.sni import AllowListRef, PolicyTable, build_policy_table


class Judgement(NamedTuple):
    refusal: str | None
    rule: str
    valid_until: float


class StubList:
    """An allow list that counts how often it is asked."""

    def __init__(self, refusal: str | None = None, *, valid_until: float = 2e9, key: str = "k") -> None:
        self.key = key
        self.asked = 0
        self._judgement = Judgement(refusal, "the rule", valid_until)

    def judge(self, peer: PeerIdentity, now: float) -> Judgement:
        self.asked += 1
        return self._judgement


def gate_of(allow_list: StubList | None, clock: FixedClock | None = None) -> Gate:
    gate = build(make_api(use_mutual_tls=True), make_config(), GateTools(clock or FixedClock(), allow_list))
    assert gate is not None
    return gate


def refusal_of(gate: Gate, connection: Connection, *, ignored: bool = False) -> Refusal | None:
    exchange = make_exchange(connection=connection)
    exchange.ignored = ignored
    try:
        gate(exchange)
    except Refusal as refusal:
        return refusal
    return None


def test_without_static_mtls_there_is_no_gate() -> None:
    """Absent, not skipped."""
    assert build(make_api(), make_config(), GateTools(FixedClock())) is None


def test_plain_http_and_missing_certificates_are_refused() -> None:
    """mTLS reference 5, steps 1 and 2."""
    gate = gate_of(StubList())
    for connection, expected in ((make_connection(), "tls.not_enabled"), (make_connection(tls=make_tls()), "cert.missing")):
        refusal = refusal_of(gate, connection)
        assert refusal is not None
        assert refusal.id == expected


@pytest.mark.parametrize("id", ["cert.expired", "cert.not_allowed"])
def test_a_refused_leaf_is_named(id: str) -> None:
    """mTLS reference 5, step 4: the fingerprint for the client, subject and rule for the log."""
    refusal = refusal_of(gate_of(StubList(id)), make_connection(tls=make_tls(make_peer("cd" * 32))))
    assert refusal is not None
    assert refusal.id == id
    assert refusal.fields == {"fingerprint": "cd" * 32}
    assert refusal.detail == f"the rule; subject CN=client, fingerprint {'cd' * 32}"


def test_a_list_that_could_not_be_built_lets_nobody_in() -> None:
    """Decisions 1.8."""
    refusal = refusal_of(gate_of(None), make_connection(tls=make_tls(make_peer())))
    assert refusal is not None
    assert refusal.id == "cert.not_allowed"


def test_ignored_paths_skip_the_check() -> None:
    """mTLS reference 5."""
    assert refusal_of(gate_of(StubList("cert.expired")), make_connection(), ignored=True) is None


@pytest.mark.parametrize("refusal", [None, "cert.not_allowed"])
def test_a_judgement_is_kept_while_it_stands(refusal: str | None) -> None:
    """Every request is judged; asking again costs a look-up until `valid_until`."""
    clock = FixedClock(100.0)
    allow_list = StubList(refusal, valid_until=200.0)
    gate = gate_of(allow_list, clock)
    connection = make_connection(tls=make_tls(make_peer(), resumed=True))
    for moment, asked in ((100.0, 1), (150.0, 1), (199.9, 1), (200.0, 2), (201.0, 3)):
        clock.time = moment
        assert (refusal_of(gate, connection) is None) == (refusal is None)
        assert allow_list.asked == asked


def test_lists_do_not_share_judgements() -> None:
    """Two APIs on one connection, and a list after a reload that changed it."""
    connection = make_connection(tls=make_tls(make_peer()))
    assert refusal_of(gate_of(StubList(key="a")), connection) is None
    assert refusal_of(gate_of(StubList("cert.not_allowed", key="b")), connection) is not None
    assert refusal_of(gate_of(StubList("cert.not_allowed", key="a")), connection) is None  # equal content, as the key says


def test_judgements_of_a_connection_are_bounded() -> None:
    """Thousands of APIs on one connection must not fill its memory."""
    connection = make_connection(tls=make_tls(make_peer()))
    for number in range(200):
        assert refusal_of(gate_of(StubList(key=str(number))), connection) is None
        assert len(connection.verdicts) <= 64


def policies() -> PolicyTable:
    apis = [make_api(name, domain=f"{name}.test", use_mutual_tls=name != "open") for name in ("a", "a2", "b", "open")]
    return build_policy_table(apis, make_config(control=ControlSettings(port=9)), lambda api: AllowListRef(api.api_id[0]))


@pytest.mark.parametrize(
    ("server_name", "host", "refused"),
    [
        ("a.test", "a.test", False),
        ("a.test", "a2.test", False),
        ("a.test", "b.test", True),
        ("open.test", "a.test", True),
        ("unknown.test", "a.test", True),
        ("a.test", "", False),
        (None, "a.test", False),
    ],
)
def test_misdirected_requests(server_name: str | None, host: str, refused: bool) -> None:
    """Decisions 1.5: no server name is no mismatch, nor is no Host, nor another host with the same policy."""
    table = policies()
    gate = build_host_check(make_api("a", use_mutual_tls=True), table)
    assert gate is not None
    policy = table.find(8080, server_name)
    connection = make_connection(tls=make_tls(make_peer(), server_name=server_name, policy=policy))
    exchange = make_exchange(connection=connection, host=host)
    if refused:
        with pytest.raises(Refusal) as refusal:
            gate(exchange)
        assert refusal.value.id == "wire.misdirected"
    else:
        gate(exchange)


def test_the_host_check_is_for_tls_and_certificates_only() -> None:
    """Decisions 1.5."""
    assert build_host_check(make_api(), policies()) is None
    gate = build_host_check(make_api(use_certificate=True), policies())
    assert gate is not None
    gate(make_exchange(connection=make_connection(), host="b.test"))

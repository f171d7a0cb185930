"""From (port, server name) to TLS policy. Source: decisions 1.1 to 1.5, 1.9, 1.12; mTLS reference, sections 4 and 6; field report B6."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.apis import make_api, make_config
from tlsgate.config.model import ControlSettings, GatewayConfig, SecuritySettings
from tlsgate.model.api import ApiDefinition
from tlsgate.model.tls import ClientAuth, TlsPolicy
from tlsgate.routing.sni import AllowListRef, PolicyTable, build_policy_table, control_port, uses_certificates

NONE, REQUEST, REQUIRE = ClientAuth.NONE, ClientAuth.REQUEST, ClientAuth.REQUIRE
PORT = 8080
ELSEWHERE = ControlSettings(port=9999)


def static(api_id: str, domain: str = "", **fields: Any) -> ApiDefinition:
    return make_api(api_id, domain=domain, use_mutual_tls=True, **fields)


def dynamic(api_id: str, domain: str = "", **fields: Any) -> ApiDefinition:
    return make_api(api_id, domain=domain, use_certificate=True, **fields)


def plain(api_id: str, domain: str = "", **fields: Any) -> ApiDefinition:
    return make_api(api_id, domain=domain, **fields)


def table(*apis: ApiDefinition, control: ControlSettings = ELSEWHERE, control_list: str | None = None, **fields: Any) -> PolicyTable:
    config = make_config(control=control, **fields)
    ref = None if control_list is None else AllowListRef(control_list)
    return build_policy_table(apis, config, lambda api: AllowListRef(f"list-{api.api_id}", api), control_list=ref)


def lists(policies: PolicyTable, policy: TlsPolicy) -> list[str]:
    return [ref.key for ref in policies.members(policy.allow_list)]


def auth(policies: PolicyTable, name: str | None, port: int = PORT) -> ClientAuth:
    return policies.find(port, name).client_auth


def test_a_name_whose_apis_are_all_static_demands_one_of_their_certificates() -> None:
    """Decisions 1.2; the client of API 1 on API 2 then gets 403 from API 2's own list."""
    policies = table(static("a", "own.test"), static("b", "own.test"), plain("c"))
    policy = policies.find(PORT, "own.test")
    assert policy.client_auth is REQUIRE
    assert lists(policies, policy) == ["list-a", "list-b"]
    assert [ref.value.api_id for ref in policies.members(policy.allow_list)] == ["a", "b"]
    assert auth(policies, "other.test") is NONE


@pytest.mark.parametrize(
    ("apis", "expected"),
    [
        ([static("a", "own.test"), plain("b", "own.test")], REQUEST),
        ([static("a", "own.test"), dynamic("b", "own.test")], REQUEST),
        ([dynamic("a", "own.test")], REQUEST),
        ([dynamic("a", "own.test"), plain("b", "own.test")], REQUEST),
        ([plain("a", "own.test"), static("z")], NONE),
        ([static("a", "own.test"), plain("z")], REQUIRE),
        ([static("a", "own.test", use_certificate=True)], REQUIRE),
        ([static("a"), plain("z", "else.test")], REQUIRE),
    ],
)
def test_rule_two(apis: list[ApiDefinition], expected: ClientAuth) -> None:
    """Decisions 1.2: REQUIRE, REQUEST or NONE of one name, whatever stands on other names."""
    for order in (apis, apis[::-1]):
        assert auth(table(*order), "own.test") is expected


def test_exact_before_pattern_before_anywhere() -> None:
    """Decisions 1.1: the most specific APIs alone decide; lists of patterns count."""
    policies = table(
        static("exact", "a.pat.test"),
        static("one", "{n}.pat.test"),
        static("two", "{n:.*}.pat.test"),
        plain("three", "{m}.open.test"),
        plain("any"),
    )
    assert lists(policies, policies.find(PORT, "a.pat.test")) == ["list-exact"]
    assert lists(policies, policies.find(PORT, "b.pat.test")) == ["list-one", "list-two"]
    assert lists(policies, policies.find(PORT, "b.c.pat.test")) == ["list-two"]
    assert auth(policies, "x.open.test") is NONE
    assert auth(policies, "else.test") is NONE
    assert policies.find(PORT, "b.pat.test") is policies.find(PORT, "c.pat.test")


@pytest.mark.parametrize(
    ("apis", "expected"),
    [
        ([static("a", "a.test"), static("b", "b.test")], REQUIRE),
        ([static("a", "a.test"), plain("b", "b.test")], REQUEST),
        ([dynamic("a", "a.test"), plain("b", "b.test")], REQUEST),
        ([dynamic("a", "a.test")], REQUEST),
        ([plain("a", "a.test")], NONE),
        ([], NONE),
    ],
)
def test_no_server_name_and_unknown_names(apis: list[ApiDefinition], expected: ClientAuth) -> None:
    """Decisions 1.3: REQUIRE only if every API of the port is static mTLS; "all" is never true of nothing."""
    policies = table(*apis)
    assert auth(policies, None) is expected
    assert auth(policies, "unknown.test") is expected
    if expected is REQUIRE:
        assert lists(policies, policies.find(PORT, None)) == ["list-a", "list-b"]


def test_no_server_name_is_asked_for_all_apis_of_the_port() -> None:
    """Decisions 1.3: a name without APIs of its own is answered by those without domain, no name by none in particular."""
    policies = table(static("a"), plain("b", "b.test"))
    assert auth(policies, "unknown.test") is REQUIRE
    assert auth(policies, None) is REQUEST


def test_conf_hostname_is_the_domain_of_apis_without_one() -> None:
    """Reference 6.2: routing and policies use the same effective domain."""
    policies = table(static("a"), hostname="gate.test")
    assert auth(policies, "gate.test") is REQUIRE
    assert lists(policies, policies.find(PORT, "gate.test")) == ["list-a"]


def test_apis_that_nobody_reaches_do_not_count() -> None:
    """Inactive and internal APIs have no outside route; plain TCP has no TLS."""
    policies = table(static("a"), plain("b", active=False), plain("c", internal=True), plain("d", protocol="tcp", listen_port=PORT))
    assert auth(policies, "any.test") is REQUIRE
    assert policies.ports == (PORT, 9999)


def test_ports_are_separate() -> None:
    """Field report B6: an API on another port changes nothing here, in either load order."""
    apis = [plain("a"), static("b", protocol="tls", listen_port=9001), static("c", listen_port=9002, protocol="https")]
    for order in (apis, apis[::-1]):
        policies = table(*order)
        assert auth(policies, "x.test", PORT) is auth(policies, None, PORT) is NONE
        assert auth(policies, "x.test", 9001) is auth(policies, None, 9001) is REQUIRE
        assert auth(policies, "x.test", 9002) is REQUIRE
        assert policies.ports == (PORT, 9001, 9002, 9999)


def test_raw_services_have_policies_of_their_own() -> None:
    """Decisions 1.9: no ALPN, and no session that an HTTP listener or another service could have made."""
    policies = table(
        static("a", "a.test", protocol="tls", listen_port=9001),
        plain("b", "b.test", protocol="tls", listen_port=9001),
        plain("c", protocol="tls", listen_port=9002),
        plain("d", "{n}.test", protocol="tls", listen_port=9003),
        plain("e"),
    )
    a = policies.find(9001, "a.test")
    assert (a.scope, a.alpn, a.client_auth) == ("raw:a", (), REQUIRE)
    assert policies.find(9001, "b.test").scope == "raw:b"
    assert policies.find(9001, None).client_auth is REQUEST
    assert policies.find(9002, "x").scope == "raw:c"
    assert policies.find(9003, "x.test").scope == "raw:d"
    assert policies.find(PORT, "x").alpn == ("http/1.1",)
    assert policies.find(PORT, "x").scope == "gateway"


def test_settings_of_the_listener_are_part_of_the_policy() -> None:
    """Versions, suites and announcement come from `http_server_options`."""
    policies = table(plain("a"), http={"min_version": 772, "max_version": 772, "ssl_ciphers": ("X",), "skip_client_ca_announcement": True})
    policy = policies.find(PORT, "x")
    assert (policy.versions.lowest, policy.versions.highest, policy.ciphers, policy.announce) == (772, 772, ("X",), False)
    assert policy.client_auth is NONE
    assert table(plain("a")).find(PORT, "x").announce


SHARED = ControlSettings()


def test_a_shared_port_asks_at_most_where_control_answers() -> None:
    """Decisions 1.4: without control_api_hostname only names with static APIs of their own stay REQUIRE, and serve no `/tyk/`."""
    policies = table(static("a", "own.test"), static("p", "{n}.pat.test"), static("any"), control=SHARED)
    for name in ("own.test", "x.pat.test"):
        assert auth(policies, name) is REQUIRE
        assert not policies.serves_control(PORT, name)
        assert not policies.serves_control(PORT, "other.test", name)
        assert not policies.serves_control(PORT, name, "other.test")
    for host in ("other.test", ""):
        assert auth(policies, host) is REQUEST
        assert policies.serves_control(PORT, host)
    assert auth(policies, None) is REQUEST
    assert policies.serves_control(PORT, "other.test", "other.test")
    assert policies.serves_control(PORT, "other.test", "else.test")
    assert [note.path for note in policies.notes] == ["control_api_hostname"]


def test_a_mixed_name_of_its_own_serves_control() -> None:
    """Decisions 1.4: only names that are all static are shut."""
    policies = table(static("a", "own.test"), plain("b", "own.test"), plain("any"), control=SHARED)
    assert auth(policies, "own.test") is REQUEST
    assert policies.serves_control(PORT, "own.test")
    assert policies.notes == ()


def test_the_shared_port_asks_nobody_when_nothing_uses_certificates() -> None:
    """Decisions 1.4: at most means not more."""
    policies = table(plain("a"), control=SHARED)
    assert auth(policies, "x.test") is auth(policies, None) is NONE
    assert table(control=SHARED).find(PORT, None).client_auth is NONE
    assert table(control=SHARED).serves_control(PORT, "x")


def test_a_control_host_name_keeps_everything_else_strict() -> None:
    """Decisions 1.4: control answers there and nowhere else, in any spelling; that one host asks at most."""
    control = ControlSettings(hostname="Control.Test.:8080")
    policies = table(static("a", "own.test"), static("any"), control=control)
    assert auth(policies, "own.test") is auth(policies, "other.test") is REQUIRE
    assert auth(policies, "control.test") is REQUEST
    assert auth(policies, None) is REQUIRE
    assert policies.serves_control(PORT, "control.test")
    assert policies.serves_control(PORT, "control.test", "control.test")
    assert not policies.serves_control(PORT, "control.test", "own.test")
    assert not policies.serves_control(PORT, "own.test")
    assert not policies.serves_control(PORT, "")
    assert policies.notes == ()


def test_the_control_host_may_have_apis_of_its_own() -> None:
    """Decisions 1.4: it is named on purpose, so that its static APIs are judged per request only."""
    control = ControlSettings(hostname="c.test")
    assert auth(table(static("a", "c.test"), control=control), "c.test") is REQUEST
    assert auth(table(plain("a", "c.test"), control=control), "c.test") is NONE
    assert auth(table(static("a", "{n}.test"), control=control), "c.test") is REQUEST


def test_a_control_host_that_is_no_name_answers_nowhere() -> None:
    """Fail closed."""
    policies = table(plain("a"), control=ControlSettings(hostname="no host!"))
    assert not policies.serves_control(PORT, "x.test")
    assert not policies.serves_control(PORT, "")


OWN = SecuritySettings(control_api_use_mutual_tls=True)


def test_control_with_certificates_of_its_own() -> None:
    """mTLS reference 4 step 1 and 6: on the control host only; without one, the whole port demands them, and a note says so."""
    named = table(static("a", "own.test"), control=ControlSettings(hostname="c.test"), security=OWN, control_list="ctl")
    policy = named.find(PORT, "c.test")
    assert (policy.client_auth, policy.scope, lists(named, policy)) == (REQUIRE, "control", ["ctl"])
    assert lists(named, named.find(PORT, "own.test")) == ["list-a"]
    whole = table(static("a", "own.test"), control=SHARED, security=OWN, control_list="ctl")
    for name in ("own.test", "x.test", None):
        assert lists(whole, whole.find(PORT, name)) == ["ctl"]
    assert whole.serves_control(PORT, "own.test")
    assert [note.path for note in whole.notes] == ["security.control_api_use_mutual_tls"]
    alone = table(plain("a"), security=OWN, control_list="ctl")
    assert lists(alone, alone.find(9999, "x")) == ["ctl"]
    assert auth(alone, "x", PORT) is NONE
    assert alone.notes == ()


def test_control_certificates_without_a_list_let_nobody_in() -> None:
    """Decisions 1.8."""
    policies = table(plain("a"), security=OWN)
    policy = policies.find(9999, None)
    assert policy.client_auth is REQUIRE
    assert policies.members(policy.allow_list) == ()


def test_a_control_port_of_its_own() -> None:
    """Reference 1.3: control only there; the gateway's port stays strict."""
    policies = table(static("a"))
    assert auth(policies, "x.test") is REQUIRE
    assert auth(policies, "x.test", 9999) is auth(policies, None, 9999) is NONE
    assert policies.serves_control(9999, "x.test")
    assert not policies.serves_control(PORT, "x.test")
    assert not policies.serves_control(1, "x.test")
    assert control_port(make_config(listen_port=81)) == 81
    assert control_port(make_config(control=ELSEWHERE)) == 9999


def test_misdirected_requests() -> None:
    """Decisions 1.5: another policy than the connection's; equal policies are none."""
    policies = table(static("a", "a.test"), static("b", "b.test"), plain("o", "o.test"), plain("q", "q.test"), static("aa", "aa.test"))
    same = build_policy_table(
        [static("a", "a.test"), static("b", "b.test")], make_config(control=ELSEWHERE), lambda api: AllowListRef("one list")
    )
    a = policies.find(PORT, "a.test")
    assert not policies.misdirected(PORT, a, "a.test")
    assert policies.misdirected(PORT, a, "b.test")
    assert policies.misdirected(PORT, policies.find(PORT, "o.test"), "a.test")
    assert not policies.misdirected(PORT, policies.find(PORT, "o.test"), "q.test")
    assert not same.misdirected(PORT, same.find(PORT, "a.test"), "b.test")
    assert not policies.misdirected(PORT, table(static("a", "a.test")).find(PORT, "a.test"), "a.test")
    assert policies.misdirected(12345, a, "a.test")
    assert policies.needs_certificates(PORT, "a.test")
    assert not policies.needs_certificates(PORT, "o.test")


def test_equal_rules_share_one_policy() -> None:
    """Decisions 1.7: policies are keyed by content, 10,000 hosts with one rule share one."""
    apis = [static(f"s{number}", f"h{number}.test") for number in range(100)]
    policies = build_policy_table(apis, make_config(control=ELSEWHERE), lambda api: AllowListRef("same"))
    assert len({id(policies.find(PORT, f"h{number}.test")) for number in range(100)}) == 1
    assert policies.find(PORT, "h1.test").allow_list == "same"
    assert len(policies.members("same")) == 1
    assert policies.members("unknown") == ()


def test_lists_are_asked_for_once() -> None:
    """A list of 100,000 certificates is built once per API, and only for static ones."""
    asked: list[str] = []

    def list_of(api: ApiDefinition) -> AllowListRef:
        asked.append(api.api_id)
        return AllowListRef(api.api_id)

    build_policy_table([static("a", "a.test"), static("b", "{n}.test"), plain("c"), dynamic("d")], make_config(control=ELSEWHERE), list_of)
    assert sorted(asked) == ["a", "b"]


def test_combinations_of_patterns_are_bounded() -> None:
    """Decisions 1.7: many names must not fill the memory."""
    apis = [static(f"p{bit}", f"{{n:.*x{bit}x.*}}") for bit in range(10)]
    policies = table(*apis)
    for number in range(1, 1024):
        name = "".join(f"x{bit}x" for bit in range(10) if number >> bit & 1) or "none"
        policy = policies.find(PORT, name)
        assert len(policies.members(policy.allow_list)) == number.bit_count()
        assert len(policies._policies._combinations) <= 256
        assert len(policies._policies.members) <= 267
        assert len(policies._policies._known) <= 270


def test_uses_certificates() -> None:
    """Static or dynamic."""
    assert uses_certificates(static("a"))
    assert uses_certificates(dynamic("a"))
    assert not uses_certificates(plain("a"))


# The rules once more, as slow readable code over all APIs.

_NAMES = ["a.test", "b.test", "x.pat.test", "unknown.org", None]
_API = st.tuples(
    st.sampled_from(["", "a.test", "b.test", "{n}.pat.test", "{n:.*}.test"]),
    st.sampled_from(["static", "dynamic", "plain"]),
    st.sampled_from([0, 8081]),
)
_CONTROL = st.sampled_from(
    [ControlSettings(), ControlSettings(port=9999), ControlSettings(hostname="a.test"), ControlSettings(hostname="c.test")]
)


def build_apis(items: list[tuple[str, str, int]]) -> list[ApiDefinition]:
    kinds = {"static": static, "dynamic": dynamic, "plain": plain}
    return [kinds[kind](f"api{number}", domain, listen_port=port) for number, (domain, kind, port) in enumerate(items)]


def matches(domain: str, name: str) -> bool:
    pattern = {"{n}.pat.test": r"[^.]+\.pat\.test", "{n:.*}.test": r".*\.test"}[domain]
    return re.fullmatch(pattern, name) is not None


def oracle(apis: list[ApiDefinition], config: GatewayConfig, port: int, name: str | None) -> tuple[ClientAuth, list[str]]:
    here = [api for api in apis if (api.listen_port or config.listen_port) == port]
    own: list[ApiDefinition] = []
    chosen = here
    if name is not None:
        own = [api for api in here if api.domain == name] or [api for api in here if "{" in api.domain and matches(api.domain, name)]
        chosen = own or [api for api in here if not api.domain] or here
    mode = NONE
    if chosen and all(api.use_mutual_tls for api in chosen):
        mode = REQUIRE
    elif any(api.use_mutual_tls or api.use_certificate for api in chosen):
        mode = REQUEST
    control_here = (config.control.port or config.listen_port) == port
    if control_here and (name == config.control.hostname if config.control.hostname else not own):
        mode = min(mode, REQUEST)
    return mode, sorted(f"list-{api.api_id}" for api in chosen) if mode is REQUIRE else []


@settings(deadline=None)
@given(st.lists(_API, max_size=6), _CONTROL, st.sampled_from(_NAMES), st.sampled_from([8080, 8081]))
def test_policies_follow_the_rules(items: list[tuple[str, str, int]], control: ControlSettings, name: str | None, port: int) -> None:
    """Decisions 1.1 to 1.4 against the slow readable version."""
    apis = build_apis(items)
    policies = table(*apis, control=control)
    if port not in policies.ports:
        return
    policy = policies.find(port, name)
    expected, members = oracle(apis, make_config(control=control), port, name)
    assert (policy.client_auth, sorted(lists(policies, policy))) == (expected, members)


@settings(deadline=None)
@given(st.lists(_API, max_size=6), _CONTROL, st.randoms())
def test_any_permutation_gives_the_same_policies(items: list[tuple[str, str, int]], control: ControlSettings, random: Any) -> None:
    """Decisions 1.2: independent of load order."""
    apis = build_apis(items)
    shuffled = list(apis)
    random.shuffle(shuffled)
    one, other = table(*apis, control=control), table(*shuffled, control=control)
    assert one.ports == other.ports
    for port in one.ports:
        for name in _NAMES:
            assert one.find(port, name) == other.find(port, name)
            assert one.members(one.find(port, name).allow_list) == other.members(other.find(port, name).allow_list)
            assert one.serves_control(port, name or "") == other.serves_control(port, name or "")


@settings(deadline=None)
@given(st.lists(_API, max_size=6), st.sampled_from(_NAMES), _API)
def test_an_api_on_another_port_changes_nothing_here(
    items: list[tuple[str, str, int]], name: str | None, extra: tuple[str, str, int]
) -> None:
    """Field report B6."""
    apis = build_apis(items)
    more = build_apis([*items, (extra[0], extra[1], 8082)])
    one, other = table(*apis), table(*more)
    for port in one.ports:
        assert one.find(port, name) == other.find(port, name)

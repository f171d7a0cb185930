"""What of a message may pass to the other side."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fuzzing import fuzzed
from tlsgate import __version__
from tlsgate.errors import WireError
from tlsgate.model.exchange import Connection, Exchange, HeaderList
from tlsgate.wire.forwarding import (
    AddressSet,
    build_address_set,
    build_request_headers,
    client_address,
    filter_response_headers,
    filter_trailers,
    validate_header,
    validate_headers,
)
from tlsgate.wire.framing import FramingLimits, examine

PEER = "192.0.2.1"
HOST = (b"Host", b"up.test:81")
AGENT = (b"User-Agent", b"x/1")
FORWARDED = (b"X-Forwarded-For", b"192.0.2.1")
NOBODY = build_address_set([])
PROXIES = build_address_set(["10.0.0.0/8", "2001:db8:1::/48"])


def forward(
    *headers: tuple[bytes, bytes],
    protected: frozenset[bytes] = frozenset(),
    keep: bool = False,
    remove_xff: bool = False,
    peer: str = PEER,
    underscore: str = "allow",
) -> HeaderList:
    """Headers for the upstream of a request that passed the framing rules."""
    exchange = Exchange(Connection("c", peer, 1024, 443, True), 1, b"GET", b"/", [(b"Host", b"a.test"), AGENT, *headers])
    examine(exchange, FramingLimits(), "1.1", underscore=underscore)
    return build_request_headers(
        exchange, host=b"up.test:81", peer=peer, protected=protected, keep_client_certificate_headers=keep, remove_xff=remove_xff
    )


# Requests


def test_host_comes_first_and_the_peer_last() -> None:
    """API definitions reference 9.3 and 9.5; order and spelling between are the client's."""
    assert forward((b"ACCEPT", b"*/*"), (b"X-a", b"1"), (b"x-A", b"2")) == [
        HOST,
        AGENT,
        (b"ACCEPT", b"*/*"),
        (b"X-a", b"1"),
        (b"x-A", b"2"),
        FORWARDED,
    ]


def test_a_request_without_user_agent_gets_ours() -> None:
    """API definitions reference 9.3; an empty one is one."""
    exchange = Exchange(Connection("c", PEER, 1024, 443, True), 1, b"GET", b"/", [(b"Host", b"a.test")])
    examine(exchange, FramingLimits(), "1.1", underscore="drop")
    headers = build_request_headers(
        exchange, host=b"up", peer=PEER, protected=frozenset(), keep_client_certificate_headers=False, remove_xff=False
    )
    assert headers == [(b"Host", b"up"), (b"User-Agent", b"Tyk/" + __version__.encode()), FORWARDED]


@pytest.mark.parametrize(
    "line",
    [
        (b"Connection", b"keep-alive"),
        (b"Connection", b"close"),
        (b"Proxy-Connection", b"keep-alive"),
        (b"Keep-Alive", b"timeout=5"),
        (b"Proxy-Authenticate", b"Basic"),
        (b"Proxy-Authorization", b"Basic eDp5"),
        (b"TE", b"gzip"),
        (b"TE", b"trailers, gzip"),
        (b"Trailer", b"X"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Upgrade", b"websocket"),
        (b"Content-Length", b"5"),
        (b"Expect", b"100-continue"),
        (b"HTTP2-Settings", b"AAA"),
        (b"X-Tyk-Internal", b"1"),
        (b"x-tyk-authorization", b"secret"),
        (b"X-TYK-", b""),
        (b"X-Forwarded-Client-Cert", b"x"),
        (b"Client-Cert", b"x"),
        (b"Client-Cert-Chain", b"x"),
        (b"X-Client-Cert", b"x"),
        (b"X-SSL-Client-Verify", b"SUCCESS"),
        (b"SSL-Client-S-DN", b"x"),
        (b"X-ARR-ClientCert", b"x"),
    ],
)
@pytest.mark.parametrize("beside", [(b"X", b"y"), (b"X_Y", b"z"), (b"X-Clients", b"3")])
def test_hop_by_hop_control_and_identity_lines_are_dropped(line: tuple[bytes, bytes], beside: tuple[bytes, bytes]) -> None:
    """RFC 9110 section 7.6.1, API definitions reference 9.4 and 14, decisions 2.10; in any case and with underscores."""
    name, value = line
    for spelling in {name, name.lower(), name.upper()}:
        assert forward((spelling, value), beside) == [HOST, AGENT, beside, FORWARDED]
    alias = name.replace(b"-", b"_")
    if alias != name:
        assert forward((alias, value), beside) == [HOST, AGENT, beside, FORWARDED]
        mixed = name.replace(b"-", b"_", 1).upper()
        assert forward((mixed, value), beside) == [HOST, AGENT, beside, FORWARDED]


@pytest.mark.parametrize(
    "name",
    [b"X-Clients", b"Client-Certificate", b"X-Tyk", b"My-X-Tyk-Thing", b"Not-SSL-Client-X", b"X-Real-IP", b"Authorization", b"Cookie"],
)
def test_similar_names_pass(name: bytes) -> None:
    """Only what is listed is dropped."""
    assert forward((name, b"v")) == [HOST, AGENT, (name, b"v"), FORWARDED]


def test_identity_lines_pass_where_the_operator_wants_them() -> None:
    """`tlsgate.keep_client_certificate_headers`; control headers never do."""
    kept = [(b"X-Forwarded-Client-Cert", b"x"), (b"ssl_client_verify", b"y")]
    assert forward(*kept, keep=True) == [HOST, AGENT, *kept, FORWARDED]
    assert forward(kept[0], keep=True) == [HOST, AGENT, kept[0], FORWARDED]
    assert forward(*kept, (b"X_Tyk-Internal", b"1"), keep=True) == [HOST, AGENT, *kept, FORWARDED]


def test_te_passes_only_as_trailers() -> None:
    """API definitions reference 9.4: gRPC upstreams ask for it."""
    assert forward((b"te", b"trailers"), (b"Connection", b"te")) == [HOST, AGENT, (b"Te", b"trailers"), FORWARDED]


def test_names_that_connection_lists_are_dropped() -> None:
    """RFC 9110 section 7.6.1; options come in lists, in several lines, in any case."""
    assert forward((b"Connection", b"close, X-Hop ,\tx-other"), (b"x-hop", b"1"), (b"X-Other", b"2"), (b"X-End", b"3")) == [
        HOST,
        AGENT,
        (b"X-End", b"3"),
        FORWARDED,
    ]
    assert forward((b"Connection", b"X-Hop"), (b"Connection", b"x-other"), (b"x-hop", b"1"), (b"X-Other", b"2"), (b"a_b", b"")) == [
        HOST,
        AGENT,
        (b"a_b", b""),
        FORWARDED,
    ]


def test_protected_names_cannot_be_listed_away() -> None:
    """Reliability reference 2b (Fabio CVE-2025-48865)."""
    protected = frozenset({b"authorization"})
    kept = (b"Authorization", b"x")
    assert forward((b"Connection", b"authorization, x-forwarded-for, host"), kept, protected=protected) == [HOST, AGENT, kept, FORWARDED]
    assert forward((b"Connection", b"authorization"), kept) == [HOST, AGENT, FORWARDED]


def test_other_spellings_of_protected_names_are_dropped() -> None:
    """What the API sets or checks has one spelling (decisions 2.10)."""
    protected = frozenset({b"x-user"})
    assert forward((b"X-User", b"1"), (b"X_User", b"2"), (b"x_other", b"3"), protected=protected) == [
        HOST,
        AGENT,
        (b"X-User", b"1"),
        (b"x_other", b"3"),
        FORWARDED,
    ]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], b"192.0.2.1"),
        ([b""], b"192.0.2.1"),
        ([b", ,"], b"192.0.2.1"),
        ([b"198.51.100.1"], b"198.51.100.1, 192.0.2.1"),
        ([b"198.51.100.1", b"198.51.100.2"], b"198.51.100.1, 198.51.100.2, 192.0.2.1"),
        ([b"198.51.100.1,198.51.100.2 ,", b"", b"\tunknown"], b"198.51.100.1, 198.51.100.2, unknown, 192.0.2.1"),
        ([b"[2001:db8::1]:99"], b"[2001:db8::1]:99, 192.0.2.1"),
    ],
)
def test_the_upstream_gets_exactly_one_forwarded_for(lines: list[bytes], expected: bytes) -> None:
    """Field report B34: all earlier members in order plus the peer, none empty."""
    headers = forward(*[(b"x-forwarded-FOR", line) for line in lines])
    assert headers == [HOST, AGENT, (b"X-Forwarded-For", expected)]


def test_forwarded_for_can_be_left_out() -> None:
    """API definitions reference 9.5: not written where the operator removes it."""
    assert forward((b"X-Forwarded-For", b"198.51.100.1"), remove_xff=True) == [HOST, AGENT]


def test_the_exchange_is_left_as_it_was() -> None:
    """The list is a new one; steps may still read the client's."""
    exchange = Exchange(Connection("c", PEER, 1024, 443, True), 1, b"GET", b"/", [(b"Host", b"a.test"), (b"Te", b"trailers")])
    examine(exchange, FramingLimits(), "1.1", underscore="drop")
    build_request_headers(exchange, host=b"up", peer=PEER, protected=frozenset(), keep_client_certificate_headers=False, remove_xff=False)
    assert exchange.headers == [(b"Host", b"a.test"), (b"Te", b"trailers")]


# Responses


def test_answers_lose_what_is_hop_by_hop_and_keep_the_rest_in_order() -> None:
    """RFC 9110 section 7.6.1; lengths are written anew."""
    answer = [
        (b"Content-Length", b"5"),
        (b"Set-Cookie", b"a=1"),
        (b"connection", b"close, X-Hop"),
        (b"x-hop", b"1"),
        (b"SET-COOKIE", b"b=2"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Keep-Alive", b"timeout=1"),
        (b"Upgrade", b"h2c"),
        (b"Trailer", b"X"),
        (b"Connection", b"X-Other"),
        (b"X-Other", b"2"),
        (b"X-Kept", b"3"),
    ]
    assert filter_response_headers(answer) == [(b"Set-Cookie", b"a=1"), (b"SET-COOKIE", b"b=2"), (b"X-Kept", b"3")]


@pytest.mark.parametrize("option", [b"keep-alive", b"Close", b"upgrade"])
def test_answers_with_usual_options_keep_the_rest(option: bytes) -> None:
    """The usual case costs one pass."""
    assert filter_response_headers([(b"Connection", option), (b"X", b"1")]) == [(b"X", b"1")]
    assert filter_response_headers([(b"X", b"1")]) == [(b"X", b"1")]
    assert filter_response_headers([]) == []


@pytest.mark.parametrize(
    "name",
    [
        b"Authorization",
        b"Proxy-Authorization",
        b"Cookie",
        b"Set-Cookie",
        b"X-Api-Key",
        b"X-Forwarded-For",
        b"X-Forwarded-Host",
        b"X-Forwarded-Client-Cert",
        b"X-Real-IP",
        b"Forwarded",
        b"X-SSL-Client-Verify",
        b"SSL-Client-Cert",
        b"Client-Cert",
        b"X-Tyk-Authorization",
        b"Content-Length",
        b"Transfer-Encoding",
        b"Host",
        b"Connection",
        b"Te",
        b"Trailer",
        b"Upgrade",
        b"Content-Encoding",
        b"Content-Type",
        b"Content-Range",
        b"If-Match",
        b"X-Original-URL",
        b"X-HTTP-Method-Override",
        b"Sec-WebSocket-Key",
        b"Max-Forwards",
        b"X-User",
    ],
)
def test_trailers_that_somebody_could_believe_are_dropped(name: bytes) -> None:
    """Decisions 2.7, in any spelling."""
    protected = frozenset({b"x-user"})
    for spelling in (name, name.lower(), name.upper(), name.replace(b"-", b"_")):
        assert filter_trailers([(spelling, b"x"), (b"X-Checksum", b"y")], protected) == [(b"X-Checksum", b"y")]


def test_other_trailers_pass_in_order() -> None:
    """API definitions reference 9.6, gRPC among them."""
    trailers = [(b"grpc-status", b"0"), (b"Grpc-Message", b""), (b"X_Y", b"1"), (b"Server-Timing", b"x")]
    assert filter_trailers(trailers) == trailers


# Client address


@pytest.mark.parametrize(
    ("headers", "depth", "expected"),
    [
        ({}, 0, "10.0.0.1"),
        ({b"x-real-ip": b"198.51.100.9"}, 0, "198.51.100.9"),
        ({b"x-real-ip": b"198.51.100.9", b"x-forwarded-for": b"198.51.100.1"}, 1, "198.51.100.9"),
        ({b"x-real-ip": b"2001:DB8:0::9"}, 0, "2001:db8::9"),
        ({b"x-real-ip": b"::ffff:198.51.100.9"}, 0, "198.51.100.9"),
        ({b"x-real-ip": b"unknown"}, 0, "10.0.0.1"),
        ({b"x-real-ip": b""}, 0, "10.0.0.1"),
        ({b"x-real-ip": b"\xff"}, 0, "10.0.0.1"),
        ({b"x-real-ip": b"fe80::1%eth0"}, 0, "10.0.0.1"),
        ({b"x-real-ip": b"198.51.100.9, 198.51.100.8", b"x-forwarded-for": b"198.51.100.1"}, 0, "198.51.100.1"),
        ({b"x-forwarded-for": b"198.51.100.1, 198.51.100.2 ,198.51.100.3"}, 0, "198.51.100.1"),
        ({b"x-forwarded-for": b"198.51.100.1, 198.51.100.2 ,198.51.100.3"}, 1, "198.51.100.3"),
        ({b"x-forwarded-for": b"198.51.100.1, 198.51.100.2 ,198.51.100.3"}, 2, "198.51.100.2"),
        ({b"x-forwarded-for": b"198.51.100.1, 198.51.100.2 ,198.51.100.3"}, 3, "198.51.100.1"),
        ({b"x-forwarded-for": b"198.51.100.1, 198.51.100.2 ,198.51.100.3"}, 4, ""),
        ({b"x-forwarded-for": b"unknown, 198.51.100.2"}, 0, "10.0.0.1"),
        ({b"x-forwarded-for": b"unknown, 198.51.100.2"}, 1, "198.51.100.2"),
        ({b"x-forwarded-for": b"unknown, 198.51.100.2"}, 2, "10.0.0.1"),
        ({b"x-forwarded-for": b"[2001:db8::1]:99"}, 0, "10.0.0.1"),
        ({b"x-forwarded-for": b"[2001:db8::1]:99"}, 1, "10.0.0.1"),
        ({b"x-forwarded-for": b"[2001:db8::1]:99"}, 2, ""),
        ({b"x-forwarded-for": b""}, 0, "10.0.0.1"),
        ({b"x-forwarded-for": b""}, 2, "10.0.0.1"),
        ({b"x-forwarded-for": b", ,"}, 1, "10.0.0.1"),
        ({b"x-forwarded-for": b", 198.51.100.1 ,"}, 1, "198.51.100.1"),
    ],
)
def test_behind_a_trusted_proxy_the_headers_count(headers: dict[bytes, bytes], depth: int, expected: str) -> None:
    """API definitions reference 9.5, field report B34: a decision per depth, never an error."""
    assert client_address(headers, "10.0.0.1", depth, PROXIES) == expected


@pytest.mark.parametrize("trusted", [NOBODY, PROXIES])
def test_nobody_else_can_claim_an_address(trusted: AddressSet) -> None:
    """In Tyk any client passes an IP list by sending X-Real-IP."""
    assert client_address({b"x-real-ip": b"10.0.0.5", b"x-forwarded-for": b"10.0.0.6"}, PEER, 0, trusted) == PEER


# Sets of addresses


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"], ["9.255.255.255", "11.0.0.0", "::a00:1"]),
        ("10.1.2.3/8", ["10.0.0.0", "10.255.255.255"], ["11.0.0.0"]),
        ("192.0.2.7", ["192.0.2.7", "::ffff:192.0.2.7"], ["192.0.2.6", "192.0.2.8"]),
        (" 192.0.2.6/31 ", ["192.0.2.6", "192.0.2.7"], ["192.0.2.5", "192.0.2.8"]),
        ("0.0.0.0/0", ["0.0.0.0", "255.255.255.255"], ["::", "2001:db8::1"]),
        ("::/0", ["::", "2001:db8::1"], ["10.0.0.1", "::ffff:10.0.0.1"]),
        ("2001:db8::/32", ["2001:db8::", "2001:DB8:ffff::1"], ["2001:db9::", "2001:db7:ffff::"]),
        ("::ffff:10.0.0.0/104", ["10.1.2.3", "::ffff:10.1.2.3"], ["11.0.0.0", "::a00:1"]),
        ("::ffff:192.0.2.7", ["192.0.2.7"], ["192.0.2.8"]),
        ("::ffff:0:0/95", ["::fffe:1.2.3.4"], ["::fffd:1.2.3.4", "10.0.0.1"]),
    ],
)
def test_networks_hold_what_lies_between_their_ends(text: str, inside: list[str], outside: list[str]) -> None:
    """First, last, and the neighbours; an IPv4-mapped address is the IPv4 address."""
    addresses = build_address_set([text])
    assert all(address in addresses for address in inside)
    assert not any(address in addresses for address in outside)
    assert all(address in addresses for address in inside)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "10.0.0.0/33",
        "10.0.0.0/",
        "10.0.0.0/-1",
        "10.0.0.0/255.0.0.0",
        "10.0.0.0/٨",
        "10.0.0/8",
        "::/129",
        "10.0.0.0/8/8",
        "010.0.0.1",
        "a.test",
    ],
)
def test_text_that_is_no_network_is_named(text: str) -> None:
    """Configuration is checked on load."""
    with pytest.raises(ValueError):
        build_address_set(["10.0.0.1", text])


def test_an_empty_set_is_false_and_holds_nothing() -> None:
    """Empty lists decide nothing by themselves."""
    assert not NOBODY
    assert PROXIES
    assert "10.0.0.1" not in NOBODY


@pytest.mark.parametrize("text", ["", "x", "10.0.0", "10.0.0.1:80", "[::1]"])
def test_text_that_is_no_address_is_in_no_set(text: str) -> None:
    """Never an error on the way of a request."""
    assert text not in build_address_set(["0.0.0.0/0", "::/0"])


def test_what_a_set_remembers_is_bounded() -> None:
    """Peers cannot fill memory with addresses; answers stay right after the memory was emptied."""
    addresses = build_address_set(["10.0.0.0/16"])
    for number in range(10000):
        address = f"10.{number % 2}.{number // 250}.{number % 250}"
        assert (address in addresses) is (number % 2 == 0)
        assert len(addresses._known) <= 4096


@settings(deadline=None)
@given(st.lists(st.ip_addresses().flatmap(lambda a: st.tuples(st.just(a), st.integers(0, a.max_prefixlen))), max_size=5), st.ip_addresses())
def test_sets_agree_with_the_slow_reading(
    networks: list[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]], address: ipaddress.IPv4Address | ipaddress.IPv6Address
) -> None:
    """The standard library, network by network, is the oracle."""
    texts = [f"{network}/{length}" for network, length in networks]
    plain = [ipaddress.ip_network(text, strict=False) for text in texts]
    mapping = [network for network in plain if network.version == 6 and network.prefixlen >= 96]
    addresses = build_address_set(texts)
    for candidate in [address, *(network for network, _ in networks)]:
        four = candidate if candidate.version == 4 else candidate.ipv4_mapped
        if four is None:
            expected = any(candidate in network for network in plain)
        else:
            six = ipaddress.IPv6Address(f"::ffff:{four}")
            expected = any(four in network for network in plain) or any(six in network for network in mapping)
        assert (str(candidate) in addresses) is expected


# At the writer


@pytest.mark.parametrize(("name", "value"), [(b"X", b""), (b"x-!#$%&'*+.^_`|~9", b"v"), (b"X", b"a\tb \x80\xff~")])
def test_lines_that_stay_one_line_pass(name: bytes, value: bytes) -> None:
    """RFC 9110 sections 5.1 and 5.5."""
    validate_header(name, value)
    validate_headers([(b"A", b"b"), (name, value)])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"", b"v"),
        (b"X Y", b"v"),
        (b"X:", b"v"),
        (b"X\n", b"v"),
        (b"X\r\nY", b"v"),
        (b"\xc4", b"v"),
        (b"X", b"a\r\nY: b"),
        (b"X", b"a\n"),
        (b"X", b"\r"),
        (b"X", b"\x00"),
        (b"X", b"\x7f"),
        (b"X", b"\x1b[0m"),
    ],
)
def test_lines_that_would_become_others_are_refused(name: bytes, value: bytes) -> None:
    """h2 CVE-2025-57804: validated again at the writer."""
    with pytest.raises(WireError):
        validate_header(name, value)
    with pytest.raises(WireError):
        validate_headers([(b"A", b"b"), (name, value)])


def test_no_lines_are_fine() -> None:
    """A trailer section may be empty."""
    validate_headers([])


@settings(deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=5), st.binary(max_size=5)), max_size=5))
def test_checking_all_at_once_is_checking_each(headers: HeaderList) -> None:
    """The quick check agrees with the readable one."""
    try:
        for name, value in headers:
            validate_header(name, value)
        good = True
    except WireError:
        good = False
    if good:
        validate_headers(headers)
    else:
        with pytest.raises(WireError):
            validate_headers(headers)


@fuzzed(200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    b"Connection",
                    b"X-Hop",
                    b"Client-Cert",
                    b"client_cert",
                    b"X-Tyk-A",
                    b"X_Tyk_B",
                    b"Te",
                    b"Cookie",
                    b"Accept",
                    b"X-Forwarded-For",
                    b"ssl_client_x",
                ]
            ),
            st.sampled_from([b"", b"x-hop", b"close", b"trailers", b"cookie, te", b"10.0.0.1"]),
        ),
        max_size=8,
    ),
    st.booleans(),
)
def test_no_mixture_lets_a_forbidden_line_through(headers: HeaderList, keep: bool) -> None:
    """The quick path and the careful one drop the same lines."""
    protected = frozenset({b"cookie"})
    sent = forward(*headers, protected=protected, keep=keep)
    names = [name.lower().replace(b"_", b"-") for name, _ in sent]
    assert names.count(b"host") == names.count(b"x-forwarded-for") == names.count(b"user-agent") == 1
    assert b"connection" not in names
    assert not any(name.startswith(b"x-tyk-") for name in names)
    if not keep:
        assert not any(name == b"client-cert" or name.startswith(b"ssl-client-") for name in names)
    listed = {option.strip().lower() for name, value in headers if name == b"Connection" for option in value.split(b",")}
    for line in headers:
        if line[0] in (b"Cookie", b"Accept", b"X-Hop"):
            assert (line in sent) is (line[0].lower() not in listed or line[0] == b"Cookie")

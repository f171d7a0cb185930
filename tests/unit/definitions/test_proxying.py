"""``proxy``: listen path, targets, transport."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.definitions import accepted, classic, make_context, parse, refused, warned
from tlsgate.model.api import ProxySettings, TransportSettings


def proxy(**members: Any) -> ProxySettings:
    return accepted(classic(proxy=members)).proxy


def test_switches_are_read() -> None:
    """Off unless said otherwise."""
    assert proxy() == ProxySettings(listen_path="/app/", target_url="http://up.test:8000/")
    assert proxy(strip_listen_path=True, disable_strip_slash=True, preserve_host_header=True) == ProxySettings(
        listen_path="/app/", target_url="http://up.test:8000/", strip_listen_path=True, disable_strip_slash=True, preserve_host_header=True
    )


def test_listen_path_is_normalised() -> None:
    """Reference, section 2.3."""
    assert proxy(listen_path="a//./b/").listen_path == "/a/b/"


@pytest.mark.parametrize("path", ["", "/a b/", "/{x:(a)}/", "/{x", None])
def test_a_bad_listen_path_refuses_the_api(path: str | None) -> None:
    """Reference, section 2.3."""
    assert list(refused(classic(proxy={"listen_path": path}))) == ["proxy.listen_path"]


@pytest.mark.parametrize("url", ["", " ", "up.test", "ftp://up.test/", "http://", None])
def test_a_bad_target_refuses_the_api(url: str | None) -> None:
    """An API that can go nowhere is no API."""
    assert list(refused(classic(proxy={"target_url": url}))) == ["proxy.target_url"]


@pytest.mark.parametrize(
    ("url", "words"), [("tyk://self/", "calls of other APIs"), ("TYK://self/", "calls of other APIs"), ("h2c://up.test", "HTTP/2")]
)
def test_targets_that_are_not_active_yet_are_refused_by_name(url: str, words: str) -> None:
    """They would go to another place than was meant."""
    assert words in refused(classic(proxy={"target_url": url}))["proxy.target_url"]


@pytest.mark.parametrize("url", ["tcp://up.test:1", "tls://up.test:1"])
def test_raw_targets_are_for_raw_services(url: str) -> None:
    """And the other way round."""
    assert "raw services only" in refused(classic(proxy={"target_url": url}))["proxy.target_url"]
    context = make_context(disable_ports_whitelist=True)
    raw = classic(protocol="tcp", listen_port=9000, proxy={"target_url": "http://up.test:1", "listen_path": ""})
    assert "needs a target with tcp:// or tls://" in refused(raw, context)["proxy.target_url"]


def test_a_raw_service_needs_no_listen_path_and_no_scheme() -> None:
    """Its port is its address."""
    context = make_context(disable_ports_whitelist=True)
    api = accepted(classic(protocol="tcp", listen_port=9000, proxy={"target_url": "db.test:5432", "listen_path": ""}), context)
    assert (api.proxy.listen_path, api.proxy.target_url) == ("/", "tcp://db.test:5432")


def test_load_balancing_lists_are_kept_in_turn() -> None:
    """Reference, section 4.3: a repeated entry has more weight, a missing scheme is that of the protocol or http."""
    made = proxy(enable_load_balancing=True, target_list=["http://a.test", "b.test:81", "http://a.test"])
    assert made.targets == ("http://a.test", "http://b.test:81", "http://a.test")
    context = make_context(disable_ports_whitelist=True)
    api = accepted(classic(protocol="https", listen_port=9000, proxy={"enable_load_balancing": True, "target_list": ["b.test"]}), context)
    assert api.proxy.targets == ("https://b.test",)


def test_a_list_without_load_balancing_is_without_effect() -> None:
    """As in Tyk."""
    assert proxy(target_list=["http://a.test"]).targets == ()


def test_a_list_makes_the_target_dispensable() -> None:
    """Its entries replace it."""
    made = proxy(target_url="", enable_load_balancing=True, target_list=["http://a.test"])
    assert (made.target_url, made.targets) == ("", ("http://a.test",))


def test_bad_lists_are_refused() -> None:
    """Reference, section 3 (reasons), for files too."""
    message = "all load balancing targets have weight 0, at least one target must have weight > 0"
    assert refused(classic(proxy={"enable_load_balancing": True}))["proxy.target_list"] == message
    problems = refused(classic(proxy={"enable_load_balancing": True, "target_list": ["http://a.test", "ftp://b", "tyk://x", ""]}))
    assert list(problems) == ["proxy.target_list[1]", "proxy.target_list[2]", "proxy.target_list[3]"]


def test_user_information_is_not_shown() -> None:
    """It is not used either, which is said."""
    tree = classic(proxy={"target_url": "http://user:hunter2@up.test/"})
    assert warned(tree) == {"proxy.target_url": "user name and password in the address are not used"}
    assert "hunter2" not in str(parse(tree)[1])


def test_transport_is_read() -> None:
    """Tyk's BETTER line: the versions are honoured as given; 0 is the gateway's."""
    made = proxy(
        transport={
            "ssl_insecure_skip_verify": False,
            "ssl_ciphers": ["tls_ecdhe_rsa_with_chacha20_poly1305"],
            "ssl_min_version": 772,
            "ssl_force_common_name_check": True,
            "proxy_url": "http://proxy.test:3128",
        }
    ).transport
    assert made == TransportSettings(
        ciphers=("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",),
        min_version=772,
        force_common_name_check=True,
        proxy_url="http://proxy.test:3128",
    )


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"ssl_ciphers": ["x"]}, "ssl_ciphers[0]"),
        ({"ssl_min_version": 772, "ssl_max_version": 771}, "ssl_min_version"),
        ({"ssl_max_version": 770}, "ssl_max_version"),
        ({"ssl_min_version": 5}, "ssl_min_version"),
        ({"proxy_url": "socks5://proxy.test:1080"}, "proxy_url"),
        ({"proxy_url": "ws://proxy.test:1080"}, "proxy_url"),
        ({"proxy_url": "proxy.test"}, "proxy_url"),
    ],
)
def test_bad_transport_refuses_the_api(members: dict[str, Any], path: str) -> None:
    """It would fail each request."""
    assert list(refused(classic(proxy={"transport": members}))) == [f"proxy.transport.{path}"]


def test_old_versions_are_raised() -> None:
    """Decisions 1.11."""
    tree = classic(proxy={"transport": {"ssl_min_version": 769}})
    assert "TLS 1.0" in warned(tree)["proxy.transport.ssl_min_version"]
    assert accepted(tree).proxy.transport.min_version == 771


def test_unverified_upstreams_are_said() -> None:
    """Loudly enough to be found."""
    assert (
        "not verified"
        in warned(classic(proxy={"transport": {"ssl_insecure_skip_verify": True}}))["proxy.transport.ssl_insecure_skip_verify"]
    )


def test_trusted_authorities_come_from_the_api_or_the_gateway() -> None:
    """x-tlsgate.upstream_ca, else tlsgate.upstream_ca."""
    context = make_context(tlsgate={"upstream_ca": ["/gate.pem"]})
    assert accepted(classic(), context).proxy.transport.ca_certificates == ("/gate.pem",)
    assert accepted(classic(**{"x-tlsgate": {"upstream_ca": ["/api.pem"]}}), context).proxy.transport.ca_certificates == ("/api.pem",)

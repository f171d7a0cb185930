"""TLS towards upstreams: client certificates, pins, verification, versions, names (issue: section 6; acceptance 8 and 10).

Source: mTLS reference, sections 8 to 10 with their BETTER lines; field reports B9, B21 and B22; decisions 1.8 and 1.13.
"""

from __future__ import annotations

import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives import serialization

from tests.support.certs import SERVER, Issued, distinguished_name, key_pem, make_authority, make_self_signed, pem_of
from tests.support.gateway import Client, Gateway, Response, StrictUpstream, classic, oas, running_gateway
from tests.support.hosts import host_names
from tests.support.tls_upstream import TlsUpstream, server_context

PROBLEM = b'{\n    "error": "There was a problem proxying the request"\n}'
VERSIONS = (771, 772)
NAMES = (
    "api.prod.up.test",
    "solo.up.test",
    "one.pins.up.test",
    "two.pins.up.test",
    "pins.up.test",
    "my_svc.up.test",
    "_dmarc.up.test",
    "xn--bcher-kva.up.test",
    "ab--cd.up.test",
    "cn.up.test",
    "other.up.test",
)
CLIENT_CA = make_authority("Client CA")
CA = make_authority("Upstream CA")
LEAF = CA.issue("upstream", usages=SERVER, names=[*NAMES, "127.0.0.1", "::1", "localhost"])


@pytest.fixture(scope="module", autouse=True)
def names() -> Iterator[None]:
    with host_names(*NAMES):
        yield


def ask(gateway: Gateway, path: str, **options: Any) -> Response:
    """One request on a connection of its own."""
    with Client(gateway.port, tls=False) as client:
        return client.request("GET", path, **options)


def refused(gateway: Gateway, path: str) -> dict[str, Any]:
    """Check that a request is refused as an upstream failure; returns its log line."""
    mark = len(gateway.events)
    response = ask(gateway, path)
    assert (response.status, response.body) == (500, PROBLEM), response
    return gateway.wait_event("http.refused", after=mark, match=lambda event: event["path"] == path)


def oas_certificates(mapping: dict[str, str], *, enabled: bool = True) -> dict[str, Any]:
    """``upstream.mutualTLS`` of OAS."""
    return {
        "mutualTLS": {
            "enabled": enabled,
            "domainToCertificateMapping": [{"domain": domain, "certificate": reference} for domain, reference in mapping.items()],
        }
    }


def oas_pins(mapping: dict[str, str], *, enabled: bool = True) -> dict[str, Any]:
    """``upstream.certificatePinning`` of OAS."""
    return {
        "certificatePinning": {
            "enabled": enabled,
            "domainToPublicKeysMapping": [{"domain": domain, "publicKeys": keys.split(",")} for domain, keys in mapping.items()],
        }
    }


# Which client certificate.


class Choice(NamedTuple):
    """A table of an API and what the upstream must see."""

    name: str
    keys: tuple[str, ...]
    """Keys of the API's map, ``PORT`` for the upstream's; each has a certificate of its own."""
    expected: str | None
    """The key that wins; ``global`` for the gateway's map; None for no certificate at all."""
    host: str = "api.prod.up.test"
    disabled: bool = False


CHOICES = [
    Choice("star", ("*",), "*", "solo.up.test"),
    Choice("wildcard", ("*", "*.up.test"), "*.up.test", "solo.up.test"),
    Choice("wildcard-with-port", ("*.up.test:PORT", "*", "*.up.test"), "*.up.test:PORT", "solo.up.test"),
    Choice("host", ("*.up.test:PORT", "solo.up.test", "*"), "solo.up.test", "solo.up.test"),
    Choice("host-with-port", ("solo.up.test:PORT", "solo.up.test", "*.up.test:PORT"), "solo.up.test:PORT", "solo.up.test"),
    Choice("other-port", ("solo.up.test:1", "*.up.test:1"), None, "solo.up.test"),
    Choice("with-protocol", ("https://solo.up.test",), None, "solo.up.test"),
    Choice("wildcard-is-one-label", ("*.up.test", "*.test"), "global"),
    Choice("wildcard-inside", ("solo.*.test", "*lo.up.test"), None, "solo.up.test"),
    Choice("case", ("SOLO.Up.Test",), "SOLO.Up.Test", "solo.up.test"),
    Choice("api-star-beats-global-host", ("*",), "*"),
    Choice("global", (), "global"),
    Choice("disabled", ("api.prod.up.test",), "global", disabled=True),
    Choice("disabled-without-global", ("*",), None, "solo.up.test", disabled=True),
    Choice("address", ("127.0.0.1",), "127.0.0.1", "127.0.0.1"),
    Choice("address-with-port", ("127.0.0.1", "127.0.0.1:PORT"), "127.0.0.1:PORT", "127.0.0.1"),
]


def certificate_for(key: str) -> Issued:
    """The certificate of a key of a map: its common name is the key."""
    if key not in _CERTIFICATES:
        _CERTIFICATES[key] = CLIENT_CA.issue(key)
    return _CERTIFICATES[key]


_CERTIFICATES: dict[str, Issued] = {}


class Choosing(NamedTuple):
    """A gateway with an API for each choice and form, and its upstream."""

    gateway: Gateway
    upstream: TlsUpstream


@pytest.fixture(scope="module", params=VERSIONS)
def choosing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, names: None) -> Iterator[Choosing]:
    folder = tmp_path_factory.mktemp("choosing")
    context = server_context(LEAF, version=request.param, clients=[CLIENT_CA], optional=True)
    with TlsUpstream(context) as upstream:
        apis = []
        for choice in CHOICES:
            mapping = {}
            for number, key in enumerate(choice.keys):
                # In turn as inline text and as a file.
                reference = certificate_for(key).full_pem
                if number % 2:
                    path = folder / f"{choice.name}-{number}.pem"
                    path.write_text(reference)
                    reference = str(path)
                mapping[key.replace("PORT", str(upstream.port))] = reference
            url = f"https://{choice.host}:{upstream.port}"
            apis.append(
                classic(
                    f"{choice.name}-c",
                    url,
                    f"/{choice.name}-c/",
                    upstream_certificates=mapping,
                    upstream_certificates_disabled=choice.disabled,
                    proxy={"preserve_host_header": True},
                )
            )
            apis.append(
                oas(
                    f"{choice.name}-o",
                    url,
                    f"/{choice.name}-o/",
                    upstream_settings=oas_certificates(mapping, enabled=not choice.disabled),
                )
            )
        security = {"certificates": {"upstream": {f"api.prod.up.test:{upstream.port}": certificate_for("global").full_pem}}}
        with running_gateway(folder, *apis, security=security, tlsgate={"upstream_ca": [CA.pem]}) as gateway:
            yield Choosing(gateway, upstream)


@pytest.mark.parametrize("form", ["c", "o"])
@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: choice.name)
def test_the_client_certificate_of_the_most_specific_key(choosing: Choosing, choice: Choice, form: str) -> None:
    """mTLS reference, section 8: ``*`` < ``*.rest`` < ``*.rest:port`` < ``host`` < ``host:port``; any match of the API beats the gateway's.

    Neither Host nor ``preserve_host_header`` matters; SNI is the target's name, and none for an address (RFC 6066 section 3).
    """
    upstream = choosing.upstream
    upstream.names.clear()
    assert ask(choosing.gateway, f"/{choice.name}-{form}/x", host="other.up.test").status == 200
    received = upstream.requests[-1]
    expected = certificate_for(choice.expected).der if choice.expected is not None else None
    assert upstream.shown[received.connection] == expected
    assert set(upstream.names) <= {None if choice.host[0].isdigit() else choice.host}
    assert received.header("host") == ("other.up.test" if form == "c" else f"{choice.host}:{upstream.port}")


@pytest.mark.parametrize("key", ["::1", "[::1]", "[::1]:PORT", "*"])
def test_an_ipv6_target_has_its_certificate(tmp_path: Path, key: str) -> None:
    """mTLS reference, section 8: a key without brackets matches ``[::1]:8443``; the certificate is verified for the address."""
    context = server_context(LEAF, clients=[CLIENT_CA])
    try:
        listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with listening, TlsUpstream(context) as upstream:
        upstream._listening.close()
        upstream._listening = listening
        port = listening.getsockname()[1]
        threading.Thread(target=upstream._accept, daemon=True).start()
        mapping = {key.replace("PORT", str(port)): certificate_for("six").full_pem}
        api = classic("six", f"https://[::1]:{port}", "/", upstream_certificates=mapping)
        with running_gateway(tmp_path, api, tlsgate={"upstream_ca": [CA.pem]}) as gateway:
            assert ask(gateway, "/x").status == 200
        assert upstream.shown[upstream.requests[0].connection] == certificate_for("six").der
        assert upstream.names == [] or set(upstream.names) == {None}


# Certificates and references in odd shapes.


def ec_parameters(curve: str) -> str:
    """What ``openssl ecparam -genkey`` writes in front of the key."""
    made = subprocess.run(["openssl", "ecparam", "-name", curve], capture_output=True, text=True, check=True)
    assert "EC PARAMETERS" in made.stdout
    return made.stdout


@pytest.mark.parametrize("version", VERSIONS)
def test_client_certificates_as_people_paste_them(tmp_path: Path, version: int) -> None:
    """B9: ``EC PARAMETERS`` before the key, key first and last; SEC1 and PKCS#1 keys; one line; a chain of a subordinate CA."""
    middle = CLIENT_CA.subordinate("Middle")
    plain, rsa, chained = CLIENT_CA.issue("ec", kind="p384"), CLIENT_CA.issue("rsa", kind="rsa-2048"), middle.issue("chained")
    sec1 = key_pem(plain.key, serialization.PrivateFormat.TraditionalOpenSSL)
    parameters = ec_parameters("secp384r1")
    shapes = {
        "key-first": parameters + sec1 + plain.pem,
        "certificate-first": plain.pem + parameters + sec1,
        "parameters-last": plain.pem + sec1 + parameters,
        "pkcs1": key_pem(rsa.key, serialization.PrivateFormat.TraditionalOpenSSL) + rsa.pem,
        "crlf": (plain.pem + "\n\n" + sec1).replace("\n", "\r\n"),
        "one-line": plain.full_pem.replace("\n", " "),
        "chain": chained.full_pem,
        "chain-key-first": chained.key_pem + chained.pem + pem_of(middle.der),
    }
    with TlsUpstream(server_context(LEAF, version=version, clients=[CLIENT_CA])) as upstream:
        url = f"https://localhost:{upstream.port}"
        apis = [classic(name, url, f"/{name}/", upstream_certificates={"localhost": pem}) for name, pem in shapes.items()]
        apis += [
            oas(f"{name}-o", url, f"/{name}-o/", upstream_settings=oas_certificates({"localhost": pem})) for name, pem in shapes.items()
        ]
        with running_gateway(tmp_path, *apis, tlsgate={"upstream_ca": [CA.pem]}) as gateway:
            for name in shapes:
                for suffix in ("", "-o"):
                    assert ask(gateway, f"/{name}{suffix}/x").status == 200, name
                shown = upstream.shown[upstream.requests[-1].connection]
                assert shown in (plain.der, rsa.der, chained.der)
        assert upstream.failures == []


def test_what_cannot_be_resolved_refuses_and_says_so(tmp_path: Path) -> None:
    """Decisions 1.8: the request fails with 500 and a log line, it never goes without; other APIs are not touched."""
    lone, keyless = CLIENT_CA.issue("lone"), tmp_path / "keyless.pem"
    keyless.write_text(lone.pem)
    mismatched = lone.pem + CLIENT_CA.issue("other").key_pem
    only_parameters = lone.pem + ec_parameters("secp384r1")
    certificates = {
        "no-file": "/no/such/file.pem",
        "no-key": str(keyless),
        "no-key-inline": lone.pem,
        "no-certificate": lone.key_pem,
        "parameters-are-no-key": only_parameters,
        "mismatch": mismatched,
        "store-id": "a" * 64,
        "broken": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "folder": str(tmp_path),
    }
    with TlsUpstream(server_context(LEAF)) as upstream:
        url = f"https://localhost:{upstream.port}"
        apis = [classic(name, url, f"/{name}/", upstream_certificates={"*": reference}) for name, reference in certificates.items()]
        apis += [
            oas(f"{name}-o", url, f"/{name}-o/", upstream_settings=oas_certificates({"*": reference}))
            for name, reference in certificates.items()
        ]
        apis += [
            classic("no-ca", url, "/no-ca/", **{"x-tlsgate": {"upstream_ca": ["/no/such/ca.pem"]}}),
            classic("not-matched", url, "/not-matched/", upstream_certificates={"elsewhere.test": "/no/such/file.pem"}),
            classic("disabled", url, "/disabled/", upstream_certificates={"*": "/no"}, upstream_certificates_disabled=True),
            classic("fine", url, "/fine/"),
        ]
        with running_gateway(tmp_path, *apis, tlsgate={"upstream_ca": [CA.pem]}) as gateway:
            for name in (*certificates, *(f"{name}-o" for name in certificates), "no-ca"):
                event = refused(gateway, f"/{name}/x")
                assert (event["flag"], event["api"]) == ("TLN", name)
                assert event["detail"]
                problem = gateway.wait_event("load.problem", match=lambda entry: f"/{name}.json" in entry["problem"])  # noqa: B023 - at once
                assert problem["level"] == "error"
                assert "PRIVATE KEY" not in str(problem)
            assert upstream.connections == 0
            for name in ("not-matched", "disabled", "fine"):
                assert ask(gateway, f"/{name}/x").status == 200


def test_a_renewed_client_certificate_is_used_after_a_reload(tmp_path: Path) -> None:
    """The idle connection of the old one is not used again; a broken file keeps what was (decisions 1.8)."""
    old, new, path = CLIENT_CA.issue("old"), CLIENT_CA.issue("new"), tmp_path / "client.pem"
    path.write_text(old.full_pem)
    with TlsUpstream(server_context(LEAF, clients=[CLIENT_CA])) as upstream:
        api = classic("a", f"https://localhost:{upstream.port}", "/", upstream_certificates={"*": str(path)})
        with running_gateway(tmp_path, api, tlsgate={"upstream_ca": [CA.pem]}) as gateway:
            assert ask(gateway, "/").status == 200
            path.write_text(new.pem)
            assert gateway.reload()["event"] in ("reload.done", "reload.refused")
            path.write_text(new.full_pem)
            assert gateway.reload()["event"] == "reload.done"
            assert ask(gateway, "/").status == 200
            path.write_text(new.full_pem[:200])
            assert gateway.reload()["event"] == "reload.refused"
            assert ask(gateway, "/").status == 200
        shown = [upstream.shown[request.connection] for request in upstream.requests]
        assert shown == [old.der, new.der, new.der]


# Pins.


def public_key(issued: Issued) -> str:
    """The public key alone."""
    return pem_of(issued.spki, "PUBLIC KEY")


MIDDLE = CA.subordinate("Upstream middle")
PINNED = MIDDLE.issue("pinned", usages=SERVER, names=["one.pins.up.test", "two.pins.up.test"])
OWN = make_self_signed("own", usages=SERVER, names=["elsewhere.test"])
FOREIGN = make_authority("Foreign CA").issue("foreign", usages=SERVER, names=["one.pins.up.test"])
RENEWED = MIDDLE.issue("renewed", private_key=PINNED.key, usages=SERVER, names=["one.pins.up.test"])
WRONG_NAME = MIDDLE.issue("wrong", usages=SERVER, names=["elsewhere.test"])
EXPIRED = MIDDLE.issue("expired", usages=SERVER, names=["one.pins.up.test"], not_after=1_600_000_000)


class Pin(NamedTuple):
    """Pins of an API, who answers, and whether he is believed."""

    name: str
    pins: dict[str, str]
    shows: Issued
    good: bool
    chain: tuple[bytes, ...] | None = None
    host: str = "one.pins.up.test"
    disabled: bool = False
    transport: dict[str, Any] = {}


ONE = "one.pins.up.test"
PINS = [
    Pin("key", {ONE: public_key(PINNED)}, PINNED, True),
    Pin("certificate", {ONE: PINNED.pem}, PINNED, True),
    Pin("with-key-beside-it", {ONE: PINNED.full_pem}, PINNED, True),
    Pin("blanks", {ONE: "  " + public_key(PINNED).replace("\n", "\n  ") + "  "}, PINNED, True),
    Pin("same-key-other-certificate", {ONE: PINNED.pem}, RENEWED, True),
    Pin("any-of-several", {ONE: f"{public_key(FOREIGN)},{public_key(PINNED)}"}, PINNED, True),
    Pin("other-key", {ONE: public_key(FOREIGN)}, PINNED, False),
    Pin("self-signed", {ONE: public_key(OWN)}, OWN, True),
    Pin("untrusted", {ONE: public_key(FOREIGN)}, FOREIGN, True),
    Pin("genuine-sent-along", {ONE: public_key(PINNED)}, FOREIGN, False, (PINNED.der, MIDDLE.der)),
    Pin("ca-key", {ONE: public_key(MIDDLE)}, PINNED, True),
    Pin("root-key", {ONE: public_key(CA)}, PINNED, True),
    Pin("ca-key-other-name", {ONE: public_key(MIDDLE)}, WRONG_NAME, False),
    Pin("ca-key-expired-leaf", {ONE: public_key(MIDDLE)}, EXPIRED, False),
    Pin("ca-sent-along-only", {ONE: public_key(MIDDLE)}, FOREIGN, False, (MIDDLE.der,)),
    Pin("unresolvable", {ONE: "/no/such/key.pem"}, PINNED, False),
    Pin("unresolvable-and-good", {ONE: f"/no/such/key.pem,{public_key(PINNED)}"}, PINNED, True),
    Pin("store-id", {ONE: "ab" * 32}, PINNED, False),
    Pin("star", {"*": public_key(FOREIGN)}, PINNED, False),
    Pin("wildcard-over-star", {"*": public_key(FOREIGN), "*.pins.up.test": public_key(PINNED)}, PINNED, True),
    Pin("host-over-wildcard", {"*.pins.up.test": public_key(FOREIGN), ONE: public_key(PINNED)}, PINNED, True),
    Pin("host-over-wildcard-bad", {"*.pins.up.test": public_key(PINNED), ONE: public_key(FOREIGN)}, PINNED, False),
    Pin("capitals", {"ONE.Pins.Up.Test": public_key(FOREIGN)}, PINNED, False),
    Pin("other-host-is-verified", {ONE: public_key(FOREIGN)}, PINNED, True, host="two.pins.up.test"),
    Pin("other-host-is-not-waved-through", {"other.up.test": public_key(FOREIGN)}, FOREIGN, False),
    Pin("disabled", {ONE: public_key(FOREIGN)}, PINNED, True, disabled=True),
    Pin("disabled-is-verified", {ONE: public_key(OWN)}, OWN, False, disabled=True),
    Pin("global", {}, PINNED, False, host="pins.up.test"),
    Pin("global-below-api", {"*": public_key(PINNED)}, PINNED, True, host="pins.up.test"),
    Pin("global-stays-when-disabled", {"*": public_key(PINNED)}, PINNED, False, host="pins.up.test", disabled=True),
    Pin("skip-verify-keeps-pins", {ONE: public_key(FOREIGN)}, PINNED, False, transport={"ssl_insecure_skip_verify": True}),
    Pin("common-name-beside-pin", {ONE: public_key(PINNED)}, PINNED, False, transport={"ssl_force_common_name_check": True}),
]


@pytest.fixture(scope="module", params=VERSIONS)
def pinning(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, names: None) -> Iterator[Gateway]:
    with ExitStack() as stack:
        apis = []
        for pin in PINS:
            upstream = stack.enter_context(TlsUpstream(server_context(pin.shows, version=request.param, chain=pin.chain)))
            UPSTREAMS[pin.name] = upstream
            url = f"https://{pin.host}:{upstream.port}"
            apis.append(
                classic(
                    f"{pin.name}-c",
                    url,
                    f"/{pin.name}-c/",
                    pinned_public_keys=pin.pins,
                    certificate_pinning_disabled=pin.disabled,
                    proxy={"transport": pin.transport},
                )
            )
            if not pin.transport:
                settings = oas_pins(pin.pins, enabled=not pin.disabled)
                apis.append(oas(f"{pin.name}-o", url, f"/{pin.name}-o/", upstream_settings=settings))
        security = {"pinned_public_keys": {"pins.up.test": public_key(FOREIGN)}}
        folder = tmp_path_factory.mktemp("pins")
        yield stack.enter_context(running_gateway(folder, *apis, security=security, tlsgate={"upstream_ca": [CA.pem]}))


UPSTREAMS: dict[str, TlsUpstream] = {}


@pytest.mark.parametrize("pin", PINS, ids=lambda pin: pin.name)
def test_pins(pinning: Gateway, pin: Pin) -> None:
    """mTLS reference, section 9: a pin matches the leaf's key, or that of a CA in a verified path; it is for its host only.

    A refused upstream gets no request.
    """
    for form in ("c",) if pin.transport else ("c", "o"):
        path = f"/{pin.name}-{form}/x"
        if pin.good:
            assert ask(pinning, path).status == 200
        else:
            event = refused(pinning, path)
            assert event["flag"] in ("TLI", "TLM")
            assert event["detail"]
            assert UPSTREAMS[pin.name].requests == []


# Verification, versions, suites.


def test_verification_can_be_switched_off_for_an_api_or_for_all(tmp_path: Path) -> None:
    """mTLS reference, section 10: ``ssl_insecure_skip_verify`` and ``proxy_ssl_insecure_skip_verify``; without them the same is refused."""
    bad = [
        make_self_signed("self", usages=SERVER, names=["localhost"]),
        CA.issue("old", usages=SERVER, names=["localhost"], not_after=1_600_000_000),
        CA.issue("else", usages=SERVER, names=["elsewhere.test"]),
        FOREIGN,
    ]
    for number, (issued, version) in enumerate((issued, version) for issued in bad for version in VERSIONS):
        folder = tmp_path / str(number)
        folder.mkdir()
        with TlsUpstream(server_context(issued, version=version)) as upstream:
            url = f"https://localhost:{upstream.port}"
            apis = [
                classic("strict", url, "/strict/"),
                classic("lax", url, "/lax/", proxy={"transport": {"ssl_insecure_skip_verify": True}}),
                oas("lax-o", url, "/lax-o/", upstream_settings={"tlsTransport": {"insecureSkipVerify": True}}),
            ]
            own = {"upstream_ca": [CA.pem]}
            with running_gateway(folder, *apis, tlsgate=own) as gateway:
                refused(gateway, "/strict/")
                assert ask(gateway, "/lax/").status == 200
                assert ask(gateway, "/lax-o/").status == 200
                refused(gateway, "/strict/")
                if number == 0:
                    gateway.config["proxy_ssl_insecure_skip_verify"] = True
                    gateway.write_config()
                    assert gateway.reload()["event"] == "reload.done"
                    assert ask(gateway, "/strict/").status == 200


class Versions(NamedTuple):
    """Settings of an API and the version that is spoken with a server of a version, None for none."""

    name: str
    transport: dict[str, Any]
    with_both: str | None
    with_12: str | None = "TLSv1.2"
    with_13: str | None = "TLSv1.3"


TLS = [
    Versions("default", {}, "TLSv1.3"),
    Versions("min-12", {"ssl_min_version": 771}, "TLSv1.3"),
    Versions("min-13", {"ssl_min_version": 772}, "TLSv1.3", with_12=None),
    Versions("max-12", {"ssl_max_version": 771}, "TLSv1.2", with_13=None),
    Versions("max-13", {"ssl_max_version": 772}, "TLSv1.3"),
    Versions("12-to-13", {"ssl_min_version": 771, "ssl_max_version": 772}, "TLSv1.3"),
    Versions("only-13", {"ssl_min_version": 772, "ssl_max_version": 772}, "TLSv1.3", with_12=None),
    Versions("raised", {"ssl_min_version": 769, "ssl_max_version": 770}, "TLSv1.2", with_13=None),
    Versions("suite", {"ssl_max_version": 771, "ssl_ciphers": ["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"]}, "TLSv1.2", with_13=None),
]


def test_versions_and_suites_are_taken_as_given(tmp_path: Path) -> None:
    """mTLS reference, section 10, BETTER: a lone minimum does not lower the maximum, and 772 means TLS 1.3."""
    with ExitStack() as stack:
        upstreams = {kind: stack.enter_context(TlsUpstream(server_context(LEAF, version=kind))) for kind in (None, 771, 772)}
        apis = []
        for case in TLS:
            for kind, upstream in upstreams.items():
                url = f"https://localhost:{upstream.port}"
                name = f"{case.name}-{kind or 'both'}"
                apis.append(classic(name, url, f"/{name}/", proxy={"transport": case.transport}))
                transport = {
                    {"ssl_min_version": "minVersion", "ssl_max_version": "maxVersion", "ssl_ciphers": "ciphers"}[key]: {
                        769: "1.0",
                        770: "1.1",
                        771: "1.2",
                        772: "1.3",
                    }.get(value, value)
                    if isinstance(value, int)
                    else value
                    for key, value in case.transport.items()
                }
                apis.append(oas(f"{name}-o", url, f"/{name}-o/", upstream_settings={"tlsTransport": transport}))
        with running_gateway(tmp_path, *apis, tlsgate={"upstream_ca": [CA.pem]}) as gateway:
            for case in TLS:
                for kind, expected in ((None, case.with_both), (771, case.with_12), (772, case.with_13)):
                    for suffix in ("", "-o"):
                        path = f"/{case.name}-{kind or 'both'}{suffix}/"
                        if expected is None:
                            assert refused(gateway, path)["flag"] == "TLP", path
                            continue
                        before = upstreams[kind].connections
                        assert ask(gateway, path).status == 200, path
                        if upstreams[kind].connections > before:
                            assert upstreams[kind].versions[-1] == expected, path
                            if case.name == "suite":
                                assert upstreams[kind].ciphers[-1] == "ECDHE-ECDSA-AES256-GCM-SHA384"


def test_versions_and_suites_of_the_whole_gateway(tmp_path: Path) -> None:
    """``proxy_ssl_min_version``, ``_max_version``, ``_ciphers`` hold where an API says nothing; a suite that nobody shares refuses."""
    settings = {"proxy_ssl_max_version": 771, "proxy_ssl_ciphers": ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]}
    rsa = CA.issue("rsa", kind="rsa-2048", usages=SERVER, names=["localhost"])
    with TlsUpstream(server_context(LEAF)) as upstream, TlsUpstream(server_context(rsa)) as other:
        apis = [
            classic("a", f"https://localhost:{upstream.port}", "/a/"),
            classic("b", f"https://localhost:{upstream.port}", "/b/", proxy={"transport": {"ssl_max_version": 772}}),
            classic("c", f"https://localhost:{other.port}", "/c/"),
        ]
        with running_gateway(tmp_path, *apis, tlsgate={"upstream_ca": [CA.pem]}, **settings) as gateway:
            assert ask(gateway, "/a/").status == 200
            assert (upstream.versions[-1], upstream.ciphers[-1]) == ("TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256")
            assert ask(gateway, "/b/").status == 200
            assert upstream.versions[-1] == "TLSv1.3"
            assert refused(gateway, "/c/")["flag"] == "TLH"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("everywhere", [False, True], ids=["api", "gateway"])
def test_the_common_name_check_adds_to_the_others(tmp_path: Path, version: int, everywhere: bool) -> None:
    """B22 and mTLS reference, section 10: with it CN must be the host **and** chain and alternative names must fit; it replaces none."""
    name = "cn.up.test"
    cases = {
        "fits": (CA.issue(name, usages=SERVER, names=[name]), True, ""),
        "fits-in-capitals": (CA.issue("CN.Up.Test", usages=SERVER, names=[name]), True, ""),
        "other-common-name": (
            CA.issue("gateway-7", usages=SERVER, names=[name]),
            False,
            "certificate had CN 'gateway-7', expected 'cn.up.test'",
        ),
        "no-common-name": (
            CA.issue(distinguished_name(None, organization_name="x"), usages=SERVER, names=[name]),
            False,
            "expected 'cn.up.test'",
        ),
        "other-alternative-name": (CA.issue(name, usages=SERVER, names=["other.up.test"]), False, "certificate is for 'other.up.test'"),
        "no-alternative-name": (CA.issue(name, usages=SERVER), False, "no subject alternative name"),
        "self-signed": (make_self_signed(name, usages=SERVER, names=[name]), False, "self-signed"),
    }
    with ExitStack() as stack:
        upstreams = {key: stack.enter_context(TlsUpstream(server_context(case[0], version=version))) for key, case in cases.items()}
        apis = []
        for key, upstream in upstreams.items():
            url = f"https://{name}:{upstream.port}"
            transport = {} if everywhere else {"ssl_force_common_name_check": True}
            apis.append(classic(f"{key}-c", url, f"/{key}-c/", proxy={"transport": transport}))
            settings = {} if everywhere else {"tlsTransport": {"forceCommonNameCheck": True}}
            apis.append(oas(f"{key}-o", url, f"/{key}-o/", upstream_settings=settings))
        settings = {"ssl_force_common_name_check": True} if everywhere else {}
        gateway = stack.enter_context(running_gateway(tmp_path, *apis, tlsgate={"upstream_ca": [CA.pem]}, **settings))
        for key, (_, good, reason) in cases.items():
            for form in ("c", "o"):
                if good:
                    assert ask(gateway, f"/{key}-{form}/").status == 200, key
                else:
                    assert reason in refused(gateway, f"/{key}-{form}/")["detail"]
            if not good:
                assert upstreams[key].requests == []


# Names.


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("san", ["exact", "wildcard"])
@pytest.mark.parametrize("host", ["my_svc.up.test", "_dmarc.up.test", "xn--bcher-kva.up.test", "ab--cd.up.test"])
def test_host_names_that_no_registry_would_sell(tmp_path: Path, version: int, san: str, host: str) -> None:
    """B21: underscores, A-labels, ``--`` at position 3; over http and https, exact and by wildcard; SNI as configured."""
    issued = CA.issue("x", usages=SERVER, names=[host if san == "exact" else "*.up.test"])
    with StrictUpstream() as plain, TlsUpstream(server_context(issued, version=version)) as secure:
        apis = [
            classic("plain", f"http://{host}:{plain.port}/", "/plain/"),
            classic("classic", f"https://{host}:{secure.port}/", "/classic/"),
            oas("oas", f"https://{host}:{secure.port}/", "/oas/"),
        ]
        with running_gateway(tmp_path, *apis, tlsgate={"upstream_ca": [CA.pem]}) as gateway:
            for path in ("/plain/x", "/classic/x", "/oas/x"):
                assert ask(gateway, path).status == 200, path
        assert set(secure.names) == {host}
        assert plain.requests[0].header("host") == f"{host}:{plain.port}"


def test_an_international_name_is_asked_for_by_its_a_label(tmp_path: Path) -> None:
    """B21's kind: the letters in ``target_url``, the A-label on the wire."""
    issued = CA.issue("x", usages=SERVER, names=["xn--bcher-kva.up.test"])
    with TlsUpstream(server_context(issued)) as upstream:
        api = classic("a", f"https://bücher.up.test:{upstream.port}/", "/")
        with running_gateway(tmp_path, api, tlsgate={"upstream_ca": [CA.pem]}) as gateway:
            assert ask(gateway, "/x").status == 200
        assert set(upstream.names) == {"xn--bcher-kva.up.test"}
        assert upstream.requests[0].header("host") == f"xn--bcher-kva.up.test:{upstream.port}"


# Trust.


def test_the_trust_of_an_upstream(tmp_path: Path) -> None:
    """Decisions 1.13: ``x-tlsgate.upstream_ca`` before ``tlsgate.upstream_ca`` before the system's; an intermediate can be an anchor."""
    first, second = make_authority("First CA"), make_authority("Second CA")
    middle = second.subordinate("Second middle")
    one = first.issue("x", usages=SERVER, names=["localhost"])
    two = middle.issue("x", usages=SERVER, names=["localhost"])
    path = tmp_path / "second.pem"
    path.write_text(middle.pem)
    with TlsUpstream(server_context(one)) as a, TlsUpstream(server_context(two)) as b:
        apis = [
            classic("a-all", f"https://localhost:{a.port}", "/a-all/"),
            classic("b-all", f"https://localhost:{b.port}", "/b-all/"),
            classic("a-own", f"https://localhost:{a.port}", "/a-own/", **{"x-tlsgate": {"upstream_ca": [str(path)]}}),
            classic("b-own", f"https://localhost:{b.port}", "/b-own/", **{"x-tlsgate": {"upstream_ca": [str(path)]}}),
            {**oas("b-own-o", f"https://localhost:{b.port}", "/b-own-o/"), "x-tlsgate": {"upstream_ca": [str(path)]}},
        ]
        with running_gateway(tmp_path, *apis, tlsgate={"upstream_ca": [first.pem]}) as gateway:
            assert ask(gateway, "/a-all/").status == 200
            assert ask(gateway, "/b-own/").status == 200
            assert ask(gateway, "/b-own-o/").status == 200
            refused(gateway, "/b-all/")
            refused(gateway, "/a-own/")


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_the_systems_store_can_be_named_in_the_environment(tmp_path: Path, variable: str) -> None:
    """Decisions 1.13: ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` take the place of the distribution's bundle."""
    folder = tmp_path / "trust"
    folder.mkdir()
    (folder / "ca.pem").write_text(CA.pem)
    value = folder / "ca.pem" if variable == "SSL_CERT_FILE" else folder
    with TlsUpstream(server_context(LEAF)) as upstream:
        api = classic("a", f"https://localhost:{upstream.port}", "/")
        with running_gateway(tmp_path, api, environ={variable: str(value)}) as gateway:
            assert ask(gateway, "/").status == 200


def test_an_unknown_ca_is_not_trusted_by_default(tmp_path: Path) -> None:
    """Decisions 1.13: never silently an empty or lax store; where the system has none, the API says so at load and refuses."""
    with TlsUpstream(server_context(LEAF)) as upstream, StrictUpstream() as plain:
        apis = [classic("a", f"https://localhost:{upstream.port}", "/a/"), classic("b", plain.port, "/b/")]
        with running_gateway(tmp_path, *apis, environ={"SSL_CERT_FILE": "", "SSL_CERT_DIR": ""}) as gateway:
            assert re.match("TL[IN]", refused(gateway, "/a/")["flag"])
        with running_gateway(tmp_path, *apis, environ={"SSL_CERT_FILE": "/no/such/bundle.pem"}) as gateway:
            event = refused(gateway, "/a/")
            assert event["flag"] == "TLN"
            assert "SSL_CERT_FILE /no/such/bundle.pem" in event["detail"]
            assert gateway.wait_event("load.problem")["level"] == "error"
            assert ask(gateway, "/b/").status == 200
        assert upstream.requests == []

"""Tests of `tlsgate.control.definition_check`: what a load would say, and what of it is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import classic, oas
from tests.support.memory_gateway import MemoryGateway
from tlsgate.control.definition_check import Trial, Verdict, describe, describe_all, judge_definition
from tlsgate.errors import Problem

FAILED = "Validation of API Definition failed. Reason: "


def judge(tree: dict[str, Any], *others: dict[str, Any], **config: Any) -> Verdict:
    gateway = MemoryGateway(*others, **config)
    trial = Trial(gateway.config, gateway.reactor, gateway.deadlines, gateway.clock)
    known = list(gateway.generation.known.values())
    return judge_definition(tree, "/apps/x.json", is_oas="openapi" in tree, others=known, trial=trial)


def test_a_good_definition_passes_in_either_form() -> None:
    for tree in (classic("x", 9, "/x/"), oas("x", 9, "/x/")):
        verdict = judge(tree)
        assert verdict.api is not None
        assert (verdict.api.api_id, verdict.message, verdict.warnings) == ("x", "", ())


def test_reasons_are_tyks_then_ours() -> None:
    """Tyk's words first; everything that loading refuses; what does not compile; what the whole gateway could not be loaded with."""
    assert judge(classic("x", 9, "/x/", allowed_ips=["nonsense"])).message == f'{FAILED}invalid IP/CIDR "nonsense".'
    assert judge(classic("x", 9, "no")).api is not None
    assert "listen_path" in judge(classic("x", 9, "/a b/")).message
    broken = classic("x", 9, "/x/", version={"use_extended_paths": True, "extended_paths": {"white_list": [{"path": "/(", "method": ""}]}})
    assert "extended_paths.white_list[0].path" in judge(broken).message
    assert "proxy.target_url" in judge(classic("x", "http://", "/x/")).message
    alone = classic("x", 9, "/x/", protocol="https", listen_port=9443)
    assert "no usable server certificate" in judge(alone, disable_ports_whitelist=True).message
    document = oas("x", 9, "/x/", upstream_settings={"loadBalancing": {"enabled": True, "targets": []}})
    assert judge(document).message.startswith(f"{FAILED}all load balancing targets have weight 0")


def test_ports_are_of_one_kind() -> None:
    """Nor do two raw services share a port and a name."""
    raw = classic("raw", "tcp://127.0.0.1:9", "", protocol="tcp", listen_port=9443)
    other = classic("x", 9, "/x/", protocol="http", listen_port=9443)
    assert "uses port 9443" in judge(other, raw, disable_ports_whitelist=True).message
    again = {**raw, "api_id": "x"}
    assert judge(again, raw, disable_ports_whitelist=True).message == f"{FAILED}port and domain already used by raw"


def test_inactive_and_internal_ones_take_no_place() -> None:
    one = classic("one", 9, "/x/")
    assert judge(classic("x", 9, "/x/", active=False), one).api is not None
    assert judge(classic("x", 9, "/x/", internal=True), one).api is not None
    assert judge(classic("x", 9, "/x/"), {**one, "active": False}).api is not None
    assert judge(classic("one", 9, "/x/"), one).api is not None


def test_a_trial_changes_nothing_that_serves() -> None:
    """Counters of the API that is served stay: a limiter of the trial is its own."""
    tree = classic("one", 9, "/x/", global_rate_limit={"rate": 5, "per": 60})
    gateway = MemoryGateway(tree)
    before = dict(vars(gateway.state.limiters))
    trial = Trial(gateway.config, gateway.reactor, gateway.deadlines, gateway.clock)
    changed = {**tree, "global_rate_limit": {"rate": 6, "per": 60}}
    assert judge_definition(changed, "/apps/one.json", is_oas=False, others=[], trial=trial).api is not None
    assert vars(gateway.state.limiters) == before


@pytest.mark.parametrize(
    ("path", "message", "told"),
    [
        ("client_certificates[0]", "no such file", "a certificate or key cannot be used"),
        ("client_certificates[0]", "file cannot be read: Permission denied", "a certificate or key cannot be used"),
        ("certificates[1]", "no certificate and no key in PEM form", "a certificate or key cannot be used"),
        ("proxy.target_url", "no such file", "a certificate or key cannot be used"),
        ("x-tyk-api-gateway.upstream.mutualTLS.x", "no such file", "a certificate or key cannot be used"),
        ("client_certificates", "the list is empty: nobody gets in", "the list is empty"),
        ("proxy.target_url", "not usable as an upstream: no host", "not usable as an upstream"),
        ("use_basic_auth", "basic authentication is not active yet", "basic authentication is not active yet"),
    ],
)
def test_nobody_learns_whether_a_file_exists(path: str, message: str, told: str) -> None:
    text = describe(Problem("/apps/x.json", path, "", message))
    assert text.startswith(f"{path}: {told}")
    assert "no such file" not in text and "PEM" not in text and "Permission" not in text


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (
            {"use_keyless": False, "use_oauth2": True},
            "use_oauth2: authentication by OAuth 2.0 is not active yet, so that the API is refused "
            "(take it out, or leave the API to another gateway until this one has it).",
        ),
        (
            {"use_keyless": False, "use_standard_auth": True, "base_identity_provided_by": "JWTClaim"},
            "base_identity_provided_by: names a method that the API does not use: every request would be refused (switch the method on).",
        ),
        ({"use_keyless": "no"}, "use_keyless: must be true or false, not text."),
    ],
)
def test_a_refusal_says_what_to_do(fields: dict[str, Any], reason: str) -> None:
    """Whoever writes definitions by the control API may not see the log, where the remedy stands too."""
    assert judge(classic("x", 9, "/x/", **fields)).message == FAILED + reason


def test_a_warning_says_what_to_do() -> None:
    """The seed's bad example is a domain, and hides no file."""
    tree = classic("x", 9, "/x/", upstream_certificates={"https://up.test": "/none.pem"})
    remedy = "write host, host:port, *.rest or *, without a scheme"
    assert f"upstream_certificates.https://up.test: matches no upstream ({remedy})" in judge(tree).warnings


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"proxy": {"target_url": ""}}, "proxy.target_url: can't be empty (name the upstream: https://host:port/)"),
        ({"proxy": {"target_url": "http://a b/"}}, "proxy.target_url: cannot be used as an address: "),
        ({"proxy": {"target_url": "tcp://a:1"}}, "proxy.target_url: tcp:// and tls:// are for raw services only"),
        ({"proxy": {"target_url": "http://u:p@a/"}}, "proxy.target_url: user name and password in the address are not used"),
        ({"use_keyless": False, "auth": {"use_certificate": True}}, "auth.use_certificate: the API's port speaks plain HTTP: "),
        (
            {"use_keyless": False, "use_basic_auth": True, "auth": {"use_certificate": True}},
            "auth.use_certificate: a certificate in place of a key belongs to the auth token, which is off",
        ),
    ],
)
def test_what_names_no_file_is_told_as_it_is(fields: dict[str, Any], told: str) -> None:
    """An empty address is no certificate that cannot be used."""
    verdict = judge(classic("x", 9, "/x/", **fields))
    assert [text for text in (verdict.message.removeprefix(FAILED), *verdict.warnings) if text.startswith(told)]


def test_a_long_report_is_cut(tmp_path: Path) -> None:
    problems = [Problem(f"/apps/{number}.json", "", "", "broken") for number in range(25)]
    text = describe_all([*problems, Problem("/apps/w.json", "", "", "only a warning", severity="warning")])
    assert text.startswith("/apps/0.json: broken; ")
    assert text.endswith("; and 5 more, see the log")
    assert "warning" not in text
    assert describe_all([]) == ""


def test_many_reasons_are_counted() -> None:
    entries = [{"path": "/(", "method": ""}] * 12
    tree = classic("x", 9, "/x/", version={"use_extended_paths": True, "extended_paths": {"white_list": entries}})
    assert judge(tree).message.endswith("; and 2 more.")


def test_references_are_judged_as_those_of_the_rest_api(tmp_path: Path) -> None:
    """A stored certificate counts, a file outside of the folders does not, and a reason never tells one fault from another."""
    from tests.support.certs import make_self_signed
    from tests.support.keys import run
    from tlsgate.certs.shelf import CertificateShelf

    alice = make_self_signed("alice")
    (tmp_path / "in").mkdir()
    for name in ("in/a.pem", "a.pem"):
        (tmp_path / name).write_text(alice.pem)
    gateway = MemoryGateway(tlsgate={"certificates": {"folders": [str(tmp_path / "in")]}})
    id = run(gateway.state.certificates.add("org", alice.pem.encode()))
    shelf = CertificateShelf(gateway.state.certificates)
    run(shelf.fill([id, "org" + "0" * 64]))
    trial = Trial(gateway.config, gateway.reactor, gateway.deadlines, gateway.clock, shelf)

    def warnings(reference: str) -> tuple[str, ...]:
        tree = classic("x", 9, "/x/", use_mutual_tls_auth=True, client_certificates=[reference])
        verdict = judge_definition(tree, "/apps/x.json", is_oas=False, others=[], trial=trial)
        assert verdict.api is not None
        return verdict.warnings

    plain = warnings(id)
    assert warnings(str(tmp_path / "in/a.pem")) == plain
    assert "grants nothing" not in " ".join(plain)
    told = {warnings(reference) for reference in (str(tmp_path / "a.pem"), "/etc/shadow", "/nowhere", "org" + "0" * 64)}
    assert len(told) == 1
    assert "grants nothing" in " ".join(told.pop())

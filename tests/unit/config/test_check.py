"""What a start would read is looked at without starting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.certs import NOW, make_authority, make_self_signed
from tests.support.definitions import SECRET, classic, oas
from tlsgate.config.check import check
from tlsgate.definitions.origins import record
from tlsgate.errors import PkiError
from tlsgate.pki.references import ReferenceResolver

CA = make_authority("Root")
OTHER = make_authority("Other")
SERVER = CA.issue("gate.test", usages=None, names=["gate.test"])
CLIENT = CA.issue("client")
DAY = 86400.0


class Clock:
    def now(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return 0.0


class Folder:
    """A configuration with its files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "apps").mkdir()

    def file(self, name: str, text: str) -> str:
        (self.path / name).write_text(text)
        return str(self.path / name)

    def check(self, *apis: dict[str, Any], **members: Any) -> list[str]:
        for number, api in enumerate(apis):
            (self.path / "apps" / f"{number}.json").write_text(json.dumps(api))
        config = self.file("tyk.conf", json.dumps({"secret": SECRET, "app_path": str(self.path / "apps"), **members}))
        problems = check(config, {}, Clock())
        return [f"{problem.severity}: {problem.path}: {problem.message}" for problem in problems]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_a_good_configuration_has_no_problems(folder: Folder) -> None:
    """Everything in use is there: certificates, lists, pins, policies, templates."""
    server, client, ca = folder.file("s.pem", SERVER.full_pem), folder.file("c.pem", CLIENT.full_pem), folder.file("ca.pem", CA.pem)
    folder.file("policies.json", "{}")
    api = classic(
        use_mutual_tls_auth=True,
        client_certificates=[ca, CLIENT.pem],
        upstream_certificates={"up.test:8000": client},
        pinned_public_keys={"up.test": f"{ca},{server}"},
        **{"x-tlsgate": {"upstream_ca": [ca]}},
    )
    assert (
        folder.check(
            api,
            http_server_options={"use_ssl": True, "ssl_certificates": [server]},
            security={"certificates": {"apis": [ca], "upstream": {"*": client}, "control_api": [ca]}, "control_api_use_mutual_tls": True},
            policies={"policy_record_name": str(folder.path / "policies.json")},
            template_path=str(folder.path),
            tlsgate={"upstream_ca": [ca]},
        )
        == []
    )


def test_an_unreadable_configuration_is_the_only_problem(folder: Folder) -> None:
    """There is nothing else to look at."""
    (problem,) = check(folder.file("tyk.conf", "{"), {})
    assert problem.message.startswith("not valid JSON")


def test_problems_of_all_parts_are_found_at_once(folder: Folder) -> None:
    """Configuration, definitions and certificates."""
    problems = folder.check(
        classic(api_id="one", use_mutual_tls_auth=True, client_certificates=["/none.pem"]),
        classic(api_id="two", use_keyless=False, use_oauth2=True, proxy={"listen_path": "/two/"}),
        listen_port="x",
        http_server_options={"use_ssl": True, "ssl_certificates": ["/none.pem"]},
    )
    assert [problem.split(": ")[1] for problem in problems if problem.startswith("error")] == [
        "listen_port",
        "use_oauth2",
        "http_server_options.ssl_certificates[0]",
        "http_server_options.ssl_certificates",
        "one",
    ]


def test_server_certificates_need_a_key_of_their_own(folder: Folder) -> None:
    """Missing, foreign, none at all; a certificate without a key is skipped as in Tyk."""
    good = folder.file("good.pem", SERVER.full_pem)
    keyless = folder.file("keyless.pem", SERVER.pem)
    foreign = folder.file("foreign.pem", SERVER.pem + CLIENT.key_pem)
    empty = folder.file("empty.pem", "nothing")
    key = folder.file("key.pem", SERVER.key_pem)
    assert folder.check(http_server_options={"use_ssl": True, "ssl_certificates": [good, keyless, foreign, empty, key]}) == [
        "warning: http_server_options.ssl_certificates[1]: holds no private key",
        "error: http_server_options.ssl_certificates[2]: the private key belongs to another certificate",
        f"error: http_server_options.ssl_certificates[3]: {_reason(empty)}",
        "error: http_server_options.ssl_certificates[4]: holds no certificate",
    ]


def _reason(path: str) -> str:
    with pytest.raises(PkiError) as caught:
        ReferenceResolver().resolve(path)
    return str(caught.value)


def test_a_key_that_cannot_be_compared_is_named(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate with a key of a kind that nobody can read."""

    def raise_error(*_: object) -> bool:
        raise PkiError("public key of the certificate cannot be read")

    monkeypatch.setattr("tlsgate.config.check.key_matches", raise_error)
    problems = folder.check(http_server_options={"ssl_certificates": [folder.file("s.pem", SERVER.full_pem)]})
    assert problems == ["error: http_server_options.ssl_certificates[0]: public key of the certificate cannot be read"]


def test_pairs_of_files_are_joined(folder: Folder) -> None:
    """The older form; domain names do not matter here."""
    certificate, key, other = folder.file("c", SERVER.pem), folder.file("k", SERVER.key_pem), folder.file("o", CLIENT.key_pem)
    assert folder.check(http_server_options={"use_ssl": True, "certificates": [{"cert_file": certificate, "key_file": key}]}) == []
    assert folder.check(http_server_options={"use_ssl": True, "certificates": [{"cert_file": certificate, "key_file": other}]}) == [
        "error: http_server_options.certificates[0]: the private key belongs to another certificate",
        "error: http_server_options.ssl_certificates: use_ssl is on, but there is no usable server certificate",
    ]
    problems = folder.check(http_server_options={"certificates": [{"cert_file": certificate, "key_file": "/none"}]})
    assert problems == ["error: http_server_options.certificates[0]: no such file"]


@pytest.mark.parametrize(
    ("not_after", "message"),
    [
        (NOW - 1, "the certificate has expired"),
        (NOW + 1, "the certificate expires in 0 days"),
        (NOW + 30 * DAY - 1, "the certificate expires in 29 days"),
        (NOW + 30 * DAY, ""),
    ],
)
def test_expiry_is_a_warning(folder: Folder, not_after: float, message: str) -> None:
    """Thirty days ahead, or as configured."""
    certificate = folder.file("s.pem", CA.issue("gate.test", names=["gate.test"], not_after=not_after).full_pem)
    problems = folder.check(http_server_options={"use_ssl": True, "ssl_certificates": [certificate]})
    assert problems == ([f"warning: http_server_options.ssl_certificates[0]: {message}"] if message else [])


def test_a_port_of_its_own_that_speaks_tls_needs_a_certificate(folder: Folder) -> None:
    """Also when the main listener is plain."""
    api = classic(protocol="https", listen_port=9000)
    assert folder.check(api, disable_ports_whitelist=True) == [
        "error: http_server_options.ssl_certificates: app speaks https, but there is no usable server certificate"
    ]
    api = classic(protocol="https", listen_port=9000, domain="gate.test", certificates=[folder.file("s.pem", SERVER.full_pem)])
    assert folder.check(api, disable_ports_whitelist=True, enable_custom_domains=True) == []


def test_allow_lists_are_looked_at(folder: Folder) -> None:
    """What is unusable grants nothing; nothing left is said."""
    list_of_bad = ["/none.pem", "0" * 64, CLIENT.key_pem]
    problems = folder.check(
        classic(use_mutual_tls_auth=True, client_certificates=list_of_bad),
        http_server_options={"use_ssl": True, "ssl_certificates": [folder.file("s.pem", SERVER.full_pem)]},
    )
    assert [problem.split(":")[0] for problem in problems] == ["error", "warning", "warning", "warning"]
    assert "an id of the certificate store" in problems[1]
    assert problems[-1] == "warning: app: client_certificates: no usable certificate: nobody gets in"
    assert "PRIVATE" not in str(problems)


def test_lists_of_apis_without_mtls_are_not_read(folder: Folder) -> None:
    """They are without effect, and said to be."""
    assert folder.check(classic(client_certificates=["/none.pem"])) == [
        "warning: client_certificates: without effect: use_mutual_tls_auth is off"
    ]


def test_inactive_apis_are_not_looked_at(folder: Folder) -> None:
    """Their certificates may be missing."""
    assert folder.check(classic(active=False, upstream_certificates={"*": "/none.pem"})) == []


def test_the_control_api_needs_somebody_to_let_in(folder: Folder) -> None:
    """With mutual TLS and an empty list it lets nobody in."""
    assert folder.check(security={"control_api_use_mutual_tls": True}) == [
        "error: security.certificates.control_api: control_api_use_mutual_tls is on, but no certificate is usable: nobody gets in"
    ]


def test_upstream_certificates_and_pins_are_looked_at(folder: Folder) -> None:
    """A request that needs a certificate never goes without one, so that it fails."""
    client = folder.file("c.pem", CLIENT.full_pem)
    problems = folder.check(
        oas(
            upstream={
                "mutualTLS": {
                    "enabled": True,
                    "domainToCertificateMapping": [
                        {"domain": "a.test", "certificate": client},
                        {"domain": "b.test", "certificate": CLIENT.pem},
                        {"domain": "c.test", "certificate": "/none.pem"},
                    ],
                },
                "certificatePinning": {"enabled": True, "domainToPublicKeysMapping": [{"domain": "a.test", "publicKeys": ["/none.pem"]}]},
            },
            **{"x-tlsgate": {"upstream_ca": ["/none.pem"]}},
        )
    )
    assert problems == [
        "error: app: upstream_certificates.b.test: holds no private key",
        "error: app: upstream_certificates.c.test: no such file",
        "error: app: pinned_public_keys.a.test[0]: no such file",
        "error: app: x-tlsgate.upstream_ca[0]: no such file",
    ]


def test_keys_that_sign_for_upstreams_are_looked_at(folder: Folder) -> None:
    """A private key alone will do; a request that cannot be signed fails."""
    bare, both, public = folder.file("k.pem", CLIENT.key_pem), folder.file("b.pem", CLIENT.full_pem), folder.file("p.pem", CLIENT.pem)
    for number, reference in enumerate((bare, both, public, "/none.pem")):
        signing = {"is_enabled": True, "key_id": "k", "algorithm": "rsa-sha256", "certificate_id": reference}
        problems = folder.check(classic(request_signing=signing))
        told = (None, None, "holds no private key", "no such file")[number]
        assert problems == ([f"error: app: request_signing.certificate_id: {told}"] if told else []), reference
    assert folder.check(classic(request_signing={"is_enabled": True, "key_id": "k", "algorithm": "hmac-sha256"})) == [
        "warning: request_signing.secret: is missing, and needed for signing: requests are refused with 500 until then"
    ]


def test_an_old_self_signed_client_certificate_is_fine_for_an_upstream(folder: Folder) -> None:
    """Expiry warns, and changes nothing."""
    old = folder.file("o.pem", make_self_signed("old", not_after=NOW - DAY).full_pem)
    assert folder.check(classic(upstream_certificates={"*": old})) == ["warning: app: upstream_certificates.*: the certificate has expired"]


def test_policies_are_read(folder: Folder) -> None:
    """Reference, section 2.5: a folder wins over one file."""
    (folder.path / "p").mkdir()
    (folder.path / "p" / "a.json").write_text("{}")
    (folder.path / "p" / "b.json").write_text("{")
    (folder.path / "p" / "c.txt").write_text("{")
    (problem,) = folder.check(policies={"policy_path": str(folder.path / "p"), "policy_record_name": "/none"})
    assert "not valid JSON" in problem
    (problem,) = folder.check(policies={"policy_record_name": "/none"})
    assert "cannot be read" in problem
    (problem,) = folder.check(policies={"policy_path": "/none"})
    assert problem.startswith("error: policies.policy_path: cannot be read")
    (problem,) = folder.check(policies={"policy_source": "service"})
    assert problem == "error: policies.policy_source: only files are supported"


def test_templates_need_their_folder(folder: Folder) -> None:
    """Tyk does not start without it."""
    assert folder.check(template_path="/none") == ["error: template_path: is no directory"]


def test_folders_for_certificates_are_respected(folder: Folder) -> None:
    """A definition may not name any file of the host (mTLS reference, section 1)."""
    (folder.path / "certs").mkdir()
    inside, outside = folder.file("certs/a.pem", CLIENT.full_pem), folder.file("b.pem", CLIENT.full_pem)
    api = classic(upstream_certificates={"a.test": inside, "b.test": outside})
    (problem,) = folder.check(api, tlsgate={"certificate_folders": [str(folder.path / "certs")]})
    assert problem.startswith("error: app: upstream_certificates.b.test: ")


def test_ids_of_the_store_are_left_to_the_gateway(folder: Folder) -> None:
    """Nothing is asked here: what may be there is no error."""
    problems = folder.check(http_server_options={"use_ssl": True, "ssl_certificates": ["org" + "a" * 64]})
    assert problems == ["warning: http_server_options.ssl_certificates[0]: an id of the certificate store, not looked up here"]


def test_definitions_of_the_rest_api_name_files_of_its_folders_only(folder: Folder) -> None:
    """`tlsgate.certificates.folders`; a file that was changed on disk afterwards may name what it likes."""
    (folder.path / "certs").mkdir()
    inside, outside = folder.file("certs/a.pem", CLIENT.full_pem), folder.file("b.pem", CLIENT.full_pem)
    definition = classic(upstream_certificates={"a.test": inside, "b.test": outside, "c.test": "/none.pem"})
    content = json.dumps(definition).encode()
    limited = {"certificates": {"folders": [str(folder.path / "certs")]}}
    name = "by-rest.json"
    (folder.path / "apps" / name).write_bytes(content)
    record(str(folder.path / "apps"), name, content)
    found = folder.check(tlsgate=limited)
    assert [problem.split(": ")[2] for problem in found] == ["upstream_certificates.b.test", "upstream_certificates.c.test"]
    assert len({problem.split(": ")[3] for problem in found}) == 1
    (folder.path / "apps" / name).write_bytes(content + b"\n")
    assert [problem.split(": ")[2] for problem in folder.check(tlsgate=limited)] == ["upstream_certificates.c.test"]


def test_what_the_store_needs_is_looked_for(folder: Folder) -> None:
    """The folder of the SQLite file; the files of TLS towards Redis."""
    assert folder.check(storage={"path": "/none/tlsgate.db"}) == ["warning: storage.path: its folder is not there"]
    assert folder.check(storage={"path": str(folder.path)}) == ["warning: storage.path: is a folder"]
    assert folder.check(storage={"path": str(folder.path / "new.db")}) == []
    there = folder.file("ca.pem", CLIENT.pem)
    redis = {"type": "redis", "ca_file": "/none/ca.pem", "cert_file": there, "key_file": "/none/key.pem"}
    assert folder.check(storage={**redis, "use_ssl": True}, node_secret=SECRET) == [
        "error: storage.ca_file: there is no such file",
        "error: storage.key_file: there is no such file",
    ]
    assert folder.check(storage=redis, node_secret=SECRET) == []


def test_the_clock_of_the_machine_is_the_default(folder: Folder) -> None:
    """For the command line."""
    assert check(folder.file("tyk.conf", json.dumps({"secret": SECRET, "app_path": str(folder.path / "apps")})), {}) == []

"""Every field that names a certificate is known (mTLS reference, sections 1 and 3)."""

from __future__ import annotations

from typing import Any

from tests.support.gateway import classic
from tests.support.memory_gateway import MemoryGateway
from tlsgate.certs.uses import ids_in_tree, list_uses, store_ids

NUMBERS = [f"org{number:064x}" for number in range(20)]


def gateway(*apis: dict[str, Any], **config: Any) -> Any:
    return MemoryGateway(*apis, **config)


EVERYWHERE = {
    "http_server_options": {
        "ssl_certificates": [NUMBERS[0], "/a.pem"],
        "certificates": [{"domain_name": "a", "cert_file": NUMBERS[1], "key_file": NUMBERS[2]}],
    },
    "security": {
        "control_api_use_mutual_tls": True,
        "certificates": {"apis": [NUMBERS[3]], "upstream": {"*": NUMBERS[4]}, "control_api": [f" {NUMBERS[5]} "]},
        "pinned_public_keys": {"a.test": f"{NUMBERS[6]},{NUMBERS[7]}"},
    },
    "tlsgate": {"upstream_ca": [NUMBERS[8]]},
    "enable_custom_domains": True,
}
API = classic(
    "one",
    9,
    domain="a.test",
    certificates=[NUMBERS[9]],
    use_mutual_tls_auth=True,
    client_certificates=[NUMBERS[10]],
    upstream_certificates={"b.test": NUMBERS[11]},
    pinned_public_keys={"b.test": NUMBERS[12]},
    request_signing={"is_enabled": True, "key_id": "k", "algorithm": "rsa-sha256", "certificate_id": NUMBERS[14]},
    **{"x-tlsgate": {"upstream_ca": [NUMBERS[13]]}},
)


def test_every_field_is_listed() -> None:
    """With what it is for; a definition's own CA beside the gateway's."""
    made = gateway(API, **EVERYWHERE)
    uses = list(list_uses(made.config, made.generation.definitions))
    assert store_ids(made.config, made.generation.definitions) == set(NUMBERS[:15])
    assert {(use.reference.strip(), use.api_id, use.role) for use in uses if use.reference != "/a.pem"} == {
        *((NUMBERS[at], "", "server") for at in (0, 1, 2)),
        *((NUMBERS[at], "", "client") for at in (3, 5)),
        (NUMBERS[4], "", "upstream"),
        *((NUMBERS[at], "", "pin") for at in (6, 7)),
        (NUMBERS[8], "", "authority"),
        (NUMBERS[9], "one", "server"),
        (NUMBERS[10], "one", "client"),
        (NUMBERS[11], "one", "upstream"),
        (NUMBERS[12], "one", "pin"),
        (NUMBERS[13], "one", "authority"),
        (NUMBERS[14], "one", "signing"),
    }
    assert "API one: client_certificates" in map(str, uses)
    assert "security.certificates.apis" in map(str, uses)


def test_lists_that_nobody_reads_are_no_use() -> None:
    """Without static mTLS a list has no effect."""
    made = gateway(classic("one", 9, client_certificates=[NUMBERS[0]]), security={"certificates": {"control_api": [NUMBERS[1]]}})
    assert store_ids(made.config, made.generation.definitions) == set()


def test_ids_are_found_anywhere_in_a_tree() -> None:
    """Before a definition is read: in lists, maps, and pins with commas; nothing else is an id."""
    tree = {"a": [NUMBERS[0], {"b": f"x, {NUMBERS[1]},{NUMBERS[2]}"}], "c": 5, "d": None, "e": "/a/path", NUMBERS[3]: True}
    assert ids_in_tree(tree) == set(NUMBERS[:3])
    assert ids_in_tree("") == set()

"""Every endpoint of the control API and every error row of the references over real HTTP, in one table each.

Source: keys reference, section 11; mTLS reference, section 2; API definitions reference, section 3. What only a fault inside can bring
about (a file system, a clock) stands in tests/unit/control; issue 5, acceptance 2.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certs import make_self_signed, pem_of
from tests.support.control import Api, Reply, policy_folder, rights, token_api
from tests.support.gateway import classic, oas, running_gateway
from tests.support.redis_server import needs_redis, redis_server

BODY: dict[str, Any] = {"org_id": "org", "access_rights": rights()}
ONE, TWO = make_self_signed("one"), make_self_signed("two")
CERT, OTHER = "org" + ONE.fingerprint, "org" + "cd" * 32
PLAIN: dict[str, Any] = {"openapi": "3.0.3", "info": {"title": "Pets", "version": "1"}, "paths": {}}
UNSAFE = "Failed to create key, ensure security settings are correct."
NO_RIGHTS = "Failed to create key, keys must have at least one Access Rights record set."
MALFORMED = "Request malformed"
FAILED = "Validation of API Definition failed. Reason: "
SHORT = (
    "custom key ID length 2 is less than min_token_length (3); the key would be unreachable at auth time. Use an ID of at least "
    "min_token_length characters, or lower min_token_length in the gateway configuration."
)
Row = tuple[str, str, Any, int, str]
"""Method, target, body, status, message."""


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """With a folder of policies, an API of each form, a certificate and a key in it."""
    policies = {"policy_source": "file", "policy_path": str(policy_folder(tmp_path))}
    health = {"enable_health_checks": True}
    apis = (token_api(), classic("one", 9, "/one/"), oas("doc", 9, "/doc/"))
    with running_gateway(tmp_path, *apis, policies=policies, health_check=health) as gateway:
        made = Api(gateway)
        assert made.call("POST", "/tyk/certs?org_id=org", ONE.pem.encode()).status == 200
        assert made.call("POST", "/tyk/keys/the-key", BODY).status == 200
        yield made


def judge(api: Api, rows: list[Row]) -> None:
    """Ask, and compare status and message of each."""
    found = [(method, target, *told(api.call(method, target, body))) for method, target, body, _, _ in rows]
    assert found == [(method, target, status, message) for method, target, _, status, message in rows]


def told(reply: Reply) -> tuple[int, str]:
    """Status and message of an error in the form of the control API."""
    assert isinstance(reply.body, dict) and sorted(reply.body) == ["message", "status"], reply
    return reply.status, reply.message


def test_every_endpoint_answers(api: Api) -> None:
    """One call to each path and method that the description lists, and to no others, in an order in which all can do their work."""
    document = oas("docs", 9, "/docs/")
    policy = {"id": "gold", **BODY}
    calls: list[tuple[str, str, Any]] = [
        ("POST", "/tyk/keys", BODY),
        ("POST", "/tyk/keys/create", BODY),
        ("POST", "/tyk/keys/preview", BODY),
        ("POST", "/tyk/keys/custom", BODY),
        ("PUT", "/tyk/keys/orgcustom", BODY),
        ("GET", "/tyk/keys/orgcustom", None),
        ("GET", "/tyk/keys", None),
        ("POST", "/tyk/policies", policy),
        ("POST", "/tyk/policies/silver", {**policy, "id": "silver"}),
        ("PUT", "/tyk/policies/gold", policy),
        ("GET", "/tyk/reload?block=true", None),
        ("GET", "/tyk/policies", None),
        ("GET", "/tyk/policies/gold", None),
        ("POST", "/tyk/keys/policy/orgcustom", {"policy": "gold"}),
        ("DELETE", "/tyk/keys/orgcustom", None),
        ("DELETE", "/tyk/policies/gold", None),
        ("GET", "/tyk/apis", None),
        ("POST", "/tyk/apis", classic("new", 9, "/new/")),
        ("POST", "/tyk/apis/newer", classic("newer", 9, "/newer/")),
        ("POST", "/tyk/apis/oas", document),
        ("POST", "/tyk/apis/oas/more", oas("more", 9, "/more/")),
        ("POST", "/tyk/apis/oas/import?upstreamURL=http://127.0.0.1:9&listenPath=/imp/&authentication=false", PLAIN),
        ("GET", "/tyk/reload?block=true", None),
        ("GET", "/tyk/apis/new", None),
        ("PUT", "/tyk/apis/new", classic("new", 9, "/new/")),
        ("GET", "/tyk/apis/new/versions", None),
        ("DELETE", "/tyk/apis/new", None),
        ("GET", "/tyk/apis/oas", None),
        ("GET", "/tyk/apis/oas/export", None),
        ("GET", "/tyk/apis/oas/docs", None),
        ("PUT", "/tyk/apis/oas/docs", document),
        ("PATCH", "/tyk/apis/oas/docs", PLAIN),
        ("GET", "/tyk/apis/oas/docs/export", None),
        ("GET", "/tyk/apis/oas/docs/versions", None),
        ("DELETE", "/tyk/apis/oas/docs", None),
        ("GET", "/tyk/schema", None),
        ("POST", "/tyk/org/keys/acme", {"rate": 1, "per": 1}),
        ("PUT", "/tyk/org/keys/acme", {"rate": 1, "per": 1}),
        ("GET", "/tyk/org/keys/acme", None),
        ("GET", "/tyk/org/keys", None),
        ("DELETE", "/tyk/org/keys/acme", None),
        ("POST", "/tyk/certs?org_id=org", TWO.pem.encode()),
        ("POST", "/tyk/certs/anything?org_id=else", TWO.pem.encode()),
        ("GET", "/tyk/certs", None),
        ("GET", f"/tyk/certs/{CERT}", None),
        ("DELETE", f"/tyk/certs/{CERT}", None),
        ("DELETE", "/tyk/cache/jwks", None),
        ("DELETE", "/tyk/cache/jwks/nobody", None),
        ("GET", "/tyk/reload/group", None),
        ("GET", "/tyk/health?api_id=one", None),
        ("GET", "/tyk/openapi.json", None),
        ("GET", "/tyk/metrics", None),
        ("GET", "/hello", None),
        ("GET", "/ready", None),
    ]
    for method, target, body in calls:
        assert api.call(method, target, body).status == 200, (method, target)
    # Two that are refused by nature: Tyk's words for a missing id.
    calls += [("PUT", "/tyk/policies", None), ("DELETE", "/tyk/policies", None)]
    # Records have to be switched on for these: tests/loopback/test_explain.py.
    calls += [("GET", "/tyk/explain", None), ("GET", "/tyk/explain/some-request", None)]
    paths = api.call("GET", "/tyk/openapi.json").body["paths"]
    described = {(method.upper(), path) for path, methods in paths.items() for method in methods if method != "parameters"}
    assert {(method, shape(target, paths)) for method, target, _ in calls} == described


def shape(target: str, paths: Any) -> str:
    """The path of the description that a target belongs to."""
    path = target.partition("?")[0]
    if path in paths:
        return path
    parts = path.split("/")
    found = [known for known in paths if known.count("/") == path.count("/") and fits(known.split("/"), parts)]
    return str(max(found, key=lambda known: known.count("/") - known.count("{")))


def fits(known: list[str], parts: list[str]) -> bool:
    """Whether each part is the one that is known, or stands for one."""
    return all(one.startswith("{") or one == other for one, other in zip(known, parts, strict=True))


def test_rows_of_keys(api: Api) -> None:
    """Creation, update, look-up, deletion, lists, preview, policies of a key."""
    none = "certificate not found: " + OTHER
    assert api.call("POST", "/tyk/keys/create", {**BODY, "certificate": CERT}).key == CERT
    rows: list[Row] = [
        ("POST", "/tyk/keys/create", b"{", 500, "Unmarshalling failed"),
        ("POST", "/tyk/keys/create", {**BODY, "rate": "1"}, 500, "Unmarshalling failed"),
        ("POST", "/tyk/keys/create", {"org_id": "org"}, 400, NO_RIGHTS),
        ("POST", "/tyk/keys/create", {**BODY, "apply_policies": ["none"]}, 500, 'Failed to create key - policy not found: "none"'),
        (
            "POST",
            "/tyk/keys/create",
            {**BODY, "certificate": CERT},
            500,
            f"Failed to create key - Key with given certificate already found:{CERT}",
        ),
        ("POST", "/tyk/keys/create", {**BODY, "certificate": OTHER}, 400, none),
        ("POST", "/tyk/keys/create", {**BODY, "mtls_static_certificate_bindings": [OTHER]}, 400, none),
        ("POST", "/tyk/keys/create", {**BODY, "mtls_static_certificate_bindings": ["x"]}, 400, "invalid certificate ID: x"),
        ("POST", "/tyk/keys", b"", 400, MALFORMED),
        ("POST", "/tyk/keys", {"org_id": "org"}, 500, UNSAFE),
        ("POST", "/tyk/keys/custom", b"[]", 400, MALFORMED),
        ("POST", "/tyk/keys/ab", BODY, 400, SHORT),
        ("POST", "/tyk/keys/custom", {"org_id": "org"}, 500, UNSAFE),
        ("POST", "/tyk/keys/custom", {**BODY, "apply_policies": ["none"]}, 500, UNSAFE),
        ("POST", "/tyk/keys/custom", {**BODY, "mtls_static_certificate_bindings": [OTHER]}, 400, none),
        ("PUT", "/tyk/keys/nobody", BODY, 404, "Key is not found"),
        ("PUT", "/tyk/keys/orgthe-key", b"{", 400, MALFORMED),
        ("PUT", "/tyk/keys/orgthe-key", {"org_id": "org"}, 500, UNSAFE),
        ("PUT", "/tyk/keys/orgthe-key", {**BODY, "apply_policies": ["none"]}, 500, UNSAFE),
        ("PUT", f"/tyk/keys/{CERT}", BODY, 400, "Key cannot be used without a certificate"),
        ("PUT", f"/tyk/keys/{CERT}", {**BODY, "certificate": OTHER}, 400, "Key must be used with an existent certificate"),
        ("GET", "/tyk/keys/nobody", None, 404, "Key not found"),
        ("GET", "/tyk/keys/orgthe-key?hashed=1", None, 400, "Key requested by hash but key hashing is not enabled"),
        ("DELETE", "/tyk/keys/nobody", None, 404, "There is no such key found"),
        (
            "GET",
            "/tyk/keys?api_id=api",
            None,
            400,
            "The 'filter' parameter (Org ID) is required when filtering by 'api_id' in legacy mode",
        ),
        ("POST", "/tyk/keys/preview", b"nonsense", 500, "Unmarshalling failed"),
        ("POST", "/tyk/keys/policy/orgthe-key", b"{", 400, "Couldn't decode instruction"),
        ("POST", "/tyk/keys/policy/nobody", {"policy": "gold"}, 404, "Key not found"),
        ("PATCH", "/tyk/keys/orgthe-key", BODY, 405, "Method not supported"),
        ("DELETE", "/tyk/keys/create/", None, 405, "Method not supported"),
    ]
    judge(api, rows)
    assert api.ask("the-key")[0] == 200, "what was refused changed nothing"
    assert sorted(api.call("GET", "/tyk/keys").body["keys"]) == sorted([CERT, "orgthe-key"])


def test_rows_of_hashed_keys(tmp_path: Path) -> None:
    """The list is off by default; hashes that there are not; no key is made by its hash."""
    with running_gateway(tmp_path, token_api(), hash_keys=True) as gateway:
        judge(
            Api(gateway),
            [
                ("GET", "/tyk/keys", None, 404, "Hashed key listing is disabled in config (enable_hashed_keys_listing)"),
                ("GET", f"/tyk/keys/{'0' * 64}?hashed=1", None, 404, "Key not found"),
                ("PUT", f"/tyk/keys/{'0' * 64}?hashed=1", BODY, 404, "Key is not found"),
                ("DELETE", f"/tyk/keys/{'0' * 64}?hashed=1", None, 404, "There is no such key found"),
                ("POST", f"/tyk/keys/{'0' * 64}?hashed=1", BODY, 400, "a key cannot be created by its hash"),
            ],
        )


def together(api: Api, *calls: tuple[str, str, Any]) -> list[Reply]:
    """The answers to calls that are made at one moment."""
    barrier = threading.Barrier(len(calls))
    replies: list[Reply] = []

    def call(method: str, target: str, body: Any) -> None:
        barrier.wait(10)
        replies.append(api.call(method, target, body))

    threads = [threading.Thread(target=call, args=each) for each in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return replies


def test_rows_of_keys_that_go_meanwhile(api: Api) -> None:
    """Of deletions at one moment one removes the key, the others say what they met; what is written meanwhile never brings it back."""
    seen: set[tuple[int, str]] = set()
    wanted = {(400, "Failed to remove the key"), (500, "Could not write key data")}
    for _ in range(400):
        api.call("POST", "/tyk/keys/the-key", BODY)
        delete = ("DELETE", "/tyk/keys/orgthe-key", None)
        replies = together(api, delete, delete, delete, ("POST", "/tyk/keys/policy/orgthe-key", {"apply_policies": []}))
        assert [reply.body["action"] for reply in replies if reply.status == 200 and reply.body["action"] == "deleted"] == ["deleted"]
        seen |= {told(reply) for reply in replies if reply.status != 200}
        assert api.ask("the-key")[0] == 403
        if wanted <= seen:
            break
    assert wanted <= seen <= wanted | {(404, "There is no such key found"), (404, "Key not found")}


def test_rows_of_policies(api: Api) -> None:
    """Ids that are missing, wrong, or do not agree; files that are not there."""
    mismatch = "Request ID does not match that in policy! For Update operations these must match."
    letters = "Invalid Policy ID: Allowed characters: a-z, A-Z, 0-9, ., _, -, ~"
    judge(
        api,
        [
            ("GET", "/tyk/policies/none", None, 404, "Policy not found"),
            ("POST", "/tyk/policies", b"{", 400, MALFORMED),
            ("PUT", "/tyk/policies/gold", b"[]", 400, MALFORMED),
            ("POST", "/tyk/policies", BODY, 400, "Unable to create policy without id."),
            ("POST", "/tyk/policies", {**BODY, "id": "a b"}, 400, letters),
            ("PUT", "/tyk/policies/a%20b", {**BODY, "id": "a b"}, 400, letters),
            ("PUT", "/tyk/policies/gold", {**BODY, "id": "silver"}, 400, mismatch),
            ("PUT", "/tyk/policies", {**BODY, "id": "gold"}, 400, "Must specify an apiID to update"),
            ("DELETE", "/tyk/policies", None, 400, "Must specify an apiID to delete"),
            ("DELETE", "/tyk/policies/none", None, 500, "Delete failed"),
            ("PATCH", "/tyk/policies/gold", BODY, 405, "Method not supported"),
        ],
    )


def test_rows_of_organisations(api: Api, tmp_path: Path) -> None:
    """Unknown ones, bodies that are none, and those that no API belongs to."""
    judge(
        api,
        [
            ("POST", "/tyk/org/keys/acme", b"{", 400, MALFORMED),
            ("PUT", "/tyk/org/keys/acme", b"[]", 400, MALFORMED),
            ("GET", "/tyk/org/keys/acme", None, 404, "Org not found"),
            ("DELETE", "/tyk/org/keys/acme", None, 404, "Org not found"),
            ("POST", "/tyk/org/keys", BODY, 405, "Method not supported"),
        ],
    )
    (tmp_path / "other").mkdir()
    with running_gateway(tmp_path / "other", token_api(), suppress_default_org_store=True) as gateway:
        other = Api(gateway)
        judge(
            other,
            [
                ("POST", "/tyk/org/keys/acme", BODY, 404, "No such organisation found in Active API list"),
                ("PUT", "/tyk/org/keys/acme", BODY, 404, "No such organisation found in Active API list"),
                ("GET", "/tyk/org/keys/acme", None, 404, "Org not found"),
                ("GET", "/tyk/org/keys?org_id=acme", None, 404, "ORG not found"),
            ],
        )
        assert other.call("POST", "/tyk/org/keys/org", BODY).status == 200


def test_rows_of_certificates(api: Api) -> None:
    """Each upload that is refused, in the order of the reference; what there is not."""
    not_pem = "Failed to decode certificate. It should be PEM encoded."
    old = make_self_signed("old", not_after=1_600_000_000)
    public = pem_of(TWO.spki, "PUBLIC KEY")
    uploads = [
        ("", not_pem),
        ("garbage", not_pem),
        (TWO.key_pem, not_pem),
        (TWO.full_pem + ONE.key_pem, "Found multiple private keys"),
        (old.pem, "certificate is expired"),
        (TWO.pem + old.pem, "certificate is expired"),
        (TWO.pem + public, "Public keys can't be combined with certificates"),
        (ONE.pem, f"Certificate with {CERT} id already exists"),
        (TWO.pem + ONE.key_pem, "tls: private key does not match public key"),
        (pem_of(b"\x30\x00"), "x509: malformed certificate"),
    ]
    missing = "Certificate with given SHA256 fingerprint not found"
    rows: list[Row] = [("POST", "/tyk/certs?org_id=org", body.encode(), 403, message) for body, message in uploads]
    judge(api, [*rows, ("GET", f"/tyk/certs/{OTHER}", None, 404, missing), ("PUT", "/tyk/certs", b"", 405, "Method not supported")])
    assert api.call("GET", "/tyk/certs?org_id=org").body == {"certs": [CERT]}
    assert api.call("GET", "/tyk/certs?org_id=none").body == {"certs": None}
    id = api.call("POST", "/tyk/certs?org_id=org", public.encode()).body["id"]
    shown = api.call("GET", f"/tyk/certs/{id}").body
    assert (shown["subject"]["CommonName"], shown["fingerprint"], shown["not_after"]) == (
        f"Public Key: {id[3:]}",
        "",
        "0001-01-01T00:00:00Z",
    )
    assert [entry and entry["id"] for entry in api.call("GET", f"/tyk/certs/{OTHER},{CERT}").body] == [None, CERT]
    for name in (OTHER, "x", CERT):
        assert api.call("DELETE", f"/tyk/certs/{name}").body == {"status": "ok", "message": "removed"}


def login(**oauth: Any) -> dict[str, Any]:
    """A definition that logs in upstream."""
    given = {"enabled": True, "allowed_authorize_types": ["clientCredentials"], "client_credentials": {"client_id": "x"}, **oauth}
    return {"upstream_auth": {"enabled": True, "oauth": given}}


METHODS = "invalid upstream OAuth client authentication method, valid values are: client_secret_basic, client_secret_post"
ZERO = "all load balancing targets have weight 0, at least one target must have weight > 0"
REASONS: list[tuple[dict[str, Any], str]] = [
    ({"graphql": {"engine": {"data_sources": [{"name": "a"}, {"name": "A"}]}}}, "duplicate data source names are not allowed"),
    (
        {"use_keyless": False, "use_standard_auth": True, "auth_configs": {"authToken": {"disable_header": True}}},
        "all auth sources are disabled for authToken, at least one of header/cookie/query must be enabled",
    ),
    ({"blacklisted_ips": ["10.0.0.0/33"]}, 'invalid IP/CIDR "10.0.0.0/33"'),
    ({"version": {"global_enforce_timeout": "soon"}}, "invalid global timeout value"),
    (
        {"version": {"use_extended_paths": True, "extended_paths": {"hard_timeouts": [{"path": "/", "method": "GET", "duration": "x"}]}}},
        "invalid timeout value",
    ),
    (
        {"upstream_auth": {**login()["upstream_auth"], "basic_auth": {"enabled": True}}},
        "multiple upstream authentication modes not allowed",
    ),
    (login(allowed_authorize_types=[]), "upstream OAuth authorization type is required"),
    (login(allowed_authorize_types=["a", "b"]), "multiple upstream OAuth authorization type not allowed"),
    (login(allowed_authorize_types=["implicit"]), "invalid OAuth authorization type"),
    (login(client_credentials={"method": "jwt"}), METHODS),
    ({"proxy": {"enable_load_balancing": True, "target_list": []}}, ZERO),
]


def test_reasons_of_definitions(api: Api) -> None:
    """Each of Tyk's reasons, on POST and on PUT; nothing is written."""
    rows: list[Row] = []
    for fields, reason in REASONS:
        rows.append(("POST", "/tyk/apis", classic("bad", 9, "/bad/", **json.loads(json.dumps(fields))), 400, f"{FAILED}{reason}."))
        rows.append(("PUT", "/tyk/apis/one", classic("one", 9, "/one/", **json.loads(json.dumps(fields))), 400, f"{FAILED}{reason}."))
    before = sorted((path.name, path.read_bytes()) for path in api.gateway.apps.iterdir())
    judge(api, rows)
    assert sorted((path.name, path.read_bytes()) for path in api.gateway.apps.iterdir()) == before


def test_what_a_document_breaks_is_listed(api: Api) -> None:
    """The schema: what is wrong, where, in a 400; of a Tyk extension too."""
    changes: tuple[dict[str, Any], ...] = (
        {"info": 5},
        {"paths": {"/x": {"get": 5}}},
        {"components": []},
        {"servers": 5},
        {"x-tyk-api-gateway": {"info": {}}},
    )
    for change in changes:
        reply = api.call("POST", "/tyk/apis/oas", {**oas("bad", 9, "/bad/"), **change})
        assert (reply.status, next(iter(change)) in reply.message) == (400, True), reply


@needs_redis
def test_rows_of_a_store_that_is_away(tmp_path: Path) -> None:
    """503 with one text, whatever the call needs the store for; not ready; ``/hello`` says it with 200; what needs no store is served."""
    with redis_server(tmp_path / "redis") as server:
        storage = {"type": "redis", "host": "127.0.0.1", "port": server.port, "timeout": 1}
        policies = {"policy_source": "file", "policy_path": str(policy_folder(tmp_path))}
        with running_gateway(tmp_path, token_api(), storage=storage, policies=policies) as gateway:
            api = Api(gateway)
            api.call("POST", "/tyk/keys/the-key", BODY)
            assert api.call("GET", "/ready").status == 200
            server.stop()
            needy: list[tuple[str, str, Any]] = [
                ("POST", "/tyk/keys/create", BODY),
                ("POST", "/tyk/keys/other", BODY),
                ("PUT", "/tyk/keys/orgthe-key", BODY),
                ("GET", "/tyk/keys/orgthe-key", None),
                ("DELETE", "/tyk/keys/orgthe-key", None),
                ("GET", "/tyk/keys", None),
                ("POST", "/tyk/keys/policy/orgthe-key", {"policy": "gold"}),
                ("GET", "/tyk/org/keys", None),
                ("POST", "/tyk/org/keys/acme", BODY),
                ("GET", "/tyk/org/keys/acme", None),
                ("DELETE", "/tyk/org/keys/acme", None),
                ("POST", "/tyk/certs?org_id=org", ONE.pem.encode()),
                ("GET", "/tyk/certs", None),
                ("GET", f"/tyk/certs/{CERT}", None),
                ("DELETE", f"/tyk/certs/{CERT}", None),
            ]
            judge(api, [(*call, 503, "Service temporarily unavailable.") for call in needy])
            assert told(api.call("GET", "/ready")) == (503, "Redis connection not available")
            hello = api.call("GET", "/hello")
            assert (hello.status, hello.body["status"], hello.body["details"]["redis"]["status"]) == (200, "fail", "fail")
            for method, target, body in (
                ("GET", "/tyk/apis", None),
                ("GET", "/tyk/policies", None),
                ("POST", "/tyk/policies", {**BODY, "id": "gold"}),
                ("POST", "/tyk/apis", classic("new", 9, "/new/")),
                ("GET", "/tyk/reload?block=true", None),
            ):
                assert api.call(method, target, body).status == 200, (method, target)
            server.start()

"""APIs that take bound tokens, in both forms, and who holds them."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from pathlib import Path
from typing import Any

from tests.support.certs import SERVER, Issued, make_authority
from tests.support.control import policy_folder, rights
from tests.support.credentials import told
from tests.support.gateway import Client, Gateway, Response, classic, oas
from tests.support.proofs import Prover, hash_token
from tests.support.provider import b64, sign_hmac

__all__ = ["SECRET", "Holder", "claims_of", "server", "thumbprint_of", "token_api", "write_gold"]

SECRET = b"0123456789abcdef0123456789abcdef"


def token_api(
    form: str,
    upstream: int,
    own: dict[str, Any] | None = None,
    *,
    individual: bool = False,
    headers: dict[str, str] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Return an API below ``/api/`` that takes JWT.

    :param own: ``x-tlsgate``.
    :param individual: each key has a secret of its own; else all tokens are signed by ``SECRET``.
    :param headers: ``global_headers``, with context variables.
    :param fields: of a Classic definition, or of ``x-tyk-api-gateway.server``.
    """
    names = {"signingMethod": "hmac", "policyFieldName": "pol", **({} if individual else {"source": b64(SECRET)})}
    if form == "oas":
        scheme = {"enabled": True, "header": {"enabled": True, "name": "Authorization"}, **names}
        server = {"authentication": {"enabled": True, "securitySchemes": {"jwt": scheme}}, **fields}
        everywhere: dict[str, Any] = {"contextVariables": {"enabled": True}}
        if headers:
            added = [{"name": name, "value": value} for name, value in headers.items()]
            everywhere["transformRequestHeaders"] = {"enabled": True, "add": added}
        made = oas("api", upstream, "/api/", server=server, middleware={"global": everywhere})
        made["components"] = {"securitySchemes": {"jwt": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}}
        made["security"] = [{"jwt": []}]
        made["x-tyk-api-gateway"]["info"]["orgId"] = "org"
    else:
        plain = {"signingMethod": "jwt_signing_method", "policyFieldName": "jwt_policy_field_name", "source": "jwt_source"}
        made = classic(
            "api",
            upstream,
            "/api/",
            use_keyless=False,
            enable_jwt=True,
            org_id="org",
            enable_context_vars=True,
            version={"global_headers": headers} if headers else {},
            **{plain[name]: value for name, value in names.items()},
            **fields,
        )
    if own is not None:
        made["x-tlsgate"] = own
    return made


def write_gold(folder: Path) -> dict[str, Any]:
    """Write the policy that opens the API, and return the configuration that names its folder."""
    policy = {"id": "gold", "org_id": "org", "access_rights": rights(), "rate": 1000, "per": 1}
    (policy_folder(folder) / "gold.json").write_text(json.dumps(policy))
    return {"policy_source": "file", "policy_path": str(folder / "policies")}


def server() -> Issued:
    """Return the gateway's certificate."""
    return make_authority().issue("localhost", names=["localhost"], usages=SERVER)


def thumbprint_of(identity: Issued) -> str:
    """Return ``x5t#S256`` of a client."""
    return base64.urlsafe_b64encode(hashlib.sha256(identity.der).digest()).rstrip(b"=").decode()


def claims_of(**claims: Any) -> dict[str, Any]:
    """Return those of alice, for five minutes."""
    return {"sub": "alice", "exp": int(time.time()) + 300, "pol": "gold", **claims}


class Holder:
    """A client with a token that is bound to its proof key.

    :param claims: further ones of the token.
    """

    def __init__(self, gateway: Gateway, prover: Prover | None = None, *, tls: bool = True, **claims: Any) -> None:
        self.gateway = gateway
        self.prover = prover or Prover()
        self.tls = tls
        self.token = sign_hmac(claims_of(cnf={"jkt": self.prover.thumbprint}, **claims), SECRET)

    @property
    def origin(self) -> str:
        return f"{'https' if self.tls else 'http'}://localhost:{self.gateway.port}"

    def proof(self, method: str = "GET", path: str = "/api/x", token: str | None = None, **claims: Any) -> str:
        """Return a proof for a request; ``header`` names further members of its header."""
        header = claims.pop("header", {})
        made = {"htm": method, "htu": self.origin + path, "iat": int(time.time()), "ath": hash_token(token or self.token)}
        return self.prover.sign({**made, **claims}, **header)

    def send(
        self,
        *proofs: str,
        scheme: str = "DPoP",
        token: str | None = None,
        method: str = "GET",
        target: str = "/api/x",
        headers: tuple[tuple[str, str], ...] = (),
        identity: Issued | None = None,
    ) -> Response:
        """Send a request on a connection of its own."""
        lines = [("Authorization", f"{scheme} {token or self.token}"), *(("DPoP", proof) for proof in proofs), *headers]
        with Client(self.gateway.port, sni="localhost", identity=identity, tls=self.tls) as client:
            return client.request(method, target, host=f"localhost:{self.gateway.port}", headers=lines)

    def ask(self, *proofs: str, **request: Any) -> tuple[int, str]:
        """Send a request; status and message of what came back."""
        return told(self.send(*proofs, **request))

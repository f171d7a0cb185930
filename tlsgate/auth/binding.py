"""Tokens that are good only for whoever holds a certificate's key; knows claims and the connection, nothing of signatures.

A confirmation that cannot be checked here (DPoP and others) refuses the token: without the check it would be good for everybody who has
seen it. Source: RFC 7800 section 3.1, RFC 8705 section 3.1, RFC 9449 section 6.
"""

from __future__ import annotations

import base64
import hmac
import re
from typing import Any

from tlsgate.auth.claims import ClaimFault
from tlsgate.model.exchange import Exchange

__all__ = ["check_binding", "find_binding"]

_BASE64URL = re.compile(r"[A-Za-z0-9_-]{43}")
"""32 bytes."""
_THUMBPRINT = "x5t#S256"


def find_binding(claims: dict[str, Any], *, required: bool = False) -> str:
    """Return the fingerprint that the client's certificate must have, empty where any client may use the token.

    :param required: a token without one is refused.
    :raises ClaimFault: the token is bound to something else, or to nothing readable.
    """
    confirmation = claims.get("cnf")
    if confirmation is None and "cnf" not in claims:
        if required:
            raise ClaimFault("the token is not bound to a certificate")
        return ""
    if not isinstance(confirmation, dict) or set(confirmation) != {_THUMBPRINT}:
        raise ClaimFault("the token is bound to a proof that is not supported")
    text = confirmation[_THUMBPRINT]
    # The example of RFC 8705 has bits that are left over: of a hash that is compared they say nothing.
    if not isinstance(text, str) or _BASE64URL.fullmatch(text) is None:
        raise ClaimFault("the token is bound to a certificate that it does not name well")
    return base64.urlsafe_b64decode(text + "=").hex()


def check_binding(exchange: Exchange, fingerprint: str) -> None:
    """Let a request pass whose client has proved the key of the certificate that its token is bound to, in this connection.

    :param fingerprint: of :func:`find_binding`; empty asks for nothing.
    :raises ClaimFault: it has not.
    """
    if not fingerprint:
        return
    tls = exchange.connection.tls
    if tls is None or tls.peer is None:
        raise ClaimFault("the token needs its client certificate")
    if not hmac.compare_digest(tls.peer.fingerprint.encode(), fingerprint.encode()):
        raise ClaimFault("the token is bound to another client certificate")

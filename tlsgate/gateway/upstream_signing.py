"""From ``request_signing`` to what signs: checks that it is complete and finds the key; once per load. Knows nothing of requests.

What cannot be used is said at load, and its requests are refused as Tyk refuses them (decisions 1.8): none goes unsigned.
Source: token reference, section 8; docs/design/0019.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import rsa

from tlsgate.auth.cavage import ALGORITHMS, RSA_SHA256
from tlsgate.config.references import is_reference
from tlsgate.errors import ConfigError, PkiError, Problem, WireError
from tlsgate.model.credentials import SIGNATURE_ALGORITHMS
from tlsgate.pki.references import describe_reference
from tlsgate.transform.request_signing import CavageSigner, MessageSigner, RequestSigner, Unsigned
from tlsgate.wire.forwarding import validate_header
from tlsgate.wire.message_signatures import MessageSignature

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlsgate.clock import Clock
    from tlsgate.model.api import ApiDefinition
    from tlsgate.model.credentials import RequestSigning
    from tlsgate.pki.pem import PemBundle

__all__ = ["build_request_signer"]

_REMEDY = "its requests are refused until then"
_NOT_FOR_SIGNATURES = frozenset({"connection", "content-length", "expect", "host", "te", "trailer", "transfer-encoding", "upgrade"})


def build_request_signer(
    api: ApiDefinition, *, resolve: Callable[[str], PemBundle], note: Callable[[Problem], None], clock: Clock, reactor: Any
) -> RequestSigner | None:
    """Return what signs the requests of an API, None where they go unsigned.

    :param resolve: a reference to what it holds; raises ``PkiError``.
    :param note: keeps a problem for the report of this load.
    :raises ConfigError: names that can be no header, or a key id that can stand in none.
    """
    settings = api.request_signing
    if settings is None:
        return None
    modern = settings.rules.format == "rfc9421"
    _check_texts(api, settings)

    def refuse(refusal: str, reason: str) -> RequestSigner:
        note(Problem(api.source, "request_signing.certificate_id", describe_reference(settings.certificate), reason, _REMEDY))
        return Unsigned(refusal, reason)

    algorithm = settings.algorithm
    secret = settings.uses_secret
    # Said already, when the definition was read.
    if not (settings.key_id and algorithm and (settings.secret if secret else settings.certificate)):
        return Unsigned("signing.fields", "key_id, algorithm, secret or certificate_id is missing")
    if secret and is_reference(settings.secret):
        # It could not be resolved, which was said: the words of a definition are no secret.
        return Unsigned("signing.fields", "the reference of the secret cannot be resolved")
    known: tuple[str, ...] = SIGNATURE_ALGORITHMS if modern else ALGORITHMS
    if algorithm not in known or not (modern or not api.hmac.algorithms or algorithm in api.hmac.algorithms):
        return Unsigned("signing.algorithm", "the algorithm is unknown or not allowed")
    key: Any = None
    if not secret:
        try:
            bundle = resolve(settings.certificate)
        except PkiError as problem:
            return refuse("signing.certificate", str(problem))
        key = bundle.private_key
        if key is None or (algorithm == RSA_SHA256 and not isinstance(key, rsa.RSAPrivateKey)):
            return refuse("signing.key", bundle.key_fault or "has no private key that can sign so")
    if not modern:
        return CavageSigner(settings, key, clock)
    rules = settings.rules
    try:
        signature = MessageSignature(
            algorithm,
            settings.secret.encode() if secret else key,
            key_id=settings.key_id,
            label=rules.label,
            tag=rules.tag,
            expires_s=rules.expires_s,
        )
    except ValueError as problem:
        return refuse("signing.key", f"the key is of another kind: {problem}")
    return MessageSigner(settings, signature, clock, reactor)


def _check_texts(api: ApiDefinition, settings: RequestSigning) -> None:
    """Refuse what could end a line or break the request: the rest is for the requests to fail by."""
    problems = []
    header = settings.signature_header or "Authorization"
    for field, name in (("signature_header", header), *(("header_list", name) for name in settings.headers)):
        if name.lower() == "(request-target)" and field == "header_list":
            continue
        try:
            validate_header(name.encode(), b"")
        except WireError:
            problems.append(Problem(api.source, f"request_signing.{field}", name, "is no name of a header"))
    if header.lower().replace("_", "-") in _NOT_FOR_SIGNATURES:
        problems.append(
            Problem(api.source, "request_signing.signature_header", header, "belongs to the connection and cannot hold a signature")
        )
    if not (settings.key_id.isascii() and (settings.key_id.isprintable() or not settings.key_id)):
        problems.append(Problem(api.source, "request_signing.key_id", settings.key_id, "must be printable ASCII"))
    if problems:
        raise ConfigError(problems)

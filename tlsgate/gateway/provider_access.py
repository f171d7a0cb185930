"""By what means identity providers are asked: CAs, our certificate, the key of our assertions; read when a generation is built.

What cannot be read lets nobody be asked, rather than asked in another way. Source: JWT reference, sections 13 and 15; decisions 1.8, 1.13.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from OpenSSL.crypto import X509
from twisted.internet.ssl import Certificate, KeyPair, PrivateCertificate

from tlsgate.errors import PkiError, Problem
from tlsgate.idp.assertion import AssertionKey
from tlsgate.idp.client import Access
from tlsgate.jose.keys import KeyFault
from tlsgate.pki.pem import key_matches
from tlsgate.tls.trust import load_trust

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tlsgate.clock import Clock
    from tlsgate.config.model import GatewayConfig
    from tlsgate.model.api import ApiDefinition
    from tlsgate.pki.references import ReferenceResolver
    from tlsgate.tls.trust import TrustSet

__all__ = ["load_access"]

_MTLS = "external_services.oauth.mtls"
_KEY = "tlsgate.identity_providers.assertion_key"


def load_access(
    config: GatewayConfig,
    apis: Iterable[ApiDefinition],
    resolver: ReferenceResolver,
    load_own_trust: Callable[[], TrustSet],
    clock: Clock,
    environ: Mapping[str, str],
    problems: list[Problem],
) -> Access:
    """Return the means of asking, empty ones when no API asks anybody.

    :param load_own_trust: returns the CAs of upstreams.
    :param problems: gets what is wrong.
    """
    if not any(api.takes_tokens for api in apis):
        return Access()
    service = config.oauth_service
    if service.proxied:
        return Access(refusal="identity providers are never asked around the configured proxy")
    made = Access()
    try:
        trust = load_trust([resolver.resolve(ca) for ca in service.authorities], environ) if service.authorities else load_own_trust()
        made = made._replace(trust=trust)
    except PkiError as problem:
        where = _MTLS if service.authorities else "tlsgate.upstream_ca"
        problems.append(Problem(config.source, where, "", f"identity providers cannot be asked over TLS: {problem}"))
    try:
        made = _with_identity(made, config, resolver)
    except (PkiError, ValueError) as problem:
        problems.append(Problem(config.source, _MTLS, "", f"identity providers are not asked: {problem}"))
        made = made._replace(refusal="the certificate for identity providers cannot be used")
    try:
        return _with_assertions(made, config, resolver, clock)
    except (PkiError, KeyFault) as problem:
        problems.append(Problem(config.source, _KEY, "", f"no assertions are made: {problem}"))
        return made


def _with_identity(access: Access, config: GatewayConfig, resolver: ReferenceResolver) -> Access:
    service = config.oauth_service
    if not service.certificate:
        return access
    bundle = resolver.resolve(service.certificate)
    key = resolver.resolve(service.key_file).private_key if service.key_file else bundle.private_key
    if bundle.leaf is None or key is None:
        raise PkiError("the certificate or its private key is missing")
    certificates = [x509.load_der_x509_certificate(der) for der in bundle.certificates]
    if not key_matches(bundle.leaf, key):
        raise PkiError("the private key is another certificate's")
    pair = KeyPair.load(key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    return access._replace(
        identity=PrivateCertificate.fromCertificateAndKeyPair(Certificate.load(bundle.leaf), pair),
        chain=tuple(X509.from_cryptography(certificate) for certificate in certificates[1:]),
        key=bundle.leaf.hex(),
    )


def _with_assertions(access: Access, config: GatewayConfig, resolver: ReferenceResolver, clock: Clock) -> Access:
    settings = config.own.identity_providers
    if not settings.assertion_key:
        return access
    key = resolver.resolve(settings.assertion_key).private_key
    if key is None:
        raise PkiError("there is no private key in it")
    return access._replace(assertions=AssertionKey(key, settings.assertion_key_id, clock.now))

"""Settings to what a connection to Redis needs, certificates read; knows fields and files, opens no connection."""

from __future__ import annotations

import os

from tlsgate.clock import Clock
from tlsgate.config.model import StorageSettings
from tlsgate.errors import PkiError
from tlsgate.pki.pem import PemBundle, parse_pem
from tlsgate.store.redis_connect import RedisAccess, RedisTls
from tlsgate.tls.client import build_client_context, build_upstream_identity
from tlsgate.tls.trust import build_trust, load_system_trust

__all__ = ["load_access"]


def load_access(settings: StorageSettings, clock: Clock) -> RedisAccess:
    """Return addresses, credentials and TLS of Redis.

    :param clock: for certificates.
    :raises PkiError: a certificate, key or CA that cannot be used.
    """
    return RedisAccess(
        addresses=settings.addresses or ((settings.host, settings.port),),
        master_name=settings.master_name,
        username=settings.username,
        password=settings.password,
        sentinel_username=settings.sentinel_username,
        sentinel_password=settings.sentinel_password,
        database=settings.database,
        tls=_load_tls(settings, clock) if settings.use_ssl else None,
    )


def _load_tls(settings: StorageSettings, clock: Clock) -> RedisTls:
    trust = build_trust([_load(settings.ca_file)], settings.ca_file) if settings.ca_file else load_system_trust(os.environ)
    client = None
    if settings.cert_file:
        shown, key = _load(settings.cert_file), _load(settings.key_file)
        client = PemBundle(certificates=shown.certificates, private_key=key.private_key)
    identity = build_upstream_identity(
        host="",
        port=0,
        trust=trust,
        scheme="tls",
        client=client,
        min_version=settings.min_version,
        max_version=settings.max_version,
        verify=not settings.ssl_insecure_skip_verify,
        alpn=(),
    )
    return RedisTls(identity, build_client_context(identity, clock))


def _load(path: str) -> PemBundle:
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError as error:
        raise PkiError(f"{path}: {error.strerror}") from error
    return parse_pem(text)

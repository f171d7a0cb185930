"""Lets ``twistd`` find the gateway: names the module that makes the service, imports nothing of it."""

from twisted.application.service import ServiceMaker

tlsgate_service = ServiceMaker(
    "tlsgate",
    "tlsgate.options",
    "TLS-terminating, mTLS-first API gateway",
    "tlsgate",
)

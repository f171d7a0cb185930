"""Which requests belong to the control API, and who may ask it; knows paths, secrets and certificates, not what the resources do.

Without the secret ``/tyk/`` answers what Tyk answers, whatever the path: nobody learns what there is.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

from tlsgate.control.endpoints import EndpointTable
from tlsgate.control.health import HealthResource
from tlsgate.control.metrics import OWN_PATH, PATH
from tlsgate.control.respond import ControlRefusal
from tlsgate.errors import Refusal
from tlsgate.gates.certificate import judge_certificate
from tlsgate.gateway.tree import RefusingResource

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tlsgate.config.model import GatewayConfig
    from tlsgate.control.calls import Endpoint
    from tlsgate.gateway.request import GateRequest
    from tlsgate.store.interface import Store

__all__ = ["ControlRoutes"]

METRICS_PATH = PATH.encode("ascii")


class ControlRoutes:
    """Finds the control resource of a request, or None when it belongs to an API.

    :param endpoints: of the REST API.
    :param store: whose state the health endpoints tell.
    """

    def __init__(self, site: Any, config: GatewayConfig, endpoints: Iterable[Endpoint] = (), store: Store | None = None) -> None:
        self._table = EndpointTable(endpoints, site, config.own.limits.control_body_bytes)
        self._site = site
        self._own_port = config.control.port not in (0, config.listen_port)
        self._port = config.control.port or config.listen_port
        self._metrics_port = config.own.metrics.port or None
        self._secret = config.control.secret.encode()
        self._exact = {
            b"/" + config.control.health_endpoint.strip("/").encode(): HealthResource(
                site, ready=False, store=store, kind=config.storage.type
            ),
            b"/" + config.control.readiness_endpoint.strip("/").encode(): HealthResource(
                site, ready=True, store=store, kind=config.storage.type
            ),
        }
        self._forbidden = ControlRefusal(Refusal("control.forbidden"), site)
        self._misdirected = ControlRefusal(Refusal("wire.misdirected", "connection made for another host"), site)
        self._not_found = RefusingResource("route.not_found", site)
        self._mutual = config.security.control_api_use_mutual_tls

    def find(self, port: int, request: GateRequest) -> Any:
        """Return what answers, None for a request that is no control request on this port and host.

        Source: decisions 1.4; mTLS reference, section 6.
        """
        path: bytes = request.canonical
        if port == self._metrics_port:
            # Nothing else is there, neither the control API nor an API that wants this port.
            return self._table.find(request.method, METRICS_PATH) if path == OWN_PATH else self._not_found
        if port != self._port:
            return None
        is_tyk = path.startswith(b"/tyk/") or path == b"/tyk"
        resource = self._exact.get(path)
        if resource is None and not is_tyk:
            return self._not_found if self._own_port else None
        generation = self._site.generation
        if not generation.policies.serves_control(port, request.host):
            return self._not_found if self._own_port else None
        tls = request.connection.tls
        if tls is not None and not generation.policies.serves_control(port, request.host, tls.server_name):
            return self._misdirected
        if resource is not None:
            return resource
        given = request.index.get(b"x-tyk-authorization", b"") or (_find_bearer(request) if path == METRICS_PATH else b"")
        if not self._secret or not hmac.compare_digest(given, self._secret):
            return self._forbidden
        if self._mutual:
            # Again after the handshake: without a server name, and under the policy of another host, it demands less than this.
            try:
                judge_certificate(request.connection, generation.control_list, self._site.clock.now())
            except Refusal as refusal:
                return ControlRefusal(refusal, self._site)
        return self._table.find(request.method, request.path) or self._not_found


def _find_bearer(request: GateRequest) -> bytes:
    """Return the secret in the form that Prometheus sends it in."""
    scheme, _, given = request.index.get(b"authorization", b"").partition(b" ")
    return given.strip() if scheme.lower() == b"bearer" else b""

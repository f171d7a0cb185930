"""Which requests belong to the control API; knows paths and secrets, not what the resources do.

Until the REST API is built, ``/tyk/`` answers what Tyk answers without the secret, and 404 with it: never anything of an API.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

from tlsgate.control.health import HealthResource
from tlsgate.gateway.tree import RefusingResource

if TYPE_CHECKING:
    from tlsgate.config.model import GatewayConfig
    from tlsgate.gateway.request import GateRequest

__all__ = ["ControlRoutes"]


class ControlRoutes:
    """Finds the control resource of a request, or None when it belongs to an API."""

    def __init__(self, site: Any, config: GatewayConfig) -> None:
        self._site = site
        self._own_port = config.control.port not in (0, config.listen_port)
        self._port = config.control.port or config.listen_port
        self._secret = config.control.secret.encode()
        self._exact = {
            b"/" + config.control.health_endpoint.strip("/").encode(): HealthResource(site, ready=False),
            b"/" + config.control.readiness_endpoint.strip("/").encode(): HealthResource(site, ready=True),
        }
        self._forbidden = RefusingResource("control.forbidden", site)
        self._not_found = RefusingResource("route.not_found", site)
        self._mutual = config.security.control_api_use_mutual_tls

    def find(self, port: int, request: GateRequest) -> Any:
        """Return what answers, None for a request that is no control request on this port and host."""
        if port != self._port:
            return None
        path: bytes = request.canonical
        is_tyk = path.startswith(b"/tyk/") or path == b"/tyk"
        resource = self._exact.get(path)
        if resource is None and not is_tyk:
            return self._not_found if self._own_port else None
        tls = request.connection.tls
        server_name = tls.server_name if tls is not None else None
        if not self._site.generation.policies.serves_control(port, request.host, server_name):
            return self._not_found if self._own_port else None
        if resource is not None:
            return resource
        given = request.index.get(b"x-tyk-authorization", b"")
        if not self._secret or not hmac.compare_digest(given, self._secret):
            return self._forbidden
        return self._not_found

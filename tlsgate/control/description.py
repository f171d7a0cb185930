"""``GET /tyk/openapi.json``: the description of the control API in OpenAPI 3.1; must not know the endpoints (a test compares the two)."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import msgspec

from tlsgate import __version__
from tlsgate.control.calls import Answer, Call, Endpoint

if TYPE_CHECKING:
    from tlsgate.control.endpoints import ControlTools

__all__ = ["Description", "load_description"]


@cache
def load_description() -> dict[str, Any]:
    """Return the description; its version is the gateway's."""
    text = files("tlsgate.control").joinpath("openapi.json").read_bytes()
    description: dict[str, Any] = msgspec.json.decode(text)
    description["info"]["version"] = __version__
    return description


class Description:
    """The endpoint."""

    def __init__(self, tools: ControlTools) -> None:
        control = tools.config.control
        self._names = {"/hello": f"/{control.health_endpoint.strip('/')}", "/ready": f"/{control.readiness_endpoint.strip('/')}"}

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return it."""
        return (Endpoint("GET", "/tyk/openapi.json", self.read),)

    async def read(self, call: Call) -> Answer:
        """The description, with the health endpoints as they are named here."""
        description = load_description()
        paths = {self._names.get(path, path): item for path, item in description["paths"].items()}
        return Answer(200, {**description, "paths": paths})

"""The one mutable record of a request on its way through the pipeline; knows nothing of transports, parsers or Twisted.

Bytes are as on the wire. Steps read it and note what they decided; only the pipeline and the proxy change the request parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlsgate.errors import Refusal
    from tlsgate.model.api import ApiDefinition
    from tlsgate.model.session import Session
    from tlsgate.model.tls import PeerIdentity, TlsFacts

__all__ = ["BodySink", "Connection", "Exchange", "HeaderList", "RequestBody"]

HeaderList = list[tuple[bytes, bytes]]
"""Header lines in order: (name as sent, value)."""


class BodySink(Protocol):
    """Where body bytes go."""

    def body_chunk(self, data: bytes) -> None:
        """Take the next bytes."""
        ...

    def body_end(self, trailers: HeaderList) -> None:
        """The body is complete."""
        ...

    def body_failed(self, refusal: Refusal) -> None:
        """The body breaks off; never a clean end."""
        ...


class RequestBody(Protocol):
    """The request body, not read before somebody attaches a sink."""

    length: int | None
    """Declared length in bytes; 0 for no body; None for chunked."""

    def attach(self, sink: BodySink) -> None:
        """Start the flow (and send ``100 Continue`` if the client waits for it)."""
        ...

    def pause(self) -> None:
        """Stop reading from the client (back-pressure)."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...


class Connection:
    """What is known of the client's connection; one per connection, shared by its exchanges."""

    __slots__ = ("id", "is_tls", "listener_port", "on_accepted", "peer_address", "peer_port", "tls", "verdicts")

    def __init__(self, id: str, peer_address: str, peer_port: int, listener_port: int, is_tls: bool) -> None:
        self.id = id
        self.peer_address = peer_address
        """Textual IP address."""
        self.peer_port = peer_port
        self.listener_port = listener_port
        self.is_tls = is_tls
        self.tls: TlsFacts | None = None
        self.on_accepted: Callable[[PeerIdentity], None] | None = None
        """Told once when a list has let this connection's leaf in."""
        self.verdicts: dict[Any, Any] = {}
        """Cache of allow-list judgements on this connection's leaf, keyed by the allow list object."""


class Exchange:
    """One request and what became of it."""

    __slots__ = (
        "alias",
        "api",
        "body",
        "by_proof",
        "canonical",
        "client_address",
        "connection",
        "context",
        "credential",
        "detail",
        "entered_at",
        "flag",
        "headers",
        "held",
        "host",
        "ignored",
        "index",
        "keep_alive",
        "key",
        "limit_headers",
        "matched",
        "method",
        "number",
        "onward",
        "org_rate_counted",
        "others",
        "path",
        "proved",
        "query",
        "rate_counted",
        "readings",
        "refusal",
        "remaining_path",
        "response_bytes",
        "response_headers",
        "route",
        "session",
        "session_id",
        "status",
        "stopped",
        "target",
        "token_ends",
        "upgrade",
        "upstream",
        "version",
        "version_name",
    )

    def __init__(self, connection: Connection, number: int, method: bytes, target: bytes, headers: HeaderList) -> None:
        self.connection = connection
        self.number = number
        self.method = method
        self.target = target
        """Request target as sent (origin-form after ``wire.framing`` looked at it)."""
        self.headers = headers
        self.index: dict[bytes, bytes] = {}
        """Lower-case name to value; several lines are joined by ``, `` (set by ``wire.framing.examine``)."""
        self.host = ""
        """Normalised host name without port (``wire.names``)."""
        self.path = b""
        """Path as sent, without query (``wire.target``)."""
        self.canonical = b""
        """The one reading of the path that routing and rules use (``wire.target``): unreserved escapes decoded."""
        self.query: bytes | None = None
        """Query as sent without the question mark; None when there is no question mark."""
        self.version = 11
        """10 or 11."""
        self.keep_alive = True
        self.token_ends = 0.0
        """Epoch seconds: until when the first of its tokens is good to end; 0 for no token, or none that ends."""
        self.upgrade = b""
        """Lower-case protocol of a valid Upgrade request, else empty."""
        self.body: RequestBody | None = None
        self.held: Any = None
        """``proxy.held_body.HeldBody``: the whole body, where a step has read it; the leaf sends this one."""
        self.api: ApiDefinition | None = None
        self.route: Any = None
        """The compiled API (``gateway.compile.CompiledApi``)."""
        self.alias = False
        """Found under ``/<api_id>/``; ``path`` and ``canonical`` name the listen path instead since then."""
        self.matched = b""
        """The part of ``canonical`` that the listen path matched."""
        self.remaining_path = b""
        """Canonical path below the listen path, with a leading slash: what path rules speak of."""
        self.readings: tuple[bytes, ...] | None = None
        """Other readings of ``remaining_path`` (``wire.target.readings_below``); None before anybody looked."""
        self.client_address = connection.peer_address
        """Address for IP lists and logs (forwarding headers only from trusted proxies)."""
        self.ignored = False
        """An ``ignored`` path: keys and client certificates are not asked for."""
        self.context: dict[str, Any] | None = None
        """Context variables, when the API has them on."""
        self.entered_at = 0.0
        """Monotonic seconds."""
        self.status = 0
        self.response_headers: HeaderList = []
        """Headers that steps add to any answer, errors included (CORS)."""
        self.response_bytes = 0
        self.refusal = ""
        """Catalogue id, for refused requests."""
        self.detail = ""
        """Why, for the log."""
        self.flag = ""
        self.stopped: Any = None
        """The step of the pipeline that ended the request before its leaf had done its work; None when none did."""
        self.upstream = ""
        """host:port of the upstream that was used."""
        self.session: Session | None = None
        """The session in context, policies applied; None without an authentication method."""
        self.session_id = ""
        """The stored id of its key, whatever spelling the client used."""
        self.credential = b""
        """What the client presented; never logged."""
        self.by_proof = False
        """It came with the scheme ``DPoP``."""
        self.proved: tuple[bytes, bytes, str] | None = None
        """Proof, token and its thumbprint of this request that were judged and noted: a method that judges them again is not a replay."""
        self.onward: HeaderList | None = None
        """What the credential says in headers of the API's choice (``jwt.forward_claims``)."""
        self.key: Any = None
        """``auth.sessions.KeyView``: the session with what was compiled from it."""
        self.others: tuple[Any, ...] = ()
        """The same of the other methods that have passed, in their order: they limit nothing, and must be alive."""
        self.version_name = ""
        """The version that the client asked for, of a versioned API."""
        self.rate_counted = False
        """The key's rate has been counted, its quota has not (``limits.key_limits``)."""
        self.org_rate_counted = False
        """The same for its organisation (``limits.org_limits``), whose step may still be at work when the key's begins."""
        self.limit_headers: HeaderList | None = None
        """``X-RateLimit-*`` of an answer that is no error; they replace the upstream's own. None is the API's default."""

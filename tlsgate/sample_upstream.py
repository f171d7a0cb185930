"""A small HTTP/1.1 service that says what it was asked: the upstream of `make run`; knows nothing of the gateway.

Run it with `python -m tlsgate.sample_upstream --port N`. It prints a line `listening role=upstream ...` and stops on SIGTERM.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import react
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

__all__ = ["EchoResource", "EchoSite", "main"]


class EchoResource(Resource):
    """Answers every path and method with JSON: method, path, headers, body length."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        """Answer one request.

        :param request: complete, its body in a file or in memory.
        :returns: the JSON text with a line end; Twisted drops it for HEAD.
        """
        body = request.content
        length = body.seek(0, 2) if body is not None else 0
        answer = {
            "method": _text(request.method),
            "path": _text(request.uri),
            "headers": {_text(name): ", ".join(map(_text, values)) for name, values in request.requestHeaders.getAllRawHeaders()},
            "body_length": length,
        }
        data = json.dumps(answer, indent=2).encode() + b"\n"
        request.responseHeaders.setRawHeaders(b"content-type", [b"application/json"])
        request.responseHeaders.setRawHeaders(b"content-length", [b"%d" % len(data)])
        return b"" if request.method == b"HEAD" else data


class EchoSite(Site):
    """The protocol factory: reads no forms, writes no access log."""

    noisy = False

    def __init__(self) -> None:
        super().__init__(EchoResource(), parsePOSTFormSubmission=False)

    def log(self, request: http.Request) -> None:
        """Say nothing; the gateway's own log is what the demonstration is about."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM, then exit with 0.

    :param arguments: command line without the program's name; None takes the process's own.
    :raises SystemExit: always.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tlsgate.sample_upstream", description="An HTTP/1.1 service that answers what it was asked."
    )
    parser.add_argument("--address", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=9080, help="port to listen on, 0 for any free one (default: %(default)s)")
    options = parser.parse_args(arguments)
    react(_serve, (options.address, options.port))


def _serve(reactor: Any, address: str, port: int) -> Deferred[None]:
    try:
        host = reactor.listenTCP(port, EchoSite(), backlog=1024, interface=address).getHost()
    except CannotListenError as error:
        raise SystemExit(f"sample upstream: {error}") from error
    sys.stdout.write(f"listening role=upstream address={host.host} port={host.port} tls=no\n")
    sys.stdout.flush()
    return Deferred()  # until the reactor is stopped


def _text(value: bytes) -> str:
    return value.decode("latin-1")


if __name__ == "__main__":
    main()

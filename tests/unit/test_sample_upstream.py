"""The upstream of the demonstration."""

from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from tlsgate import sample_upstream
from tlsgate.sample_upstream import EchoSite, main


def answer_to(request: bytes) -> tuple[bytes, bytes]:
    """Head and body of the answer to raw bytes."""
    protocol = EchoSite().buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
    assert protocol is not None
    transport = StringTransport()
    protocol.makeConnection(transport)
    protocol.dataReceived(request)
    head, _, body = transport.value().partition(b"\r\n\r\n")
    protocol.connectionLost(Failure(ConnectionDone()))  # its timer ends with it
    return head, body


def test_it_says_what_it_was_asked() -> None:
    """Method, target as sent, headers in one line each, length of the body."""
    head, body = answer_to(b"PUT /a%2Fb?x=1&x HTTP/1.1\r\nHost: up.test\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 5\r\n\r\nhello")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert b"content-type: application/json" in head.lower()
    assert json.loads(body) == {
        "method": "PUT",
        "path": "/a%2Fb?x=1&x",
        "headers": {"Host": "up.test", "X-A": "1, 2", "Content-Length": "5"},
        "body_length": 5,
    }


def test_a_form_is_a_body_like_any_other() -> None:
    """No parsing of what a client sends."""
    _, body = answer_to(
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    )
    assert json.loads(body)["body_length"] == 3


def test_head_has_no_body() -> None:
    """But the length that GET would have."""
    head, body = answer_to(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert body == b""
    assert b"content-length: " in head.lower()


def test_it_prints_where_it_listens(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The line that `make run` waits for."""
    reactor = MemoryReactorClock()

    def react(function: Any, arguments: tuple[Any, ...]) -> None:
        assert not function(reactor, *arguments).called

    monkeypatch.setattr(sample_upstream, "react", react)
    main(["--port", "9081"])
    assert capsys.readouterr().out == "listening role=upstream address=0.0.0.0 port=9081 tls=no\n"
    assert [(port, interface) for port, _, _, interface in reactor.tcpServers] == [(9081, "127.0.0.1")]


def test_a_port_in_use_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback for the most likely trouble."""

    class Busy:
        def listenTCP(self, *arguments: Any, **options: Any) -> None:
            raise CannotListenError("127.0.0.1", 9080, OSError(98, "Address already in use"))

    monkeypatch.setattr(sample_upstream, "react", lambda function, arguments: function(Busy(), *arguments))
    with pytest.raises(SystemExit, match=r"sample upstream: Couldn't listen on 127\.0\.0\.1:9080"):
        main([])

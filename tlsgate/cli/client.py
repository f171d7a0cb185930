"""Asks a gateway's control API: one connection for each call, no proxy, no redirect, no second attempt; knows no command.

The secret goes to the place that was named and nowhere else, and only after its certificate was judged.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
import ssl
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode

from tlsgate import __version__
from tlsgate.cli.faults import RefusedByGateway, Unreachable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tlsgate.cli.place import Place

__all__ = ["ControlClient", "Reply"]

_LIMIT = 1 << 30
_UNKNOWN = "nothing is known of the change: look before you ask again"
_REMEDIES = {
    403: "compare the secret with `secret` in the gateway's configuration",
    405: "this gateway has no such call: is it older than this program?",
    413: "tlsgate.limits.control_body_bytes bounds what the control API takes",
    421: "name the host that the control API has (control_api_hostname) with --server-name",
    503: "the gateway's store is away: " + _UNKNOWN,
}
_FORBIDDEN = "administrative access"


class Reply(NamedTuple):
    """An answer of 200."""

    tree: Any
    """Decoded JSON."""
    headers: Mapping[str, str]
    """Lower-case names."""


class ControlClient:
    """A gateway that is asked.

    :param timeout_s: for connecting, and for each wait for bytes.
    """

    def __init__(self, place: Place, timeout_s: float) -> None:
        self._place = place
        self._timeout_s = timeout_s

    def ask(
        self, method: str, *path: str, query: Mapping[str, str] | None = None, tree: Any = None, body: bytes | None = None, remedy: str = ""
    ) -> Reply:
        """Make a call.

        :param path: segments below ``/tyk/``; each is escaped whole.
        :param query: empty values are left out.
        :param tree: becomes a JSON body.
        :param body: goes as it is.
        :param remedy: what to do about a refusal, where the call knows better than the status.
        :raises RefusedByGateway: any other status than 200.
        :raises Unreachable: no connection, no trust, no whole answer.
        """
        given = {name: value for name, value in (query or {}).items() if value}
        target = "/tyk/" + "/".join(quote(part, safe="") for part in path) + (f"?{urlencode(given)}" if given else "")
        headers = {"Host": self._host(), "User-Agent": f"tlsgate/{__version__}", "Accept": "application/json"}
        if tree is not None:
            body = json.dumps(tree, ensure_ascii=False).encode("utf-8", "surrogatepass")
            headers["Content-Type"] = "application/json"
        elif body is not None:
            headers["Content-Type"] = "application/x-pem-file"
        status, found, data = self._exchange(method, target, body, headers)
        if status != 200:
            raise self._refusal(status, data, remedy)
        try:
            return Reply(json.loads(data), found)
        except (ValueError, RecursionError):
            raise RefusedByGateway(
                f"{self._place.shown} answered with something that is no JSON: is this the control API of tlsgate?"
            ) from None

    def _exchange(self, method: str, target: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        place = self._place
        connection = http.client.HTTPConnection(place.address, place.port, timeout=self._timeout_s)
        sent = False
        try:
            connection.sock = self._connect()
            sent = True
            connection.request(method, target, body, {**headers, "X-Tyk-Authorization": place.secret.encode()})
            answer = connection.getresponse()
            data = answer.read(_LIMIT + 1)
            if len(data) > _LIMIT:
                raise Unreachable(f"the answer of {place.shown} is larger than {_LIMIT} bytes")
            if answer.length:
                raise http.client.IncompleteRead(data, answer.length)
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, data
        except (OSError, http.client.HTTPException) as problem:
            raise self._unreachable(problem, changing=sent and method != "GET") from None
        finally:
            connection.close()

    def _connect(self) -> socket.socket:
        place = self._place
        plain = socket.create_connection((place.address, place.port), self._timeout_s)
        if place.tls is None:
            return plain
        try:
            secured = place.tls.wrap_socket(plain, server_hostname=place.server_name)
        except BaseException:
            plain.close()
            raise
        if place.pins and secured.getpeercert(binary_form=True) not in place.pins:
            secured.close()
            raise ssl.SSLCertVerificationError("it is none of those that the configuration names")
        return secured

    def _host(self) -> str:
        name, port = self._place.server_name, self._place.port
        host = f"[{name}]" if _is_v6(name) else name
        return host if port == (443 if self._place.tls is not None else 80) else f"{host}:{port}"

    def _refusal(self, status: int, data: bytes, remedy: str) -> RefusedByGateway:
        message, ours = _read_message(data)
        if status == 403 and _FORBIDDEN not in message:
            remedy = remedy or ("the certificate of --cert must be on security.certificates.control_api" if "ertificate" in message else "")
        elif status == 404 and not ours:
            remedy = "there is no control API at this port or host: see control_api_port and control_api_hostname"
        elif status == 400 and "HTTP request to an HTTPS" in message:
            remedy = "write https:// instead of http://"
        elif status == 403:
            remedy = _REMEDIES[403]
        return RefusedByGateway(f"{self._place.shown} answered {status}: {message}", remedy or _REMEDIES.get(status, ""))

    def _unreachable(self, problem: Exception, *, changing: bool) -> Unreachable:
        shown = self._place.shown
        if isinstance(problem, ssl.SSLCertVerificationError):
            reason = getattr(problem, "verify_message", "") or str(problem)
            return Unreachable(
                f"the certificate of {shown} is not trusted: {reason}",
                "name its CA with --ca FILE, or the name that it carries with --server-name",
            )
        if isinstance(problem, ConnectionRefusedError):
            return Unreachable(f"{shown} refuses connections", "is the gateway running, and is this the port of its control API?")
        if isinstance(problem, socket.gaierror):
            return Unreachable(f"{shown}: the name does not resolve", "look at --url")
        if isinstance(problem, TimeoutError):
            more = f"; {_UNKNOWN}" if changing else ""
            return Unreachable(f"{shown} did not answer within {self._timeout_s:g} s", f"--timeout gives it longer{more}")
        if isinstance(problem, ssl.SSLError) and "WRONG_VERSION" in str(problem):
            return Unreachable(f"{shown} does not speak TLS", "is it http://?")
        reason = (getattr(problem, "reason", "") or getattr(problem, "strerror", "") or str(problem) or type(problem).__name__).strip()
        remedy = "if the control API demands client certificates, give --cert and --key" if self._place.tls is not None else ""
        if changing:
            remedy = f"{_UNKNOWN}; {remedy}" if remedy else _UNKNOWN
        return Unreachable(f"{shown} ended the connection without a whole answer: {reason}", remedy)


def _read_message(data: bytes) -> tuple[str, bool]:
    """Return what an error says, and whether it has the control API's form."""
    try:
        message = json.loads(data)["message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return data[:200].decode("utf-8", "replace").strip() or "nothing", False
    return str(message), True


def _is_v6(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).version == 6
    except ValueError:
        return False

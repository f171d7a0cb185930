"""A strict stand-in for the control API: real sockets, TLS where wanted, the documented forms and nothing else.

Whatever a client does that the reference does not know (an unknown parameter, a body where none belongs) is noted in ``faults``.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.support.certs import Issued

__all__ = ["SECRET", "FakeControl", "running_control"]

SECRET = "the-secret-of-the-fake-control-api"
FINGERPRINT = "ab" * 32
PARAMETERS = {
    ("GET", "keys"): {"filter", "api_id"},
    ("GET", "keys/"): {"org_id", "hashed", "username", "mask_secrets"},
    ("POST", "keys/"): {"org_id"},
    ("PUT", "keys/"): {"org_id", "hashed", "username", "suppress_reset"},
    ("DELETE", "keys/"): {"org_id", "hashed", "username"},
    ("GET", "policies"): set(),
    ("GET", "policies/"): {"org_id"},
    ("GET", "certs"): {"org_id", "mode"},
    ("POST", "certs"): {"org_id"},
    ("DELETE", "certs/"): {"org_id", "force"},
    ("GET", "reload"): {"block"},
    ("GET", "explain"): {"api_id", "status", "limit"},
}


class FakeControl:
    """What the server knows and what it was asked."""

    def __init__(self) -> None:
        self.port = 0
        self.keys: dict[str, dict[str, Any]] = {}
        self.policies: dict[str, dict[str, Any]] = {}
        self.apis: dict[str, dict[str, Any]] = {}
        self.certs: dict[str, dict[str, Any]] = {}
        self.decisions: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, str, dict[str, str], Any]] = []
        """Method, path below ``/tyk/``, query, body."""
        self.heads: list[dict[str, str]] = []
        self.faults: list[str] = []
        self.reload_message = ""
        self.scripted: bytes | None = None
        """Sent as it is instead of an answer."""
        self.headers: dict[str, str] = {}
        """Added to answers."""

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        """Return status and tree of a call."""
        noun, _, name = path.partition("/")
        allowed = PARAMETERS.get((method, f"{noun}/" if name else noun), set())
        if unknown := set(query) - allowed:
            self.faults.append(f"{method} {path}: {sorted(unknown)}")
        if method in ("GET", "DELETE") and body is not None:
            self.faults.append(f"{method} {path} has a body")
        found: Any = getattr(self, f"_{noun}", None)
        return found(method, name, query, body) if found is not None else (404, None)

    def _keys(self, method: str, name: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if method == "GET" and not name:
            return 200, {"keys": sorted(self.keys)}
        if method == "POST":
            if not body.get("access_rights") and not body.get("apply_policies"):
                return 400, _error("Failed to create key, keys must have at least one Access Rights record set.")
            id = body.get("org_id", "") + ("0" * 32 if name == "create" else name)
            self.keys[id] = body
            return 200, {"key": id, "status": "ok", "action": "added", "key_hash": "hash-of-it"}
        id = name if name in self.keys else query.get("org_id", "") + name
        if id not in self.keys:
            text = {"GET": "Key not found", "PUT": "Key is not found", "DELETE": "There is no such key found"}[method]
            return 404, _error(text)
        if method == "GET":
            shown = dict(self.keys[id])
            if "hmac_string" in shown and query.get("mask_secrets"):
                shown["hmac_string"] = "********"
            return 200, shown
        if method == "PUT":
            self.keys[id] = body
            return 200, {"key": id, "status": "ok", "action": "modified"}
        del self.keys[id]
        return 200, {"key": id, "status": "ok", "action": "deleted"}

    def _policies(self, method: str, name: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if method == "PUT" and body.get("id") != name:
            return 400, _error("Request ID does not match that in policy! For Update operations these must match.")
        if method == "POST" and not body.get("id"):
            return 400, _error("Unable to create policy without id.")
        return self._files(self.policies, method, name, body, "id", "Policy not found")

    def _apis(self, method: str, name: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if name == "oas" or name.startswith("oas/"):
            if method in ("POST", "PUT"):
                extension = body["x-tyk-api-gateway"]
                id = extension["info"].get("id") or "1" * 32
                self.apis[id] = {"api_id": id, "is_oas": True, "document": body}
                return 200, {"key": id, "status": "ok", "action": "added" if method == "POST" else "modified"}
            return 200, self.apis[name.removeprefix("oas/")]["document"]
        if method == "PUT" and body.get("api_id") != name:
            return 400, _error("Request APIID does not match that in Definition! For Update operations these must match.")
        return self._files(self.apis, method, name, body, "api_id", "API not found")

    def _files(self, shelf: dict[str, dict[str, Any]], method: str, name: str, body: Any, member: str, missing: str) -> tuple[int, Any]:
        if method == "GET" and not name:
            return 200, list(shelf.values())
        if method == "POST":
            id = body.get(member) or "2" * 32
            shelf[id] = body
            return 200, {"key": id, "status": "ok", "action": "added"}
        if name not in shelf:
            return 404, _error(missing)
        if method == "GET":
            return 200, shelf[name]
        if method == "PUT":
            shelf[name] = body
        else:
            del shelf[name]
        return 200, {"key": name, "status": "ok", "action": "modified" if method == "PUT" else "deleted"}

    def _certs(self, method: str, name: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if method == "POST":
            if b"CERTIFICATE" not in body:
                return 403, _error("Failed to decode certificate. It should be PEM encoded.")
            id = query.get("org_id", "") + FINGERPRINT
            if id in self.certs:
                return 403, _error(f"Certificate with {id} id already exists")
            self.certs[id] = {"id": id, "subject_cn": "alice", "issuer_cn": "CA", "dns_names": None, "has_private": False}
            self.certs[id] |= {"not_before": "2026-01-01T00:00:00Z", "not_after": "2027-01-01T00:00:00Z", "is_ca": False}
            return 200, {"id": id, "status": "ok", "message": "Certificate added"}
        if method == "GET" and not name:
            entries = [entry for id, entry in self.certs.items() if id.startswith(query.get("org_id", ""))]
            return 200, {"certs": (entries if query.get("mode") == "detailed" else [entry["id"] for entry in entries]) or None}
        if method == "GET":
            ids = name.split(",")
            found = [self._full(id) for id in ids]
            if len(ids) > 1:
                return 200, found
            return (200, found[0]) if found[0] else (404, _error("Certificate with given SHA256 fingerprint not found"))
        self.certs.pop(name, None)
        return 200, {"status": "ok", "message": "removed"}

    def _full(self, id: str) -> dict[str, Any] | None:
        entry = self.certs.get(id)
        if entry is None:
            return None
        name = {"Country": ["DE"], "Organization": None, "CommonName": entry["subject_cn"]}
        issuer = {"CommonName": entry["issuer_cn"], "Organization": ["Acme"]}
        return {**entry, "fingerprint": FINGERPRINT, "subject": name, "issuer": issuer}

    def _explain(self, method: str, name: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if not name:
            return 200, {"records": list(self.decisions.values())}
        return (200, self.decisions[name]) if name in self.decisions else (404, _error("there is no record of it"))

    def _reload(self, method: str, name: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        return 200, {"status": "ok", "message": self.reload_message if query.get("block") == "true" else ""}


def _error(message: str) -> dict[str, str]:
    return {"status": "error", "message": message}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    control: FakeControl

    def _serve(self) -> None:
        control = self.control
        control.heads.append({name.lower(): value for name, value in self.headers.items()})
        length = self.headers.get("Content-Length")
        data = self.rfile.read(int(length)) if length else None
        if control.scripted is not None:
            self.wfile.write(control.scripted)
            self.close_connection = True
            return
        parts = urlsplit(self.path)
        if self.headers.get_all("X-Tyk-Authorization") != [SECRET]:
            self._send(403, _error("Attempted administrative access with invalid or missing key!"))
            return
        if not parts.path.startswith("/tyk/"):
            self._send(404, None)
            return
        path = "/".join(unquote(part) for part in parts.path.removeprefix("/tyk/").split("/"))
        query = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        body: Any = data
        if data is not None and not path.startswith("certs"):
            body = json.loads(data)
        control.calls.append((self.command, path, query, body))
        self._send(*control.answer(self.command, path, query, body))

    def _send(self, status: int, tree: Any) -> None:
        data = b"Not Found" if status == 404 and tree is None else json.dumps(tree).encode() + b"\n"
        self.send_response(status)
        for name, value in self.control.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "text/plain" if tree is None else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_DELETE = _serve

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Handshakes that fail are the subject of tests."""


@contextmanager
def running_control(folder: Path, server: Issued | None = None, client_ca: Issued | None = None) -> Iterator[FakeControl]:
    """Serve on loopback; on exit nothing may have been asked that the reference does not know.

    :param server: server certificate; None is plain HTTP.
    :param client_ca: demands client certificates of this CA.
    """
    control = FakeControl()
    handler = type("Handler", (_Handler,), {"control": control})
    httpd = _Server(("127.0.0.1", 0), handler)
    if server is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        path = folder / "fake-server.pem"
        path.write_text(server.full_pem)
        context.load_cert_chain(path)
        if client_ca is not None:
            context.load_verify_locations(cadata=client_ca.pem)
            context.verify_mode = ssl.CERT_REQUIRED
        httpd.socket = context.wrap_socket(httpd.socket, server_side=True, do_handshake_on_connect=False)
    control.port = int(httpd.server_address[1])
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield control
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()
    assert control.faults == []

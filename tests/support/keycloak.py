"""A real Keycloak as identity provider: fetched once at a pinned version below ``var/``, run over TLS, set up by its REST API."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import re
import shutil
import ssl
import subprocess
import tempfile
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.certs import SERVER, Authority, Issued, make_authority
from tests.support.gateway import free_port
from tests.support.programs import Program, running
from tests.support.scale import FULL

__all__ = ["ADMIN", "SECRET", "Answer", "Keycloak", "Realm", "needs_keycloak", "running_keycloak"]

VERSION = "26.4.0"
ADMIN = ("admin", "a password for tests")
"""Name and password of the administrator."""
SECRET = "secret-of-a-client"
_ROOT = Path(__file__).parents[2]


def _missing() -> str:
    """Return what is not here; empty when everything is."""
    missing = [name for name in ("mvn", "java", "keytool") if shutil.which(name) is None]
    if not missing and FULL:
        said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
        version = re.search(r'version "(\d+)', said)
        if version is None or int(version.group(1)) < 17:
            missing.append("Java 17")
    return ", ".join(missing)


_MISSING = _missing()

needs_keycloak = [
    pytest.mark.acceptance,
    pytest.mark.skipif(not FULL, reason="a Keycloak of 160 MB and half a GiB of memory: make acceptance"),
    pytest.mark.skipif(bool(_MISSING), reason=f"not installed: {_MISSING}"),
]
"""Marks of a test module."""


def keycloak_home() -> Path:
    """Return the folder of the program, built for production on a database in memory; the first call of a clone downloads it."""
    place = _ROOT / "var" / "keycloak" / VERSION
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        # Complete or not there at all: several processes may do this at once.
        with tempfile.TemporaryDirectory(dir=place.parent) as draft:
            artifact = f"org.keycloak:keycloak-quarkus-dist:{VERSION}:zip"
            _call("mvn", "-B", "-q", "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={draft}", folder=draft)
            shutil.unpack_archive(Path(draft) / f"keycloak-quarkus-dist-{VERSION}.zip", draft)
            home = Path(draft) / f"keycloak-{VERSION}"
            # The archive's permissions are not unpacked.
            for script in (home / "bin").glob("*.sh"):
                script.chmod(0o755)
            _call("bin/kc.sh", "build", "--db=dev-mem", "--https-client-auth=request", folder=home)
            try:
                os.rename(home, place)
            except OSError:
                assert place.is_dir()
    return place


def _call(*command: str, folder: Path | str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"


class Answer(NamedTuple):
    """An answer of Keycloak."""

    status: int
    headers: Mapping[str, str]
    """By lower-case names."""
    json: Any
    """None where there is no body."""


class Keycloak:
    """A running Keycloak; made by :func:`running_keycloak`.

    :param authority: the CA of its own certificate, and of the clients that it knows.
    """

    def __init__(self, program: Program, home: Path, port: int, authority: Authority, folder: Path) -> None:
        self.program = program
        self.home = home
        self.port = port
        self.url = f"https://localhost:{port}"
        self.authority = authority
        self.folder = folder
        self.ca_file = folder / "ca.pem"
        self._names = itertools.count(1)
        self._login = ("", 0.0)

    def ask(
        self,
        method: str,
        path: str,
        *,
        form: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        identity: Issued | None = None,
    ) -> Answer:
        """Send a request on a connection of its own, with the client certificate ``identity``; a form or JSON is its body."""
        lines = dict(headers or {})
        data = b""
        if form is not None:
            lines["Content-Type"], data = "application/x-www-form-urlencoded", urllib.parse.urlencode(form).encode()
        elif body is not None:
            lines["Content-Type"], data = "application/json", json.dumps(body).encode()
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=30, context=self._context(identity))
        try:
            connection.request(method, path, data, lines)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        names = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, names, json.loads(text) if text and "json" in names.get("content-type", "") else None)

    def admin(self, method: str, path: str, body: Any = None) -> Answer:
        """Make a call of the administration below ``/admin``; it has to succeed."""
        token, until = self._login
        if time.monotonic() > until:
            login = {"grant_type": "password", "client_id": "admin-cli", "username": ADMIN[0], "password": ADMIN[1]}
            answer = self.ask("POST", "/realms/master/protocol/openid-connect/token", form=login)
            assert answer.status == 200, answer
            token = answer.json["access_token"]
            self._login = (token, time.monotonic() + answer.json["expires_in"] / 2)
        answer = self.ask(method, f"/admin{path}", body=body, headers={"Authorization": f"Bearer {token}"})
        assert answer.status < 300, (method, path, answer)
        return answer

    def add_realm(self, **fields: Any) -> Realm:
        """Make a realm that nobody has used before."""
        realm = Realm(self, f"realm-{next(self._names)}")
        self.admin("POST", "/realms", {"realm": realm.name, "enabled": True, "sslRequired": "all", **fields})
        return realm

    def issue(self, name: str) -> Issued:
        """Return a client certificate of the CA that it knows."""
        return self.authority.issue(name)

    def _context(self, identity: Issued | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        if identity is not None:
            path = self.folder / f"{identity.fingerprint}.pem"
            if not path.exists():
                path.write_text(identity.full_pem)
            context.load_cert_chain(path)
        return context


class Realm:
    """A realm; ``url`` is its issuer."""

    def __init__(self, keycloak: Keycloak, name: str) -> None:
        self.keycloak = keycloak
        self.name = name
        self.url = f"{keycloak.url}/realms/{name}"
        self.keys_url = f"{self.url}/protocol/openid-connect/certs"
        self.introspection_url = f"{self.url}/protocol/openid-connect/token/introspect"
        self.token_url = f"{self.url}/protocol/openid-connect/token"

    def admin(self, method: str, path: str, body: Any = None) -> Answer:
        """Make a call of the administration below this realm."""
        return self.keycloak.admin(method, f"/realms/{self.name}{path}", body)

    def add(self, kind: str, **fields: Any) -> str:
        """Make a ``clients``, ``users``, ``client-scopes`` or ``components`` entry, and return its id."""
        return self.admin("POST", f"/{kind}", fields).headers["location"].rsplit("/", 1)[1]

    def add_client(
        self, client: str, *, attributes: Mapping[str, str] | None = None, claims: Mapping[str, str] | None = None, **fields: Any
    ) -> str:
        """Make a client with a secret, for the client credentials grant and for users who log in through it.

        :param claims: claims with fixed values that its access tokens get.
        """
        mappers = [
            {
                "name": name,
                "protocol": "openid-connect",
                "protocolMapper": "oidc-hardcoded-claim-mapper",
                "config": {"claim.name": name, "claim.value": value, "jsonType.label": "String", "access.token.claim": "true"},
            }
            for name, value in (claims or {}).items()
        ]
        settings = {
            "clientId": client,
            "secret": SECRET,
            "publicClient": False,
            "serviceAccountsEnabled": True,
            "directAccessGrantsEnabled": True,
            "attributes": dict(attributes or {}),
            "protocolMappers": mappers,
        }
        return self.add("clients", **{**settings, **fields})

    def add_user(self, name: str) -> str:
        """Make a user, whose password is the name."""
        credentials = [{"type": "password", "value": name, "temporary": False}]
        person = {"firstName": name, "lastName": name, "email": f"{name}@users.example", "emailVerified": True}
        return self.add("users", username=name, enabled=True, credentials=credentials, **person)

    def ask(
        self, client: str, user: str = "", *, headers: Mapping[str, str] | None = None, identity: Issued | None = None, **form: str
    ) -> Answer:
        """Ask for tokens, of a user or of the client itself."""
        grant = {"grant_type": "password", "username": user, "password": user} if user else {"grant_type": "client_credentials"}
        fields = {**grant, "client_id": client, "client_secret": SECRET, **form}
        return self.keycloak.ask(
            "POST", f"/realms/{self.name}/protocol/openid-connect/token", form=fields, headers=headers, identity=identity
        )

    def tokens(self, client: str, user: str = "", **options: Any) -> dict[str, Any]:
        """Return what it answers with status 200; options as for :meth:`ask`."""
        answer = self.ask(client, user, **options)
        assert answer.status == 200, answer
        found: dict[str, Any] = answer.json
        return found

    def token(self, client: str, user: str = "", **options: Any) -> str:
        """Return an access token; options as for :meth:`ask`."""
        return str(self.tokens(client, user, **options)["access_token"])

    def add_key(self, kind: str = "rsa-generated", priority: int = 200, **config: str) -> str:
        """Make a key that signs from now on, and return its id."""
        settings = {
            "priority": [str(priority)],
            "enabled": ["true"],
            "active": ["true"],
            **{name: [value] for name, value in config.items()},
        }
        return self.add(
            "components", name=f"{kind}-{priority}", providerId=kind, providerType="org.keycloak.keys.KeyProvider", config=settings
        )

    def set_key(self, id: str, **config: str) -> None:
        """Change a key: ``active="false"`` no longer signs, ``enabled="false"`` is no longer published."""
        found = self.admin("GET", f"/components/{id}").json
        found["config"] |= {name: [value] for name, value in config.items()}
        self.admin("PUT", f"/components/{id}", found)


@contextmanager
def running_keycloak(folder: Path) -> Iterator[Keycloak]:
    """Run a Keycloak on a free port; it asks clients for certificates, and answers under ``localhost``."""
    home = keycloak_home()
    authority = make_authority("Keycloak CA")
    own = authority.issue("localhost", names=["localhost"], usages=SERVER, kind="rsa-2048")
    (folder / "ca.pem").write_text(authority.pem)
    (folder / "server.pem").write_text(own.pem)
    (folder / "server.key").write_text(own.key_pem)
    port = free_port()
    command = [
        "bin/kc.sh",
        "start",
        "--optimized",
        "--cache=local",
        "--http-host=127.0.0.1",
        f"--https-port={port}",
        "--hostname-strict=false",
    ]
    command += [f"--https-certificate-file={folder / 'server.pem'}", f"--https-certificate-key-file={folder / 'server.key'}"]
    command += [f"--truststore-paths={folder / 'ca.pem'}"]
    environ = {
        "KC_BOOTSTRAP_ADMIN_USERNAME": ADMIN[0],
        "KC_BOOTSTRAP_ADMIN_PASSWORD": ADMIN[1],
        "JAVA_OPTS_KC_HEAP": "-Xms64m -Xmx512m",
    }
    with running(command, home, environ) as program:
        program.wait_for("Listening on: ", timeout_s=180)
        yield Keycloak(program, home, port, authority, folder)

"""Server name x Host x client certificate: who gets where, by an oracle written from the rules; both TLS versions, fresh and resumed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.certs import SERVER, Issued, make_authority
from tests.support.clientside import ClientSide
from tests.support.gateway import Client, Gateway, HandshakeRefused, Response, StrictUpstream, running_gateway
from tests.support.mtls_oracle import Answer, Presented, World, material, worlds

MATERIAL = material()
WORLDS = worlds(MATERIAL.lists)
VERSIONS = (771, 772)


class Served(NamedTuple):
    """A world being served."""

    world: World
    gateway: Gateway
    upstream: StrictUpstream


@pytest.fixture(scope="module")
def server_certificate() -> Issued:
    """For all names: clients of this module verify nothing."""
    return make_authority("Server CA").issue("gateway", usages=SERVER, names=["localhost"])


SETTINGS = [
    ("mixed", "classic", "announce"),
    ("mixed", "oas", "skip"),
    ("strict", "classic", "announce"),
    ("strict", "oas", "skip"),
    ("anyhost", "classic", "skip"),
    ("anyhost", "oas", "announce"),
]


@pytest.fixture(scope="module", params=SETTINGS, ids="-".join)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, server_certificate: Issued) -> Iterator[Served]:
    """A gateway for each world and form of definitions, its control API on another port.

    ``skip_client_ca_announcement`` changes nothing but what is announced.
    """
    name, form, names = request.param
    world = WORLDS[name]
    folder: Path = tmp_path_factory.mktemp(f"{name}-{form}")
    options = {"skip_client_ca_announcement": names == "skip"}
    with StrictUpstream() as upstream:
        definitions = world.definitions(form, upstream.port)
        with running_gateway(folder, *definitions, server=server_certificate, http_server_options=options) as gateway:
            yield Served(world, gateway, upstream)
        assert upstream.violations == []


class Cell(NamedTuple):
    """One request of a connection."""

    host: str | None
    target: str
    expected: Answer

    def encode(self) -> bytes:
        """Write the request; HTTP/1.0 where no Host is named."""
        if self.host is None:
            return f"GET {self.target} HTTP/1.0\r\n\r\n".encode()
        return f"GET {self.target} HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode()


def cells_of(world: World, sni: str | None, shown: Presented) -> list[Cell]:
    """All requests to try on one connection, the one that ends it last."""
    cells = []
    for host in world.hosts:
        several = host is None or host.startswith(("shared", "union")) or world.name == "anyhost"
        for path in world.paths if several else ("/strict/",):
            if host is None and path != "/strict/":
                continue
            target = f"{path}x?cell={len(cells)}"
            cells.append(Cell(host, target, world.answer(sni, shown, host, target)))
    return cells


def check_answer(cell: Cell, response: Response) -> str:
    """Return what is wrong with an answer, empty when nothing is."""
    expected = cell.expected
    if response.status != expected.status:
        return f"{response.status} {response.body[:100]!r} instead of {expected}"
    if expected.message and json.loads(response.body) != {"error": expected.message}:
        return f"{response.body!r} instead of {expected.message!r}"
    if expected.status == 200 and json.loads(response.body)["target"].split("/")[1] != expected.api:
        return f"served by {response.body[:60]!r} instead of {expected.api}"
    return ""


def exchange(served: Served, client: Client, sni: str | None, shown: Presented, where: str) -> list[str]:
    """Send the requests of one connection in one go; return what went wrong."""
    cells = cells_of(served.world, sni, shown)
    mark = len(served.upstream.requests)
    client.send(b"".join(cell.encode() for cell in cells))
    wrong = []
    for cell in cells:
        try:
            problem = check_answer(cell, client.read_response())
        except (EOFError, OSError) as error:
            wrong.append(f"{where}, Host {cell.host}, {cell.target}: connection ended: {error!r}")
            break
        if problem:
            wrong.append(f"{where}, Host {cell.host}, {cell.target}: {problem}")
    seen = [(request.target.split("/")[1], request.target.rpartition("=")[2]) for request in served.upstream.requests[mark:]]
    allowed = [(cell.expected.api, cell.target.rpartition("=")[2]) for cell in cells if cell.expected.api]
    if seen != allowed:
        wrong.append(f"{where}: upstream saw {seen} instead of {allowed}")
    return wrong


def try_connection(served: Served, side: ClientSide, sni: str | None, shown: Presented, where: str) -> list[str]:
    """One server name and one client: a fresh connection, then a resumed one."""
    expected = served.world.handshake(sni, shown)
    try:
        fresh = side.connect(served.gateway.port, sni)
    except HandshakeRefused as refusal:
        return [f"{where}: handshake refused: {refusal}"] if expected else []
    with fresh:
        if not expected:
            return [f"{where}: handshake succeeded"]
        wrong = exchange(served, fresh, sni, shown, where)
        session = fresh.session
    try:
        resumed = side.connect(served.gateway.port, sni, session=session)
    except HandshakeRefused as refusal:
        return [*wrong, f"{where}: resumption refused: {refusal}"]
    with resumed:
        if not side.last_resumed:
            wrong.append(f"{where}: not resumed")
        return wrong + exchange(served, resumed, sni, shown, f"{where}, resumed")


@pytest.mark.parametrize("version", VERSIONS)
def test_each_cell_of_the_matrix_gets_what_the_rules_say(served: Served, version: int) -> None:
    """Decisions 1.1 to 1.5 and 1.10, mTLS reference sections 5 and 14: handshake refused, 421, 403 with its message, 404 or 200.

    The upstream sees exactly the allowed requests. The oracle shares nothing with the product.
    """
    wrong = []
    for shown in MATERIAL.shown:
        side = ClientSide(shown.identity, extra=shown.extra, version=version)
        for sni in served.world.names:
            wrong += try_connection(served, side, sni, shown, f"{version}, SNI {sni}, {shown.name}")
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong[:40])


def test_the_oracle_knows_each_kind_of_outcome() -> None:
    """A matrix in which every cell says the same would prove nothing."""
    found = set()
    for world in WORLDS.values():
        for shown in MATERIAL.shown:
            for sni in world.names:
                if world.handshake(sni, shown):
                    found.update((cell.expected.status, cell.expected.message[:16]) for cell in cells_of(world, sni, shown))
                else:
                    found.add((0, "handshake"))
    assert found == {
        (0, "handshake"),
        (200, ""),
        (403, "Certificate has "),
        (403, "Certificate with"),
        (403, "Client TLS certi"),
        (404, ""),
        (421, "Misdirected Requ"),
    }

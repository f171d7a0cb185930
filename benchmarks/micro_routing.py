"""Cost of route and policy look-ups over the number of definitions, and of each gate: one JSON line; knows no sockets.

Run with ``python -m benchmarks.micro_routing``. Look-ups go through 1,000 hosts and paths in turn, so that caches of the processor count;
each figure is the lowest of several rounds.
"""

from __future__ import annotations

import json
import platform
import random
import time
from typing import TYPE_CHECKING, Any

from tests.support.apis import make_api, make_config, make_connection, make_exchange, make_peer, make_tls, make_tools
from tlsgate import __version__
from tlsgate.config.model import ControlSettings
from tlsgate.errors import Refusal
from tlsgate.gates.base import Gate
from tlsgate.gates.order import build_gates
from tlsgate.model.api import ApiDefinition, CorsSettings, HeaderOperations, PathRule, VersionSettings
from tlsgate.pki.acl import Verdict
from tlsgate.routing.sni import AllowListRef, build_policy_table
from tlsgate.routing.table import RouteEntry, build_route_table
from tlsgate.transform.error_body import build_error_renderer
from tlsgate.transform.headers import build_request_headers_step

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["main"]

_COUNTS = (10, 1_000, 10_000)
_LOOKUPS = 1_000
_ROUNDS = 30
_WORDS = ("orders", "users", "billing", "search", "stock", "mail", "auth", "files", "jobs", "geo")


def main() -> None:
    """Measure and print."""
    figures: dict[str, float] = {}
    for count in _COUNTS:
        figures.update(_routes(count))
        figures.update(_policies(count))
    figures.update(_gates())
    print(json.dumps({"tlsgate": __version__, "python": platform.python_version(), "unit": "us", **figures}))


def _routes(count: int) -> dict[str, float]:
    """One in ten with a domain of its own, one in a hundred with a template; paths of one to three segments."""
    rng = random.Random(1)
    entries = []
    for number in range(count):
        word = _WORDS[number % 10]
        path = f"/{word}/v{number % 7}/service-{number}/" if number % 3 else f"/service-{number}/"
        if number % 100 == 99:
            path = f"/{word}-{number}/{{tenant}}/"
        domain = f"api{number}.example.test" if number % 10 == 0 else ""
        entries.append(RouteEntry(f"{number:032x}", 8080, domain, path, True, number))
    start = time.perf_counter()
    table = build_route_table(entries, strict=True)
    built = time.perf_counter() - start
    found: dict[str, float] = {f"route_build_{count}_ms": round(built * 1e3, 1)}
    chosen = [rng.choice(entries) for _ in range(_LOOKUPS)]
    asked = [
        (entry.domain or "gateway.test", entry.listen_path.replace("{tenant}", "acme").encode() + b"items/42?".rstrip(b"?"))
        for entry in chosen
    ]

    def find() -> None:
        look = table.find
        for host, path in asked:
            look(8080, host, path)

    def resolve() -> None:
        look = table.resolve
        for host, path in asked:
            look(8080, host, path)

    def miss() -> None:
        look = table.find
        for host, _ in asked:
            look(8080, host, b"/nobody/serves/this")

    found[f"route_find_{count}"] = _lowest(find)
    found[f"route_resolve_{count}"] = _lowest(resolve)
    found[f"route_miss_{count}"] = _lowest(miss)
    return found


def _policies(count: int) -> dict[str, float]:
    apis = [make_api(f"{number:032x}", domain=f"api{number}.example.test", use_mutual_tls=number % 2 == 0) for number in range(count)]
    apis += [make_api(f"p{number}", domain=f"{{n}}.zone{number}.test", use_mutual_tls=True) for number in range(count // 10)]
    start = time.perf_counter()
    table = build_policy_table(apis, make_config(control=ControlSettings(port=1)), lambda api: AllowListRef(api.api_id))
    built = time.perf_counter() - start
    rng = random.Random(1)
    exact = [f"api{rng.randrange(count)}.example.test" for _ in range(_LOOKUPS)]
    pattern = [f"a.zone{rng.randrange(max(count // 10, 1))}.test" for _ in range(_LOOKUPS)]

    def find_exact() -> None:
        for name in exact:
            table.find(8080, name)

    def find_pattern() -> None:
        for name in pattern:
            table.find(8080, name)

    return {
        f"policy_build_{count}_ms": round(built * 1e3, 1),
        f"policy_exact_{count}": _lowest(find_exact),
        f"policy_pattern_{count}": _lowest(find_pattern),
    }


class _Welcoming:
    """An allow list that lets everybody in."""

    key = "everybody"

    def judge(self, peer: Any, now: float) -> Verdict:
        return Verdict(None, "listed", 2e9)


def _gates() -> dict[str, float]:
    plain = tuple(PathRule(path=f"/closed/{number}") for number in range(50))
    patterns = tuple(PathRule(path=f"/closed/{number}/{{id}}/x") for number in range(50))
    cases: dict[str, ApiDefinition] = {
        "gate_expiry": make_api(expiration=2e9),
        "gate_lists_50_plain": make_api(version=VersionSettings(black_list=plain)),
        "gate_lists_50_patterns": make_api(version=VersionSettings(black_list=patterns)),
        "gate_cors": make_api(cors=CorsSettings(allowed_origins=("https://app.test",))),
        "gate_addresses": make_api(allowed_addresses=("192.0.2.0/24",)),
        "gate_certificate": make_api(use_mutual_tls=True),
        "gate_size": make_api(version=VersionSettings(size_limit_bytes=100)),
    }
    headers = {
        "Host": "api.test",
        "User-Agent": "bench",
        "Accept": "*/*",
        "Origin": "https://app.test",
        "Content-Length": "10",
        "X-Request": "1",
    }
    connection = make_connection(tls=make_tls(make_peer()))
    exchange = make_exchange("POST", "/test/users/42", headers=headers, connection=connection)
    found = {}
    for name, api in cases.items():
        gates = build_gates(api, make_config(), make_tools(allow_list=_Welcoming()))
        found[name] = _lowest(_repeat_gates(gates, exchange))
    step = build_request_headers_step(
        make_api(version=VersionSettings(request_headers=HeaderOperations(remove=("X-Request",), add=(("X-A", "b"), ("X-B", "c"))))),
        make_config(),
    )
    assert step is not None
    lines = exchange.headers

    def change() -> None:
        for _ in range(_LOOKUPS):
            step(exchange, lines)

    found["headers_6_lines_3_operations"] = _lowest(change)
    renderer = build_error_renderer(make_config(), None)
    refusal = Refusal("endpoint.forbidden")

    def render() -> None:
        for _ in range(_LOOKUPS):
            renderer.render(refusal, exchange)

    found["error_constant"] = _lowest(render)
    return found


def _repeat_gates(gates: tuple[Gate, ...], exchange: Any) -> Callable[[], None]:
    def run() -> None:
        for _ in range(_LOOKUPS):
            for gate in gates:
                gate(exchange)
        exchange.response_headers.clear()

    return run


def _lowest(call: Callable[[], None]) -> float:
    """Return microseconds per look-up."""
    spent = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        call()
        spent.append(time.perf_counter() - start)
    return round(min(spent) / _LOOKUPS * 1e6, 3)


if __name__ == "__main__":
    main()

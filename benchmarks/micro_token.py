"""What a token costs beside a keyless request, in memory: session, policy, rate and a quota in the embedded store's file; one JSON line.

``python -m benchmarks.micro_token``: the rounds of both alternate, so that a busy machine slows both alike.
"""

from __future__ import annotations

import json
import platform
import tempfile
import time
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from benchmarks.micro_request import ANSWER, REQUEST, build
from tlsgate.auth.policies import PolicyTable
from tlsgate.clock import SystemClock
from tlsgate.config.model import GatewayConfig, KeySettings
from tlsgate.gateway.state import State
from tlsgate.model.policy import Policy
from tlsgate.model.session import AccessRight, Session
from tlsgate.store.sqlite import SqliteStore

KEY = "org" + "0123456789abcdef" * 2
_POLICY = Policy(
    id="gold",
    org_id="org",
    rate=1e9,
    per=60,
    quota_max=10**15,
    quota_renewal_rate=3600,
    access_rights={"a": AccessRight(api_id="a", versions=("Default",))},
)


async def measure(rounds: int = 15, count: int = 4000) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        clock = SystemClock()
        state = State(SqliteStore(reactor, clock, f"{folder}/bench.db"), GatewayConfig(keys=KeySettings(cache_s=86400.0)), reactor, clock)
        await state.start()
        state.policies.table = PolicyTable([_POLICY])
        await state.sessions.save(KEY, Session(org_id="org", apply_policies=("gold",)))
        keyless = build()
        token = build(state, keyless=False, auth_methods=("token",), org_id="org")
        request = REQUEST[:-2] + b"Authorization: Bearer " + KEY.encode() + b"\r\n\r\n"
        token[0].dataReceived(request)  # the store is asked once
        while not token[3].written:
            await _turn()
        token[1].dataReceived(ANSWER)
        best = {"keyless": float("inf"), "token": float("inf")}
        for _ in range(rounds):
            for name, (channel, connection, _, _), sent in (("keyless", keyless, REQUEST), ("token", token, request)):
                started = time.process_time()
                for _ in range(count):
                    channel.dataReceived(sent)
                    connection.dataReceived(ANSWER)
                best[name] = min(best[name], (time.process_time() - started) / count)
        assert token[2].written == rounds * count + 1, "a request waited for the store, or was refused"
        await Deferred.fromCoroutine(state.store.stop())
    figures: dict[str, Any] = {f"us_{name}": round(value * 1e6, 2) for name, value in best.items()}
    print(
        json.dumps(
            {"benchmark": "micro_token", **figures, "ratio": round(best["token"] / best["keyless"], 3), "python": platform.python_version()}
        )
    )


def _turn() -> Deferred[None]:
    done: Deferred[None] = Deferred()
    reactor.callLater(0.001, done.callback, None)  # type: ignore[attr-defined]
    return done


if __name__ == "__main__":
    react(lambda _: Deferred.fromCoroutine(measure()))

"""Steps: at once where it can be, awaited where the store is needed."""

from __future__ import annotations

from tests.support.apis import make_exchange
from tests.support.keys import run
from tlsgate.auth.base import Check, run_steps, store_away
from tlsgate.errors import CATALOGUE
from tlsgate.model.exchange import Exchange


class Slow:
    def __init__(self, log: list[str]) -> None:
        self.log = log

    def try_now(self, exchange: Exchange) -> bool:
        self.log.append("asked")
        return False

    async def finish(self, exchange: Exchange) -> None:
        self.log.append("finished")


def test_steps_run_in_order() -> None:
    """``finish`` only after ``try_now`` could not."""
    log: list[str] = []
    check = Check(lambda exchange: log.append("checked"))
    run(run_steps((check, Slow(log), check), make_exchange()))
    assert log == ["checked", "asked", "finished", "checked"]
    run(check.finish(make_exchange()))
    assert log[-1] == "checked"


def test_the_store_away_is_503() -> None:
    """Decisions 3.5."""
    refusal = store_away("why")
    assert (CATALOGUE[refusal.id].status, refusal.detail) == (503, "why")

"""Exit statuses."""

from __future__ import annotations

from tlsgate.cli.faults import CommandFault, RefusedByGateway, Unreachable, UsageFault


def test_each_kind_has_its_status() -> None:
    """1 refused, 2 usage, 3 no answer; the remedy travels along."""
    assert [kind.status for kind in (RefusedByGateway, UsageFault, Unreachable)] == [1, 2, 3]
    fault: CommandFault = Unreachable("nobody there", "start it")
    assert (str(fault), fault.remedy) == ("nobody there", "start it")

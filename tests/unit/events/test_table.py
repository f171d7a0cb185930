"""Who hears of which event."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.apis import make_api, make_config
from tlsgate.config.model import LimitSettings, MonitorSettings
from tlsgate.errors import PkiError, Problem
from tlsgate.events.table import EMPTY, EventTable, build_event_table
from tlsgate.events.webhook import Hook
from tlsgate.model.events import LogHandler, WebhookHandler

LOG = LogHandler(prefix="p")
HOOK = WebhookHandler(url="http://hook.test/")


def no_trust() -> Any:
    raise PkiError("no CA certificate found")


def build(*apis: Any, problems: list[Problem] | None = None, **config: Any) -> EventTable:
    return build_event_table(make_config(**config), apis, no_trust, [] if problems is None else problems)


def test_an_event_is_told_to_the_handlers_of_its_api() -> None:
    """In order; other APIs and the gateway do not hear it."""
    api = make_api("one", event_handlers={"AuthFailure": (LOG, HOOK)})
    table = build(api, make_api("two"), event_handlers={"TokenCreated": (LOG,)})
    found, known = table.find("AuthFailure", "one")
    assert found[0] == LOG and isinstance(found[1], Hook) and known is api
    assert table.find("KeyExpired", "one") == ((), api)
    assert table.find("AuthFailure", "two") == ((), None)
    assert table.find("AuthFailure", "gone") == ((), None)
    assert table.find("AuthFailure", "") == ((), None)


def test_an_event_of_no_api_is_told_to_the_handlers_of_the_gateway() -> None:
    table = build(make_api("one", event_handlers={"AuthFailure": (LOG,)}), event_handlers={"TokenCreated": (LOG,)})
    assert table.find("TokenCreated", "") == ((LOG,), None)


def test_the_monitor_hears_of_quotas_beside_the_api() -> None:
    """Whatever the API, and where it has no handlers."""
    api = make_api("one", event_handlers={"TriggerExceeded": (LOG,)})
    table = build(api, rate_limits=LimitSettings(monitor=MonitorSettings(enabled=True, webhook=HOOK)))
    (first, second), _ = table.find("TriggerExceeded", "one")
    assert first == LOG and isinstance(second, Hook)
    assert len(table.find("TriggerExceeded", "two")[0]) == 1
    assert table.find("QuotaExceeded", "two")[0] == ()


def test_equal_hooks_are_built_once(tmp_path: Path) -> None:
    """A template that cannot be used is read once, and named once."""
    hook = WebhookHandler(url="http://hook.test/", template_path=str(tmp_path / "none"))
    problems: list[Problem] = []
    apis = [make_api(f"api{number}", event_handlers={"AuthFailure": (hook,)}) for number in range(100)]
    table = build(*apis, problems=problems)
    assert len({id(table.find("AuthFailure", api.api_id)[0][0]) for api in apis}) == 1
    assert len(problems) == 1


def test_a_definition_of_the_rest_api_is_no_way_to_files(tmp_path: Path) -> None:
    """The same handler in a definition of the operator's keeps its template."""
    (tmp_path / "t").write_text("plain")
    hook = WebhookHandler(url="http://hook.test/", template_path=str(tmp_path / "t"))
    own, guest = (make_api(name, event_handlers={"AuthFailure": (hook,)}, from_rest=name == "guest") for name in ("own", "guest"))
    for table in (build(own, guest), build(guest, own)):
        by_own, by_guest = (table.find("AuthFailure", api.api_id)[0][0] for api in (own, guest))
        assert isinstance(by_own, Hook) and isinstance(by_guest, Hook)
        assert by_own.template is not None and by_guest.template is None
    allowed = build(guest, template_path=str(tmp_path)).find("AuthFailure", "guest")[0][0]
    assert isinstance(allowed, Hook) and allowed.template is not None


@pytest.mark.parametrize(("url", "asked"), [("http://hook.test/", False), ("https://hook.test/", True)])
def test_cas_are_loaded_only_where_they_are_needed(url: str, asked: bool) -> None:
    """None is an error in the report; nothing is then delivered over TLS."""
    problems: list[Problem] = []
    table = build(make_api(event_handlers={"AuthFailure": (WebhookHandler(url=url),)}), problems=problems)
    assert table.trust is None and bool(problems) is asked


def test_nobody_hears_of_anything_before_the_first_load() -> None:
    assert EMPTY.find("AuthFailure", "api") == ((), None)

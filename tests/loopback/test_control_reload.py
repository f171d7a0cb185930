"""Reloads over real HTTP: under load, with a definition that turned bad, several at once, for a group; health of node and API.

Source: keys reference, section 11; decisions 4.6.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loopback.test_control_apis import SECRET, Control
from tests.support.gateway import Client, Gateway, StrictUpstream, classic, running_gateway


@pytest.fixture(scope="module")
def upstream() -> Iterator[StrictUpstream]:
    with StrictUpstream() as running:
        yield running


def reloads_of(gateway: Gateway) -> int:
    return len([event for event in gateway.events if event.get("event") == "reload.done"])


def test_no_request_is_lost_to_reloads(tmp_path: Path, upstream: StrictUpstream) -> None:
    """Requests on kept connections get their answers while definitions come and go."""
    with running_gateway(tmp_path, classic("one", upstream.port, "/one/")) as gateway:
        control = Control(gateway)
        stop = threading.Event()
        statuses: list[int] = []
        faults: list[BaseException] = []

        def drive() -> None:
            try:
                with Client(gateway.port, tls=False) as client:
                    while not stop.is_set():
                        statuses.append(client.request("GET", "/one/").status)
            except BaseException as fault:
                faults.append(fault)

        drivers = [threading.Thread(target=drive) for _ in range(3)]
        for driver in drivers:
            driver.start()
        for number in range(8):
            control.tree("POST", "/tyk/apis", classic(f"n{number}", upstream.port, f"/n{number}/"))
            assert control.reload() == ""
            assert control.served(f"/n{number}/") == 200
        stop.set()
        for driver in drivers:
            driver.join(20)
        assert not faults
        assert len(statuses) > 50
        assert set(statuses) == {200}


def test_a_bad_file_keeps_the_last_good_one_and_is_named(tmp_path: Path, upstream: StrictUpstream) -> None:
    """200 with which and why; served as before; repaired by a PUT."""
    with running_gateway(tmp_path, classic("one", upstream.port, "/first/"), classic("two", upstream.port, "/two/")) as gateway:
        control = Control(gateway)
        (gateway.apps / "one.json").write_text('{"api_id": "one", ')
        message = control.reload()
        assert "one.json" in message
        assert "not valid JSON" in message
        assert (control.served("/first/"), control.served("/two/")) == (200, 200)
        assert json.loads(control.ask("GET", "/hello").body)["status"] == "warn"
        assert control.ask("GET", "/ready").status == 200
        assert control.tree("PUT", "/tyk/apis/one", classic("one", upstream.port, "/uno/"))["action"] == "modified"
        assert control.reload() == ""
        assert (control.served("/first/"), control.served("/uno/")) == (404, 200)


def test_calls_that_come_together_are_one_reload(tmp_path: Path) -> None:
    """Within `reload_interval`; each is answered at once."""
    with running_gateway(tmp_path, classic("one", 9, "/one/"), reload_interval=2) as gateway:
        control = Control(gateway)
        for target in ("/tyk/reload", "/tyk/reload/", "/tyk/reload?block=false", "/tyk/reload/group", "/tyk/reload"):
            assert control.tree("GET", target) == {"status": "ok", "message": ""}
        assert reloads_of(gateway) == 0
        gateway.wait_event("reload.done")
        time.sleep(2.5)  # longer than the interval: a second reload would have come by now
        assert reloads_of(gateway) == 1


def test_a_group_reload_reaches_every_node(tmp_path: Path, upstream: StrictUpstream) -> None:
    """Two gateways on one store: the one that was not asked serves what its folder holds."""
    store = {"type": "sqlite", "path": str(tmp_path / "shared.db")}
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with (
        running_gateway(first, classic("one", upstream.port, "/one/"), storage=store) as asked,
        running_gateway(second, classic("one", upstream.port, "/one/"), storage=store) as other,
    ):
        other.write_apis(classic("two", upstream.port, "/two/"))
        assert Control(other).served("/two/") == 404
        assert Control(asked).tree("GET", "/tyk/reload/group")["status"] == "ok"
        other.wait_event("reload.done")
        asked.wait_event("reload.done")
        assert (Control(other).served("/two/"), Control(other).served("/one/")) == (200, 404)


def test_a_refused_reload_says_so(tmp_path: Path, upstream: StrictUpstream) -> None:
    """The configuration turned bad: 200, the reason, and everything as before."""
    with running_gateway(tmp_path, classic("one", upstream.port, "/one/")) as gateway:
        control = Control(gateway)
        gateway.config_path.write_text("{")
        assert "not valid JSON" in control.reload()
        assert control.served("/one/") == 200
        gateway.write_config()
        assert control.reload() == ""


def test_health_of_an_api(tmp_path: Path, upstream: StrictUpstream) -> None:
    """Figures of what was asked since, and the three errors."""
    with running_gateway(tmp_path, classic("one", upstream.port, "/one/"), health_check={"enable_health_checks": True}) as gateway:
        control = Control(gateway)
        assert control.fault("GET", "/tyk/health") == (400, "missing api_id parameter")
        assert control.fault("GET", "/tyk/health?api_id=none") == (404, "API ID not found")
        for _ in range(6):
            assert control.served("/one/") == 200
        found = control.tree("GET", "/tyk/health?api_id=one")
        assert round(found["average_requests_per_second"] * 60) == 6
        assert found["average_upstream_latency"] > 0
        assert found["key_failures_per_second"] == found["throttle_reqests_per_second"] == found["quota_violations_per_second"] == 0


def test_health_of_an_api_is_off_by_default(tmp_path: Path) -> None:
    with running_gateway(tmp_path, classic("one", 9, "/one/")) as gateway:
        assert Control(gateway).fault("GET", "/tyk/health?api_id=one") == (400, "Health checks are not enabled for this node")


def test_health_of_the_node(tmp_path: Path) -> None:
    """The embedded store under its own name; without a secret; 405 in a form of its own; not ready with nothing to serve."""
    with running_gateway(tmp_path, classic("bad", 9, "/bad/", use_keyless=False, use_oauth2=True)) as gateway:
        control = Control(gateway)
        response = control.ask("GET", "/hello", secret=None)
        body = json.loads(response.body)
        assert (response.status, body["status"], body["details"]["sqlite"]["status"]) == (200, "warn", "pass")
        assert control.fault("POST", "/hello", {}) == (405, "Method Not Allowed")
        assert control.fault("GET", "/ready") == (503, "A successful API reload did not happen")
        control.tree("POST", "/tyk/apis", classic("good", 9, "/good/"))
        control.reload()
        assert control.ask("GET", "/ready", secret=None).status == 200


def test_the_description_is_served(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        control = Control(gateway)
        assert control.ask("GET", "/tyk/openapi.json", secret=None).status == 403
        assert control.tree("GET", "/tyk/openapi.json")["openapi"] == "3.1.0"
        assert SECRET not in control.ask("GET", "/tyk/openapi.json").body.decode()

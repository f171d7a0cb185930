"""Options of `twistd tlsgate`."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from twisted.application.service import IServiceMaker, Service
from twisted.plugin import IPlugin
from twisted.python import usage

from tlsgate.options import Options, makeService


def parsed(*arguments: str) -> Options:
    """The options of a command line."""
    options = Options()
    options.parseOptions(list(arguments))
    return options


@pytest.mark.parametrize(
    "arguments", [("--config", "g.json"), ("-c", "g.json"), ("--conf", "g.json"), ("--conf=g.json", "--config=g.json")]
)
def test_the_file_has_the_names_of_the_command_line(arguments: tuple[str, ...]) -> None:
    """`--conf` is Tyk's spelling."""
    assert parsed(*arguments)["config"] == "g.json"


@pytest.mark.parametrize(("text", "port"), [("0", 0), ("8443", 8443), ("65535", 65535)])
def test_the_port_is_a_number(text: str, port: int) -> None:
    """0 takes any free one."""
    assert parsed("-c", "g.json", "--port", text)["port"] == port
    assert parsed("-c", "g.json")["port"] is None


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--config", ""),
        ("--config", "a.json", "--conf", "b.json"),
        ("--config", "a.json", "stray"),
        ("--config", "a.json", "--port", "65536"),
        ("--config", "a.json", "--port", "-1"),
        ("--config", "a.json", "--port", "http"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    """twistd shows the message and the options."""
    with pytest.raises(usage.UsageError):
        parsed(*arguments)


def test_the_service_is_made_from_file_and_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same wiring as `tlsgate run`."""
    service = Service()
    double = ModuleType("tlsgate.service")
    calls: list[tuple[str, int | None]] = []
    double.make_service = lambda config, port=None: calls.append((config, port)) or service  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tlsgate.service", double)
    assert makeService(parsed("-c", "g.json", "-p", "0")) is service
    assert calls == [("g.json", 0)]


def test_the_drop_in_is_a_plugin_that_names_this_module() -> None:
    """`twistd --help` imports the drop-in; it must not import the gateway."""
    namespace: dict[str, object] = {}
    path = __file__.rsplit("/tests/", 1)[0] + "/twisted/plugins/tlsgate_dropin.py"
    with open(path, encoding="utf-8") as stream:
        exec(compile(stream.read(), path, "exec"), namespace)
    maker = namespace["tlsgate_service"]
    assert IServiceMaker.providedBy(maker)
    assert IPlugin.providedBy(maker)
    assert maker.tapname == "tlsgate"  # type: ignore[attr-defined]
    assert maker.options is Options  # type: ignore[attr-defined]
    assert maker.makeService is makeService  # type: ignore[attr-defined]

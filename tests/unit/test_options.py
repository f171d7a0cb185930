"""Options of `twistd tlsgate`."""

from __future__ import annotations

import io
import sys
from types import ModuleType

import pytest
from twisted.application.service import IServiceMaker, Service
from twisted.plugin import IPlugin
from twisted.python import usage

from tlsgate.errors import ConfigError, Problem
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
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    assert makeService(parsed("-c", "g.json", "-p", "0")) is service
    assert calls == [("g.json", 0)]


def test_a_start_that_fails_is_named_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process's own standard error gets it once, and so does the log that twistd put in its place; errors come first."""
    monkeypatch.setitem(sys.modules, "tlsgate.service", ModuleType("tlsgate.service"))
    sys.modules["tlsgate.service"].make_service = lambda config, port=None: Service()  # type: ignore[attr-defined]
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    makeService(parsed("-c", "g.json"))
    log, real = io.StringIO(), io.StringIO()
    problems = [Problem("g.json", "a", "", "odd", severity="warning"), Problem("g.json", "b", "", "wrong")]
    error = ConfigError(problems)
    for stream in (log, real):
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr(sys, "__stderr__", real)
        sys.excepthook(ConfigError, error, None)
    assert log.getvalue() == f"{problems[1]}\n{problems[0]}\n"
    assert real.getvalue() == 2 * log.getvalue()


def test_our_own_mistakes_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only problems of the configuration are for operators."""
    monkeypatch.setitem(sys.modules, "tlsgate.service", ModuleType("tlsgate.service"))
    sys.modules["tlsgate.service"].make_service = lambda config, port=None: Service()  # type: ignore[attr-defined]
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    makeService(parsed("-c", "g.json"))
    output = io.StringIO()
    monkeypatch.setattr(sys, "stderr", output)
    sys.excepthook(ValueError, ValueError("ours"), None)
    assert "ValueError: ours" in output.getvalue()


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

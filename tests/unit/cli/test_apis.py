"""``tlsgate apis``: Classic and OAS are told by their content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli
from tests.support.fake_control import running_control
from tests.support.gateway import classic, oas


def test_a_definition_s_life(tmp_path: Path) -> None:
    """Written, listed, shown, written anew, deleted."""
    orders = classic("orders", 9, "/orders/", use_keyless=False, domain="orders.test", org_id="acme")
    file = tmp_path / "orders.json"
    file.write_text(json.dumps(orders))
    with running_control(tmp_path) as control:
        cli = Cli(control, tmp_path)
        done = cli("apis", "create", str(file))
        assert done.out.splitlines() == ["action  added", "API     orders"]
        assert "tlsgate reload" in done.err
        lines = cli.good("apis", "list").splitlines()
        assert lines[0].split("  ")[0] == "ID"
        assert lines[1].split() == ["orders", "orders", "orders.test", "/orders/", "token", "http://127.0.0.1:9"]
        shown = cli.good("apis", "get", "orders")
        assert "listen path   /orders/\n" in shown and "organisation  acme\n" in shown
        assert json.loads(cli.good("apis", "get", "orders", "--json")) == orders
        assert json.loads(cli.good("apis", "list", "--json")) == [orders]
        assert "modified" in cli.good("apis", "update", "-", "--reload", stdin=file.read_bytes())
        assert "deleted" in cli.good("apis", "delete", "orders")
        assert "no APIs" in cli("apis", "list").err
        assert cli("apis", "get", "orders").status == 1
        assert cli("apis", "delete", "orders").status == 1


def test_documents_go_where_documents_are_taken(tmp_path: Path) -> None:
    """By ``openapi`` and the extension."""
    document = oas("stock", 9, "/stock/")
    with running_control(tmp_path) as control:
        cli = Cli(control, tmp_path)
        cli.good("apis", "create", "-", stdin=json.dumps(document).encode())
        cli.good("apis", "update", "-", stdin=json.dumps(document).encode())
        assert json.loads(cli.good("apis", "get", "stock", "--oas", "--json")) == document
        assert [(method, path) for method, path, _, _ in control.calls] == [
            ("POST", "apis/oas"),
            ("PUT", "apis/oas/stock"),
            ("GET", "apis/oas/stock"),
        ]
        assert cli("apis", "get", "stock", "--oas").status == 2


@pytest.mark.parametrize("form", [classic, oas])
def test_an_id_beside_the_file_is_put_in(tmp_path: Path, form: Any) -> None:
    """Where there is none; another one is a mistake."""
    tree = form("inside", 9)
    with running_control(tmp_path) as control:
        cli = Cli(control, tmp_path)
        assert cli("apis", "create", "-", "--id", "outside", stdin=json.dumps(tree).encode()).status == 2
        if form is classic:
            del tree["api_id"]
        else:
            del tree["x-tyk-api-gateway"]["info"]["id"]
        assert cli("apis", "update", "-", stdin=json.dumps(tree).encode()).status == 2
        cli.good("apis", "create", "-", "--id", "outside", stdin=json.dumps(tree).encode())
        assert "outside" in control.apis


@pytest.mark.parametrize(
    ("fields", "ways"),
    [
        ({"use_keyless": True}, "keyless"),
        ({"use_keyless": True, "use_mutual_tls_auth": True}, "client certificate"),
        ({"use_keyless": False}, "token"),
        ({"use_keyless": False, "enable_jwt": True, "use_mutual_tls_auth": True}, "client certificate, JWT"),
        ({"use_keyless": False, "use_basic_auth": True, "use_standard_auth": True}, "basic, token"),
    ],
)
def test_what_a_client_needs_is_named(tmp_path: Path, fields: dict[str, Any], ways: str) -> None:
    """A keyless API that demands certificates is not called open."""
    with running_control(tmp_path) as control:
        control.apis["a"] = classic("a", 9, **fields)
        assert f"ways in      {ways}\n" in Cli(control, tmp_path).good("apis", "get", "a")


def test_warnings_of_the_gateway_are_shown(tmp_path: Path) -> None:
    """It takes a definition and wonders at it."""
    with running_control(tmp_path) as control:
        control.headers["Warning"] = '299 - "no usable certificate: nobody gets in"'
        done = Cli(control, tmp_path)("apis", "create", "-", stdin=json.dumps(classic("a", 9)).encode())
        assert done.status == 0
        assert "nobody gets in" in done.err


def test_inline_certificates_do_not_fill_the_screen(tmp_path: Path) -> None:
    """Paths and ids are shown."""
    with running_control(tmp_path) as control:
        control.apis["a"] = classic("a", 9, client_certificates=["-----BEGIN CERTIFICATE-----\nx", "ca.pem"])
        assert "client certificates  inline PEM, ca.pem\n" in Cli(control, tmp_path).good("apis", "get", "a")

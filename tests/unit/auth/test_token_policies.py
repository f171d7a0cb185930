"""Which policies a token asks for."""

from __future__ import annotations

from typing import Any

import pytest

from tlsgate.auth.token_policies import Choice, choose_policies, find_base_policy, find_client_id
from tlsgate.model.tokens import ScopePolicies

SCOPES = ScopePolicies(policies=(("admin", "p-admin"), ("user", "p-user"), ("both", "p-user")))


@pytest.mark.parametrize(
    ("claims", "policy"),
    [
        ({"pol": "a"}, "a"),
        ({"realm": {"pol": "b"}}, "b"),
        ({"pol": "", "realm": {"pol": "b"}}, "b"),
        ({"pol": ["a"]}, ""),
        ({"pol": 7}, ""),
        ({}, ""),
    ],
)
def test_the_policy_that_a_claim_names(claims: dict[str, Any], policy: str) -> None:
    """The first text; a list is not found, as in Tyk."""
    assert find_base_policy(claims, ("pol", "realm.pol")) == policy


@pytest.mark.parametrize(
    ("scope", "base", "defaults", "choice"),
    [
        ("admin user", "", (), Choice(("p-admin", "p-user"), by_scope=True)),
        ("user both", "", ("d",), Choice(("p-user",), by_scope=True)),
        ("other admin", "b", ("d",), Choice(("b", "p-admin"), by_scope=True)),
        ("other", "b", ("d",), Choice(("b",), by_scope=True)),
        ("other", "", ("d",), Choice(refusal="jwt.no_scope_policy")),
        ("", "", ("d",), Choice(refusal="jwt.no_scope_policy")),
        (["admin"], "", (), Choice(("p-admin",), by_scope=True)),
        (["admin user"], "", (), Choice(refusal="jwt.no_scope_policy")),
        ([], "", ("d", "e", "d"), Choice(("d", "e"), by_default=True)),
        (None, "b", ("d",), Choice(("b",))),
        (7, "", ("d",), Choice(("d",), by_default=True)),
        (None, "", (), Choice(refusal="jwt.nothing_in_token")),
    ],
)
def test_scopes(scope: Any, base: str, defaults: tuple[str, ...], choice: Choice) -> None:
    """With scopes never the defaults; without scopes the policy of the token, else the defaults."""
    claims = {} if scope is None else {"scope": scope}
    assert choose_policies(claims, base, defaults, SCOPES) == choice


def test_without_a_mapping_scopes_do_not_matter() -> None:
    """The policy of the token, else the defaults, else nobody."""
    for claims in ({}, {"scope": "admin"}):
        assert choose_policies(claims, "b", ("d",), ScopePolicies()) == Choice(("b",))
        assert choose_policies(claims, "", ("d",), ScopePolicies()) == Choice(("d",), by_default=True)
        assert choose_policies(claims, "", (), ScopePolicies()) == Choice(refusal="jwt.no_policy")


def test_the_client() -> None:
    """What is no text is passed over; Tyk drops the connection."""
    assert find_client_id({"clientId": 7, "cid": "", "client_id": "c"}) == "c"
    assert find_client_id({"clientId": "a", "client_id": "c"}) == "a"
    assert find_client_id({"azp": "c"}) == ""

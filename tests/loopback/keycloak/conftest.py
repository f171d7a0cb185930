"""One Keycloak for all tests of this folder, and a realm for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.keycloak import Keycloak, Realm, running_keycloak


@pytest.fixture(scope="package")
def keycloak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keycloak]:
    """Started by the first test that asks for it, and gone when the tests of this folder have ended."""
    with running_keycloak(tmp_path_factory.mktemp("keycloak")) as running:
        yield running


@pytest.fixture
def realm(keycloak: Keycloak) -> Realm:
    """Nobody else's."""
    return keycloak.add_realm()

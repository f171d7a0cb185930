"""The list of known members of the extension."""

from __future__ import annotations

from tests.support.definitions import oas, refused, warned
from tlsgate.config.schema import SECRET, ObjectOf, Schema
from tlsgate.definitions.oas_fields import EXTENSION


def test_unknown_members_of_the_extension_are_warnings() -> None:
    """Kept for the round trip (decisions 4.1); in the rest of the document everything is allowed."""
    assert warned(oas(server={"listenPth": {}}, **{"x-other": {"a": 1}})) == {
        "x-tyk-api-gateway.server.listenPth": "unknown field, kept but without effect"
    }


def test_wrong_types_are_errors_with_their_place_in_the_document() -> None:
    """Not in the Classic form that they lead to."""
    assert refused(oas(server={"port": "8443", "listenPath": {"value": "/a/", "strip": "yes"}})) == {
        "x-tyk-api-gateway.server.port": "must be a whole number, not text",
        "x-tyk-api-gateway.server.listenPath.strip": "must be true or false, not text",
    }


def test_secrets_are_marked() -> None:
    """No message shows them."""
    for path in (
        "upstream.authentication.basicAuth.password",
        "upstream.authentication.oauth.clientCredentials.clientSecret",
        "upstream.authentication.requestSigning.secret",
    ):
        schema: Schema = EXTENSION
        for name in path.split("."):
            assert isinstance(schema, ObjectOf)
            schema = schema.members[name]
        assert schema == SECRET

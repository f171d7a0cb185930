"""``mock_response``: answers without upstream; knows nothing of who may ask (it stands after authentication, before the proxy).

Source: API definitions reference, sections 4.5, 5 and 7.2.
"""

from __future__ import annotations

from tlsgate.config.model import GatewayConfig
from tlsgate.errors import ConfigError, Problem
from tlsgate.gates.base import Gate, Reply, build_answer_headers, build_rules
from tlsgate.model.api import ApiDefinition
from tlsgate.model.exchange import Exchange

__all__ = ["build"]


def build(api: ApiDefinition, config: GatewayConfig) -> Gate | None:
    """Return the step that answers mocked paths, None without any.

    A mock is compared with the canonical reading of a path only (decisions 2.11). The path lists let mocked paths through before
    (``gates.version``).

    :raises Reply: (the step) the configured answer.
    :raises ConfigError: a path that does not compile.
    """
    replies = []
    for rule in api.version.mocks:
        body = rule.body.encode()
        replies.append((rule.path, rule.method, rule.ignore_case, (rule.code, build_answer_headers(rule.headers, body), body)))
    try:
        rules = build_rules(replies, api, config)
    except ValueError as error:
        raise ConfigError([Problem(api.source, "mock_response", "", f"a path does not compile: {error}")]) from error
    if rules is None:
        return None

    def answer_mock(exchange: Exchange) -> None:
        found = rules.find(exchange.method, exchange.remaining_path, exchange.canonical)
        if found is not None:
            raise Reply(*found)

    return answer_mock

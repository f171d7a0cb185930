"""The description of the control API against a real gateway: schemathesis makes requests of it and compares the answers with it.

No 5xx outside of the documented rows, no answer of another form, nothing unexpected in the log. Scaled for CI (a fixed seed, at most
about a minute); full-size with ``TLSGATE_ACCEPTANCE=1``. Source: issue 5, acceptance 2.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.core.failures import FailureGroup

from tests.support.gateway import Gateway, classic, oas, running_gateway

load_all_checks()
from schemathesis.checks import CHECKS  # noqa: E402 (filled by the line before)

SECRET = "test-secret-of-32-characters-xxxx"
FULL = os.environ.get("TLSGATE_ACCEPTANCE") == "1"
EXAMPLES = 400 if FULL else 8
BUDGET_S = 900.0 if FULL else 45.0
COMPARED = [CHECKS.get_one(name) for name in ("status_code_conformance", "content_type_conformance", "response_schema_conformance")]
DOCUMENTED_5XX = re.compile(
    r"Delete failed|Due to enabled use_db_app_configs, please use the Dashboard API|File object creation failed, write error"
    r"|Unmarshalling failed|Failed to create key.*|Could not write key data|Error writing to key store.*"
    r"|Request timeout while processing keys|Service temporarily unavailable\."
    r"|Gateway is shutting down|Redis connection not available|Store not available|A successful API reload did not happen",
    re.DOTALL,
)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder: Path = tmp_path_factory.mktemp("described")
    apis = (classic("one", 9, "/one/"), oas("two", 9, "/two/"))
    with running_gateway(folder, *apis, health_check={"enable_health_checks": True}) as running:
        yield running


def test_answers_are_as_described(gateway: Gateway) -> None:
    """Each operation is called with bodies, queries and ids of all kinds that its description allows, and some that it forbids."""
    base = f"http://127.0.0.1:{gateway.port_of('control')}"
    with requests.Session() as session:
        session.trust_env = False
        session.headers["X-Tyk-Authorization"] = SECRET
        description = session.get(f"{base}/tyk/openapi.json", timeout=10).json()
        schema = schemathesis.openapi.from_dict(description)
        operations = [found.ok() for found in schema.get_all_operations()]
        assert len(operations) > 20
        until = time.monotonic() + BUDGET_S
        seen: Counter[tuple[str, int]] = Counter()
        for operation in operations:
            # Negative data only where everything else but the body is fixed: what a path may not hold never reaches its operation.
            modes = [GenerationMode.POSITIVE, *([GenerationMode.NEGATIVE] if operation.body and "{" not in operation.path else [])]
            for mode in modes:
                call_many(operation, mode, base, session, until, seen)
            if "{id}" in operation.path:
                there = {"id": "two" if "/oas/" in operation.path else "one"}
                call_many(operation, GenerationMode.POSITIVE, base, session, until, seen, path_parameters=there)
        # The data are worth something: every operation was reached, changes were taken and refused.
        assert {label for label, _ in seen} == {operation.label for operation in operations}
        assert {200, 400, 404} <= {status for _, status in seen}
        # Whatever was written meanwhile: it can be loaded, and what was there before is served still.
        assert session.get(f"{base}/tyk/reload?block=true", timeout=60).json()["status"] == "ok"
        assert session.get(f"{base}/hello", timeout=10).status_code == 200


def call_many(
    operation: Any,
    mode: GenerationMode,
    base: str,
    session: requests.Session,
    until: float,
    seen: Counter[tuple[str, int]],
    **fixed: Any,
) -> None:
    """Call one operation with generated data, and compare each answer."""

    @seed(5)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode, **fixed))
    def run(case: Any) -> None:
        if time.monotonic() > until:
            return
        response = case.call(base_url=base, session=session, headers={"X-Tyk-Authorization": SECRET}, allow_redirects=False)
        seen[operation.label, response.status_code] += 1
        case.validate_response(response, checks=COMPARED)
        if response.status_code >= 500:
            message = json.loads(response.content)["message"]
            assert DOCUMENTED_5XX.fullmatch(message), (case.as_curl_command(), message)

    run()


def test_a_wrong_answer_would_be_noticed(gateway: Gateway) -> None:
    """The comparison itself: a description that promises something else is found out."""
    base = f"http://127.0.0.1:{gateway.port_of('control')}"
    with requests.Session() as session:
        session.trust_env = False
        session.headers["X-Tyk-Authorization"] = SECRET
        description = session.get(f"{base}/tyk/openapi.json", timeout=10).json()
        answers = description["paths"]["/tyk/reload/group"]["get"]["responses"]
        answers["200"] = {"description": "", "content": {"application/json": {"schema": {"type": "array"}}}}
        schema = schemathesis.openapi.from_dict(description)
        operation = schema["/tyk/reload/group"]["GET"]
        with pytest.raises(FailureGroup, match="1 distinct failure"):
            call_many(operation, GenerationMode.POSITIVE, base, session, time.monotonic() + 10, Counter())

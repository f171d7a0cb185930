"""What policies and APIs say of each other: grants that open nothing, or nothing more than is open anyway.

Pure; knows neither files nor requests. All of it is accepted as in Tyk, with a warning (decisions 3.7). Source: keys reference, section 7.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tlsgate.errors import Problem
from tlsgate.model.api import ApiDefinition
from tlsgate.model.policy import Policy
from tlsgate.model.session import AccessRight
from tlsgate.routing.paths import build_path_matcher

__all__ = ["review_policies"]


def review_policies(by_file: Mapping[str, Iterable[Policy]], apis: Iterable[ApiDefinition]) -> list[Problem]:
    """Return a warning for each right that hardly means what it says.

    :param by_file: policies by the file that they were read from.
    :param apis: those that are served or refused; rights to others may come to use later, and are named as well.
    """
    known = {api.api_id: api for api in apis}
    found: list[Problem] = []
    for file, policies in by_file.items():
        for policy in policies:
            for id, right in policy.access_rights.items():
                where = f"{policy.id}: access_rights.{id}"
                found += [Problem(file, where, "", message, remedy, "warning") for message, remedy in _review(policy, right, known.get(id))]
                found += _review_paths(right, file, where)
    return found


def _review(policy: Policy, right: AccessRight, api: ApiDefinition | None) -> Iterable[tuple[str, str]]:
    if api is None:
        yield "no such API is loaded", "take it out, or check the id"
        return
    if api.is_raw:
        yield "a raw service asks for no key, so that the right has no effect", "take it out"
    elif api.keyless:
        yield "the API is keyless: everybody may use it, and the limits of the policy count for nobody", "take it out"
    elif policy.org_id != api.org_id:
        yield f"the API is of another organisation ({api.org_id or 'none'}): no key with this policy gets in", "use one of its own"
    elif api.is_versioned and not right.versions:
        yield "names no version of a versioned API, so that it opens none", "list the versions"


def _review_paths(right: AccessRight, file: str, where: str) -> Iterable[Problem]:
    for index, entry in enumerate(right.allowed_urls):
        place = f"{where}.allowed_urls[{index}]"
        try:
            build_path_matcher(entry.url, prefix=True, suffix=True, ignore_case=False, listen_path="/")
        except ValueError:
            yield Problem(file, f"{place}.url", "", "is no expression that can be matched, so that it opens nothing", "", "warning")
        if not any(entry.methods):
            yield Problem(file, f"{place}.methods", "", "is empty, so that the entry opens nothing", "list methods", "warning")
        elif any(method != method.upper() for method in entry.methods):
            yield Problem(file, f"{place}.methods", "", "is not in upper case, so that it matches no request", "write GET", "warning")

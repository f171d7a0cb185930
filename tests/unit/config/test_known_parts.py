"""Settings of our own have the names of the records that they become."""

from __future__ import annotations

import msgspec

from tlsgate.config.known_parts import ERROR_OVERRIDES, OWN
from tlsgate.config.model import AccessLogSettings, ConnectionLimits, OwnSettings
from tlsgate.config.schema import FLAG, INTEGER, NUMBER, TEXT, ListOf, ObjectOf


def test_limits_are_those_of_the_record() -> None:
    """A new field of the record is a new setting, without a second list."""
    limits = OWN.members["limits"]
    assert isinstance(limits, ObjectOf) and limits.strict
    assert set(limits.members) == {field.name for field in msgspec.structs.fields(ConnectionLimits)}
    assert (limits.members["head_timeout_s"], limits.members["max_fields"]) == (NUMBER, INTEGER)


def test_log_settings_are_those_of_the_record() -> None:
    """With their types."""
    log = OWN.members["log"]
    assert isinstance(log, ObjectOf)
    assert set(log.members) == {field.name for field in msgspec.structs.fields(AccessLogSettings)}
    assert (log.members["access"], log.members["file"]) == (FLAG, TEXT)


def test_each_own_setting_can_be_written() -> None:
    """No field of the record is out of reach."""
    assert OWN.strict
    certificates = OWN.members["client_certificates"]
    assert isinstance(certificates, ObjectOf) and certificates.strict
    elsewhere = {*certificates.members, "binding"}
    assert {field.name for field in msgspec.structs.fields(OwnSettings)} - elsewhere <= set(OWN.members)


def test_error_overrides_are_lists_by_status() -> None:
    """The same shape in tyk.conf and in definitions."""
    assert isinstance(ERROR_OVERRIDES.item, ListOf) and isinstance(ERROR_OVERRIDES.item.item, ObjectOf)
    assert set(ERROR_OVERRIDES.item.item.members) == {"match", "response"}

"""Frozen records without behaviour beyond parsing and validation, and the one mutable per-request record."""

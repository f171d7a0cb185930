"""Checks before authentication, one per file; nothing here reads the body or a store."""

"""Tests of tlsgate.events."""

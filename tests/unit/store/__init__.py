"""Tests of tlsgate.store."""

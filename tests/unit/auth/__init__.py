"""Tests of tlsgate.auth."""

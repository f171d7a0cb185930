"""Stores: small protocols, three backends, one conformance suite."""

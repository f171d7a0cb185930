"""Configuration of the gateway: records, loading from file and environment, problems."""

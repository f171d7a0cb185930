"""Changes to requests and responses, one step per file."""

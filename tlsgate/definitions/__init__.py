"""API definitions in Tyk's two forms, read into ``model.api``."""

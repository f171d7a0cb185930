"""The control API: health now, everything under ``/tyk/`` later."""

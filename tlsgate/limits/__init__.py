"""How much a key or an API may be used: one file per algorithm, pure arithmetic over (state, now); counters live in the store."""

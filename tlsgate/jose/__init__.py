"""JSON Object Signing: tokens, keys, key sets; pure."""

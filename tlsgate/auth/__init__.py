"""Who sent a request and what that key may do: keys, sessions, policies, one file per authentication method."""

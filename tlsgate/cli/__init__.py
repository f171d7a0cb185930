"""The operator's commands: keys, policies, certificates, APIs and reloads of a running gateway, through its REST API."""

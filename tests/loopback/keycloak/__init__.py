"""The gateway with a real Keycloak."""

"""Signing in with an OpenID provider, and the roles that its groups bring."""

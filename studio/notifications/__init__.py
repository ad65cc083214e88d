"""Telling people and programs what happened: by e-mail and by webhooks."""

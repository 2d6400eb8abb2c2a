"""Webhook intake, REST API, event stream."""

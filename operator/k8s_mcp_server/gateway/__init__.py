"""The one way from a command to the API server: every request is understood, decided, forwarded as ours, and recorded."""

"""The one way from a command to the API server: each request is understood, decided, forwarded as ours, recorded."""

"""Connections of helm to chart hosts: each is decided, goes to an address that was checked, and is TLS to that host."""

"""What tests of the gateway list: pods, and what one looks like in a list."""

from __future__ import annotations

PODS = "/api/v1/namespaces/a/pods"


def item(namespace: str, size: int = 0) -> bytes:
    return b'{"metadata":{"name":"x","namespace":"%b"},"data":"%b"}' % (namespace.encode(), b"x" * size)

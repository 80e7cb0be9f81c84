"""All that this service itself asks of the API server: policies, namespaces, discovery, tokens, Lease, status."""

"""How agents reach the service: HTTP, authentication, the MCP tools, and the ports for health and metrics."""

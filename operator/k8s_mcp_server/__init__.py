"""kubectl for remote LLM agents, each held to its McpAccessPolicy."""

"""``python -m k8s_mcp_server``."""

from __future__ import annotations

from k8s_mcp_server.cli import main

if __name__ == "__main__":
    main()

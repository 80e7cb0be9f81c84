"""`python -m devtools.toolchain`."""

from __future__ import annotations

from devtools.toolchain.cli import main

if __name__ == "__main__":
    raise SystemExit(main())

"""`python -m devtools.image`: builds the image and says what is in it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from devtools.image.build import CLIS, DEFAULT_NAME, build_image
from devtools.image.buildah import ImageError
from devtools.toolchain import ToolchainError


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python3 -m devtools.image",
        description="Builds the Dockerfile without a container engine, from CLIs that are built already.",
    )
    parser.add_argument("--name", default=DEFAULT_NAME, help="of the image, with its tag")
    parser.add_argument("--clis", nargs="+", choices=CLIS, default=list(CLIS), help="which CLIs it has")
    parser.add_argument("--archive", type=Path, default=Path("dist/image.tar"), help="where the image goes")
    options = parser.parse_args()
    try:
        image = build_image(options.name, archive=options.archive, clis=options.clis)
    except (ImageError, ToolchainError) as error:
        print(f"image: {error}", file=sys.stderr)
        return 1
    print(image.sizes)
    print(f"{image.name}: {image.archive}, bill of materials: {image.bill}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

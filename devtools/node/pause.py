"""The image that holds a Pod's namespaces: Debian's catatonit, which is one static file, in its pause mode."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from devtools.image.buildah import Buildah
from devtools.node.components import PAUSE_IMAGE
from devtools.node.errors import NodeError
from devtools.node.machine import find_command

if TYPE_CHECKING:
    from pathlib import Path

_DOCKERFILE = """\
FROM scratch
COPY catatonit /catatonit
USER 65535:65535
ENTRYPOINT ["/catatonit", "-P"]
"""


def pause_image(folder: Path) -> Path:
    """Build the image and return its archive in `folder`.

    Raises:
        ImageError: it can't be built.
        NodeError: there is no catatonit.
    """
    catatonit = find_command("catatonit")
    if catatonit is None:
        raise NodeError("catatonit is not there")
    context = folder / "pause"
    context.mkdir()
    shutil.copy2(catatonit, context / "catatonit")
    (context / "Dockerfile").write_text(_DOCKERFILE, encoding="utf-8")
    buildah, archive = Buildah(), folder / "pause.tar"
    buildah.build(context, file=context / "Dockerfile", name=PAUSE_IMAGE)
    buildah.save(PAUSE_IMAGE, archive)
    return archive

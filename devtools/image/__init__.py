"""Builds the container image where there is no container engine: buildah, chroot isolation, a local base."""

from devtools.image.build import Image, build_image
from devtools.image.buildah import ImageError

__all__ = ["Image", "ImageError", "build_image"]

"""What `manifests/` and `examples/` become when kustomize builds them, for the checks and the tests."""

from devtools.manifests.kustomizations import Kustomization, kustomizations

__all__ = ["Kustomization", "kustomizations"]

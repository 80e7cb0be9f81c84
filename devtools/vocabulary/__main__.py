"""`python -m devtools.vocabulary`: run the vocabulary in a cluster of its own and write docs/kubectl.md anew."""

from __future__ import annotations

from devtools.cluster import KwokCluster
from devtools.toolchain import ensure_tools
from devtools.vocabulary.compare import compare
from devtools.vocabulary.table import DOCUMENT, render


def main() -> None:
    """Write the document."""
    with KwokCluster.start(name="vocabulary", exec_on_host=True, on_progress=print) as cluster:
        kubectl = ensure_tools(["kubectl"])["kubectl"]
        compared = compare(cluster, kubectl)
    DOCUMENT.write_text(render(compared, kubectl), encoding="utf-8")
    print(f"{len(compared)} commands; wrote {DOCUMENT}")


if __name__ == "__main__":
    main()

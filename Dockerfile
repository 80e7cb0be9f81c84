# syntax=docker/dockerfile:1
# The CLIs come from the same Go modules as the tests' and the demo's: tools/ is the one source of their versions.

FROM golang:1.26-trixie AS tools
RUN apt-get update && apt-get install --yes --no-install-recommends python3 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY tools tools
COPY devtools devtools
RUN python3 -m devtools.toolchain ensure kubectl yq --out /out

FROM python:3.13-slim-trixie AS python
WORKDIR /src
COPY requirements.lock pyproject.toml README.md LICENSE ./
RUN python -m venv /opt/k8s-mcp-server \
    && /opt/k8s-mcp-server/bin/pip install --no-cache-dir --require-hashes --requirement requirements.lock
COPY crds crds
COPY operator operator
RUN /opt/k8s-mcp-server/bin/pip install --no-cache-dir --no-deps .

FROM python:3.13-slim-trixie
LABEL org.opencontainers.image.title="k8s-mcp-server" \
      org.opencontainers.image.description="kubectl for remote LLM agents, each held to its McpAccessPolicy" \
      org.opencontainers.image.licenses="MIT"
# What a command may pipe into, beside what is in the base (grep, sed, awk, coreutils); kubectl diff uses its diff.
RUN apt-get update && apt-get install --yes --no-install-recommends bsdextrautils jq && rm -rf /var/lib/apt/lists/*
COPY --from=tools /out/kubectl /out/yq /usr/local/bin/
COPY --from=python /opt/k8s-mcp-server /opt/k8s-mcp-server
USER 65532:65532
ENTRYPOINT ["/opt/k8s-mcp-server/bin/k8s-mcp-server"]
CMD ["serve"]

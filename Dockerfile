# syntax=docker/dockerfile:1
# The CLIs come from the same Go modules as the tests' and the demo's: tools/ is the one source of their versions.
#
#   CLIS   which CLIs the image has; the server offers those that it finds. --build-arg CLIS="kubectl helm"
#
# Where they (and yq) are built already, a folder with them takes the place of the first stage: --build-context tools=FOLDER

FROM --platform=$BUILDPLATFORM golang:1.26-trixie AS tools-build
RUN apt-get update && apt-get install --yes --no-install-recommends python3 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY tools tools
COPY devtools devtools
ARG CLIS="kubectl helm istioctl argocd"
ARG TARGETOS
ARG TARGETARCH
RUN GOOS=$TARGETOS GOARCH=$TARGETARCH python3 -m devtools.toolchain ensure $CLIS yq --out /out && ls -l /out

FROM scratch AS tools
COPY --from=tools-build /out/ /

FROM debian:trixie-slim AS python
RUN apt-get update && apt-get install --yes --no-install-recommends python3 python3-venv && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements.lock requirements-build.lock ./
# /build installs into the environment, so that the environment itself has no pip. Compiled modules are valid whatever
# time their sources bear: a builder that sets all times to one would have every start compile them anew.
RUN python3 -m venv /build \
    && /build/bin/pip install --no-cache-dir --require-hashes --requirement requirements-build.lock \
    && python3 -m venv --without-pip /opt/k8s-mcp-server \
    && /build/bin/pip --python /opt/k8s-mcp-server/bin/python install --no-cache-dir --no-compile --require-hashes --requirement requirements.lock \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/k8s-mcp-server/lib

FROM python AS service
COPY pyproject.toml README.md LICENSE ./
COPY crds crds
COPY operator operator
# Into a folder of its own: a new version of the service is then a layer of a few hundred kilobytes.
RUN /build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheel . \
    && /build/bin/pip --python /opt/k8s-mcp-server/bin/python install --no-cache-dir --no-compile --no-deps --root /out /wheel/*.whl \
    && python3 -m compileall -q --invalidation-mode unchecked-hash -s /out /out/opt

FROM debian:trixie-slim
# What a command may pipe into, beside what is in the base (grep, sed, awk, coreutils); kubectl diff uses its diff.
# Nobody becomes another user here: no program keeps the right to.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends bsdextrautils ca-certificates jq mawk python3 \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m compileall -q -f --invalidation-mode unchecked-hash /usr/lib/python3* \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} +
COPY --from=tools / /usr/local/bin/
COPY --from=python /opt/k8s-mcp-server /opt/k8s-mcp-server
COPY --from=service /out/ /
ENV PATH=/opt/k8s-mcp-server/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="k8s-mcp-server" \
      org.opencontainers.image.description="kubectl, helm, istioctl and argocd for remote LLM agents, each held to its McpAccessPolicy" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION"
# Numeric, so that runAsNonRoot can be checked; nothing in the image is writable for it.
USER 65532:65532
ENTRYPOINT ["k8s-mcp-server"]
CMD ["serve"]

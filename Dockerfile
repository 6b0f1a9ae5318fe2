# RL Swarm in a container. docker-compose.yaml says how it is built and run; by hand:
#   docker build -t rl-swarm:cpu .
#   docker build -t rl-swarm:gpu --build-arg BASE_IMAGE=nvidia/cuda:13.0.2-runtime-ubuntu24.04 --build-arg TORCH_BUILD=cuda .
# What changes seldom comes first: after a change in rgym_exp/ only the last few layers are made again.

# Any Debian or Ubuntu whose Python is 3.11 or newer, or that has none and can install one.
ARG BASE_IMAGE=python:3.11-slim-bookworm
ARG NODE_IMAGE=node:22-bookworm-slim

# ------------------------------------------------------------------------------------------- the base, with a Python
FROM ${BASE_IMAGE} AS base
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
RUN if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
        apt-get update && apt-get install -y --no-install-recommends ca-certificates python3 \
        && rm -rf /var/lib/apt/lists/*; \
    fi

# -------------------------------------------------------------------------- the login server and the node's web page
FROM ${NODE_IMAGE} AS web
ENV NEXT_TELEMETRY_DISABLED=1
WORKDIR /app/modal-login
COPY modal-login/package.json modal-login/package-lock.json ./
RUN --mount=type=cache,target=/root/.npm npm ci --no-audit --no-fund
# The program itself, not the script that some images have in its place.
RUN cp "$(node --print process.execPath)" /node
COPY modal-login ./
RUN npm run build

# ------------------------------------------------------------------------------------------- the local chain's program
FROM ${NODE_IMAGE} AS chain
WORKDIR /contracts
COPY contracts/package.json contracts/package-lock.json ./
RUN --mount=type=cache,target=/root/.npm npm ci --omit=dev --no-audit --no-fund \
    && cp node_modules/@foundry-rs/anvil-linux-*/bin/anvil /anvil

# --------------------------------------------------------------- the Python environment, made as the launcher makes it
FROM base AS python
RUN packages=(gcc libc6-dev); \
    python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv); \
    python3 -c 'import os, sysconfig; os.stat(sysconfig.get_paths()["include"] + "/Python.h")' 2>/dev/null \
        || packages+=(python3-dev); \
    apt-get update && apt-get install -y --no-install-recommends "${packages[@]}"
WORKDIR /app
COPY pyproject.toml constraints.txt LICENSE ./
COPY scripts/environment.sh scripts/
# cpu or cuda: which build of PyTorch.
ARG TORCH_BUILD=cpu
# Mirror of PyTorch's index of CPU builds.
ARG TORCH_INDEX_URL=""
# Of pyproject.toml, for a tracker: wandb or tensorboard.
ARG EXTRAS=""
# The package is installed as a link to /app/rgym_exp, which is empty here: code is no reason to install again.
RUN --mount=type=cache,target=/root/.cache/pip \
    mkdir rgym_exp && touch rgym_exp/__init__.py README.md \
    && export TORCH_BUILD TORCH_INDEX_URL PIP_COMPILE=0 ROOT=/app INSTALL_LOG=/tmp/install.log \
    && . scripts/environment.sh && prepare_environment "$EXTRAS"
COPY docker/slim.sh docker/compile.py docker/
RUN docker/slim.sh .venv && .venv/bin/python docker/compile.py
# Programs of the other stages, without their symbols for debuggers.
COPY --from=web /node /programs/
COPY --from=chain /anvil /programs/
RUN strip --strip-unneeded /programs/*

# ----------------------------------------------------------------------------------------------------- what runs
FROM base AS runtime
# A number that no person on the host is likely to have: see docker/entrypoint.sh.
RUN groupadd --gid 10001 swarm \
    && useradd --uid 10001 --gid swarm --home-dir /tmp --no-create-home --shell /usr/sbin/nologin swarm \
    && install -d -o swarm -g swarm /user /cache
WORKDIR /app
COPY --from=python /programs/ /usr/local/bin/
COPY --from=python /app/.venv .venv
COPY --from=web /app/modal-login/package.json modal-login/
COPY --from=web /app/modal-login/scripts/start.mjs modal-login/scripts/
COPY --from=web /app/modal-login/.next/standalone modal-login/.next/standalone
# Who is logged in is kept with the rest of the node's things: docker/entrypoint.sh says where that is.
RUN ln -s /tmp/modal-login modal-login/temp-data
COPY pyproject.toml constraints.txt LICENSE run_rl_swarm.sh ./
COPY scripts/environment.sh scripts/
COPY docker/entrypoint.sh docker/health.sh docker/
COPY rgym_exp rgym_exp
# The root file system may be read-only, where Python can't keep what it compiles. And `rl-swarm` in a running
# container is the entrypoint, so that it gives up root there, too.
RUN .venv/bin/python -m compileall -q rgym_exp && ln -s /app/docker/entrypoint.sh /usr/local/bin/rl-swarm

ARG TORCH_BUILD=cpu
# /user is the node's home: what it keeps. /cache is what can be fetched or made again. Published ports reach a server
# only when it listens on all addresses of the container; docker-compose.yaml publishes them on the host's loopback.
ENV ANVIL=/usr/local/bin/anvil \
    HOME=/tmp \
    IDENTITY_PATH=/user/keys/swarm.pem \
    LOGIN_HOST=0.0.0.0 \
    LOGNAME=swarm \
    NEXT_TELEMETRY_DISABLED=1 \
    RL_SWARM_HOME=/user \
    TORCH_BUILD=${TORCH_BUILD} \
    TRITON_CACHE_DIR=/cache/triton \
    XDG_CACHE_HOME=/cache
USER swarm
EXPOSE 3000 8600 38600 38700
HEALTHCHECK --interval=10s --timeout=10s --start-period=15m --retries=3 CMD ["/app/docker/entrypoint.sh", "health"]
ENTRYPOINT ["/app/docker/entrypoint.sh"]

ARG VERSION=0.2.0
ARG REVISION=""
LABEL org.opencontainers.image.title="RL Swarm" \
      org.opencontainers.image.description="A peer-to-peer node that trains a language model by reinforcement learning" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

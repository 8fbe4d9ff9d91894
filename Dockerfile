# syntax=docker/dockerfile:1
#   docker build --target server  .    the server: no torch, a small image
#   docker build --target adapter .    the learner (--build-arg TORCH=cuda for a GPU)
#   docker build --target cpu     .    everything, engine and Valkey too, for a machine without a GPU

FROM python:3.11.13-slim-bookworm@sha256:86adf8dbadc3d6e82ee5dd2c74bec2e1c2467cdad47886280501df722372d2e1 AS base
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /app
# Adapter folders and everything else that outlives a process go to /app/.ratchet, base models to /models,
# what an engine compiles to /cache: a new volume that one of these images mounts there belongs to their user.
RUN useradd --uid 10001 --create-home ratchet && install -d -o ratchet -g ratchet .ratchet /models /cache

FROM base AS server
COPY deploy/lock/server.txt deploy/lock/
RUN pip install --no-deps --require-hashes -r deploy/lock/server.txt
COPY . .
RUN pip install --no-deps --no-build-isolation -e .
USER 10001:10001
ENV RATCHET_HOST=0.0.0.0
EXPOSE 8000
VOLUME /app/.ratchet
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/livez', timeout=2)"]
ENTRYPOINT ["ratchet"]
CMD ["serve"]

FROM base AS adapter
ARG TORCH=cpu
COPY deploy/lock/adapter.txt deploy/lock/torch-cpu.txt deploy/lock/torch-cuda.txt deploy/lock/install_torch.sh deploy/lock/
RUN pip install --no-deps --require-hashes -r deploy/lock/adapter.txt && deploy/lock/install_torch.sh python "$TORCH"
COPY . .
RUN pip install --no-deps --no-build-isolation -e .
USER 10001:10001
ENV RATCHET_ADAPTER_METRICS_PORT=9100 RATCHET_ADAPTER_METRICS_HOST=0.0.0.0
EXPOSE 9100
VOLUME /app/.ratchet
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9100/metrics', timeout=4)"]
ENTRYPOINT ["ratchet"]
CMD ["adapt"]

FROM base AS cpu
# The engine links libnuma. A Debian release has only one version of it, so there is none to pin.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends libnuma1 && rm -rf /var/lib/apt/lists/*
COPY deploy/lock/cpu.txt deploy/lock/torch-cpu.txt deploy/lock/torch-cuda.txt deploy/lock/install_torch.sh deploy/lock/
RUN pip install --no-deps --require-hashes -r deploy/lock/cpu.txt && deploy/lock/install_torch.sh python
COPY . .
RUN pip install --no-deps --no-build-isolation -e .
USER 10001:10001
ENV RATCHET_HOST=0.0.0.0
EXPOSE 8000
VOLUME /app/.ratchet
HEALTHCHECK --interval=10s --timeout=3s --start-period=180s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["ratchet"]
CMD ["up"]

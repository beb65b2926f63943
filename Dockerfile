# ComfyUI with the base's torch in one Python environment, the gateway in another: custom nodes may
# re-pin whatever they like without reaching the gateway.
ARG BASE_IMAGE=pytorch/pytorch:2.14.0-cuda13.0-cudnn9-runtime
FROM ${BASE_IMAGE}

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ENV DEBIAN_FRONTEND=noninteractive \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1

# libgl1 and libglib2.0-0 are what OpenCV wants, and half of all custom nodes want OpenCV.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        ca-certificates curl git libgl1 libglib2.0-0 python3-venv tini \
    && rm -rf /var/lib/apt/lists/*

ARG COMFYUI_VERSION=v0.45.2
RUN git clone --depth 1 --branch "${COMFYUI_VERSION}" \
        https://github.com/Comfy-Org/ComfyUI /opt/ComfyUI

# The environment sees the base's torch, and the constraint keeps pip from fetching another. Whoever
# the container runs as may add to it: manifests and custom nodes bring packages.
RUN python3 -m venv --system-site-packages /opt/comfy-env \
    && /opt/comfy-env/bin/python -c 'from importlib.metadata import distributions as all; print(*sorted({f"{d.name}=={d.version}" for d in all() if d.name in ("torch", "torchaudio", "torchvision")}), sep="\n")' > /opt/comfy-env/constraints.txt \
    && grep '^torch==' /opt/comfy-env/constraints.txt \
    && /opt/comfy-env/bin/pip install \
        --constraint /opt/comfy-env/constraints.txt --requirement /opt/ComfyUI/requirements.txt \
    && /opt/comfy-env/bin/python -c 'import sys, torch; sys.exit(torch.version.cuda is None)' \
    && { /opt/comfy-env/bin/python -m compileall -q /opt/ComfyUI || true; } \
    && chmod -R a+rwX /opt/comfy-env

# The gateway's dependencies change less often than its code, so they are a layer of their own.
COPY pyproject.toml /opt/src/
RUN python3 -m venv /opt/gateway \
    && /opt/gateway/bin/python -c 'import tomllib; print(*tomllib.load(open("/opt/src/pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' > /opt/src/requirements.txt \
    && /opt/gateway/bin/pip install --requirement /opt/src/requirements.txt

COPY scripts/comfyui /usr/local/bin/comfyui
# Which user runs the container is settled when it starts (compose: PUID, PGID), so these folders
# are open to any; on a host's folders mounted over them, the host's permissions hold.
RUN install -d -m 1777 /cache /home/comfy /var/lib/comfy-gateway /opt/ComfyUI/custom_nodes \
        /opt/ComfyUI/input /opt/ComfyUI/models /opt/ComfyUI/output /opt/ComfyUI/user

COPY workflows /workflows
COPY README.md LICENSE /opt/src/
COPY gateway /opt/src/gateway
RUN /opt/gateway/bin/pip install --no-deps /opt/src

# torch asks for the user's name, which an arbitrary number does not have: hence USER.
ENV HOME=/home/comfy \
    USER=comfy \
    PATH=/opt/comfy-env/bin:${PATH} \
    COMFY_HOME=/opt/ComfyUI \
    COMFY_PYTHON=/opt/comfy-env/bin/python \
    CACHE_DIR=/cache \
    WORKFLOW_DIR=/workflows \
    STATE_DIR=/var/lib/comfy-gateway \
    TEMP_DIR=/tmp/comfyui/temp \
    HOST=0.0.0.0 \
    PORT=3000 \
    LOG_FORMAT=json

VOLUME ["/cache", "/var/lib/comfy-gateway", "/opt/ComfyUI/models", "/opt/ComfyUI/input", "/opt/ComfyUI/output", "/opt/ComfyUI/custom_nodes"]
EXPOSE 3000 8188
WORKDIR /var/lib/comfy-gateway
USER 1000:1000

HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["curl", "-fsS", "-m", "4", "http://127.0.0.1:3000/live"]

ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["/opt/gateway/bin/python", "-m", "gateway", "serve"]

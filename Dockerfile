# The base is an argument so that a machine without a registry can name its own; a release pins a digest.
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
WORKDIR /src
RUN python3 -m venv /opt/venv
# Dependencies first: this layer changes only with the lock file. The CPU index keeps the image
# small; build with --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu126 for CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY pyproject.toml constraints.txt LICENSE README.md ./
COPY bids_app ./bids_app
COPY model ./model
# Secrets are optional: a site's own pip configuration and certificates, never baked in.
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf \
    --mount=type=secret,id=cabundle,target=/etc/ssl/certs/ca-certificates.crt \
    /opt/venv/bin/python -m pip install --no-cache-dir --compile \
        ${TORCH_INDEX:+--extra-index-url ${TORCH_INDEX}} -c constraints.txt .

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="semantoks" \
      org.opencontainers.image.description="Brain-Semantoks as a BIDS App" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/venv /opt/venv
COPY entrypoint.py /opt/semantoks/entrypoint.py
ENV PATH=/opt/venv/bin:$PATH \
    SEMANTOKS_HOME=/opt/semantoks/home \
    PYTHONNOUSERSITE=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 LANG=C.UTF-8 \
    MPLCONFIGDIR=/tmp/matplotlib XDG_CACHE_HOME=/tmp/cache TEMPLATEFLOW_HOME=/tmp/templateflow
RUN mkdir -p /opt/semantoks/home /bids /out /work
# Atlas voxels are not part of this repository: they are fetched here, once, from pinned addresses
# with hashes. ATLAS=none leaves them out; then mount the folder of semantoks-assets at run time.
ARG ATLAS=download
RUN [ "${ATLAS}" = none ] || semantoks-assets atlas "--${ATLAS}"
RUN chmod -R a+rX /opt/semantoks
# No USER line: a baked user could not write to a mount of another owner. Any uid works.
ENTRYPOINT ["python3", "/opt/semantoks/entrypoint.py"]

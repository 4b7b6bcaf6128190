# docs/containers.md says how to build and run this; tools/platforms/container.sh does both.
# The base is an argument so that a machine without a registry can name its own; a release names one by digest.
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
RUN python3 -m venv /opt/venv
WORKDIR /src
# The CPU index saves gigabytes. Empty: what the package index itself has, for Linux a CUDA build.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# Dependencies alone first: this layer, nearly all of the image, changes with these files only. All but torch are checked
# against the hashes of the lock; torch comes from the index that has the build, at the version of constraints.txt.
# A site's own pip configuration and certificates come as secrets, both optional, and are not kept.
COPY constraints.txt requirements.lock ./
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf \
    --mount=type=secret,id=cabundle,target=/etc/ssl/certs/ca-certificates.crt \
    /opt/venv/bin/python -m pip install --no-cache-dir --require-hashes --no-deps -r requirements.lock && \
    /opt/venv/bin/python -m pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "${TORCH_INDEX}"} \
        -c constraints.txt torch
COPY LICENSE README.md pyproject.toml ./
COPY bids_app ./bids_app
COPY model ./model
COPY semantoks ./semantoks
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf \
    --mount=type=secret,id=cabundle,target=/etc/ssl/certs/ca-certificates.crt \
    /opt/venv/bin/python -m pip install --no-cache-dir --no-deps . && /opt/venv/bin/python -m pip check
# Atlas voxels are not part of this repository: they are fetched from pinned addresses and checked by
# hash. ATLAS=none leaves them out.
ARG ATLAS=download
COPY entrypoint.py /opt/semantoks/entrypoint.py
RUN --mount=type=secret,id=cabundle,target=/etc/ssl/certs/ca-certificates.crt \
    case "${ATLAS}" in \
        download) REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt TEMPLATEFLOW_HOME=/tmp/templateflow \
            /opt/venv/bin/semantoks assets atlas --download --home /opt/semantoks/home ;; \
        none) mkdir -p /opt/semantoks/home ;; \
        *) echo "ATLAS: expected download or none, found ${ATLAS}" >&2; exit 2 ;; \
    esac && \
    /opt/venv/bin/python -c 'import bids_app; print(bids_app.__version__)' > /opt/semantoks/version && \
    chmod -R a+rX /opt/semantoks

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="semantoks" \
      org.opencontainers.image.description="fMRIPrep derivatives in; parcel series, tokens and embeddings out: Brain-Semantoks as a BIDS App" \
      org.opencontainers.image.authors="The semantoks developers" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/semantoks /opt/semantoks
# /version is where BIDS Apps keep theirs; the folders are mount points that a read-only root needs.
RUN ln -s /opt/semantoks/version /version && mkdir -p /bids /out /work
# Nothing may depend on HOME, which is another one in each engine. Each process has one thread:
# --n-cpus is how many there are. MPLCONFIGDIR: where all processes share one list of fonts.
ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    SEMANTOKS_HOME=/opt/semantoks/home \
    PYTHONNOUSERSITE=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 LANG=C.UTF-8 \
    OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 \
    MPLCONFIGDIR=/tmp/semantoks-matplotlib XDG_CACHE_HOME=/tmp/semantoks-cache
# No USER line: a baked user could not write to a mount of another owner. Any uid works.
ENTRYPOINT ["python3", "/opt/semantoks/entrypoint.py"]

# docs/containers.md says how to build and run this; tools/platforms/container.sh does both.
# The base is an argument so that a machine without a registry can name its own; a release names one by digest.
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm

# The version of torch alone: other lines of constraints.txt, which are of tests, change nothing below.
FROM ${BASE_IMAGE} AS pins
COPY constraints.txt /
RUN grep '^torch==' /constraints.txt > /torch.lock

# ---- what semantoks depends on: nearly all of the image, made anew when a lock changes -------------
FROM ${BASE_IMAGE} AS dependencies
# The same bytes whenever it is built: no bytecode that depends on a hash seed, and none of pip's, which holds times of files
# (this variable is the value of pip's option "compile": 1 would switch it on).
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0 PIP_NO_COMPILE=0 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
# /opt/tools builds and stays behind; /opt/venv is what the image holds, without pip.
RUN python3 -m venv /opt/tools && python3 -m venv --without-pip /opt/venv
COPY requirements.lock tools/image/build.lock tools/image/environment.py ./
COPY --from=pins /torch.lock ./
# The CPU index saves gigabytes. Empty: what the package index itself has, for Linux a CUDA build.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# All but torch are checked against the hashes of the locks. torch comes at the version of constraints.txt from the index
# that has the build, which tells its hash; TORCH_SHA256 asks for one wheel.
ARG TORCH_SHA256=
# A site's own pip configuration and certificates come as secrets, both optional, and are not kept.
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf \
    --mount=type=secret,id=cabundle,target=/etc/ssl/certs/ca-certificates.crt \
    set -eu; \
    pip() { /opt/tools/bin/python -m pip --python "$@"; }; \
    pip /opt/tools/bin/python install --require-hashes --no-deps -r build.lock; \
    sed -n '/^setuptools==/,/[^\\]$/p' requirements.lock > setuptools.lock; \
    pip /opt/venv/bin/python install --require-hashes --no-deps -r setuptools.lock; \
    pip /opt/venv/bin/python install --require-hashes --no-deps --no-build-isolation -r requirements.lock; \
    if [ -n "${TORCH_SHA256}" ]; then sed -i "s/$/ --hash=sha256:${TORCH_SHA256}/" torch.lock; fi; \
    pip /opt/venv/bin/python install ${TORCH_INDEX:+--extra-index-url "${TORCH_INDEX}"} \
        ${TORCH_SHA256:+--require-hashes --no-deps} -r torch.lock; \
    pip /opt/venv/bin/python check; \
    python3 environment.py licences /opt/venv /opt/licences/python; \
    python3 environment.py reduce /opt/venv; \
    python3 environment.py compile /opt/venv

# ---- semantoks itself, the atlas, weights, licences, the list of what is inside --------------------
FROM dependencies AS app
COPY LICENSE README.md pyproject.toml ./
COPY bids_app ./bids_app
COPY model ./model
COPY semantoks ./semantoks
# Into a folder of its own, so that an update of semantoks leaves the large layer as it is.
RUN /opt/tools/bin/python -m pip --python /opt/venv/bin/python install --no-index --no-deps --no-build-isolation --prefix /opt/app . && \
    python3 environment.py compile /opt/app && \
    cp -a /opt/app/. /opt/venv/ && \
    /opt/tools/bin/python -m pip --python /opt/venv/bin/python check && \
    mkdir -p /opt/semantoks/home && \
    mv /opt/licences /opt/semantoks/licences && cp LICENSE /opt/semantoks/licences/semantoks.txt && \
    /opt/venv/bin/python -c 'import bids_app; print(bids_app.__version__)' > /opt/semantoks/version && \
    sed "s/^dynamic = \[\"version\"\]\$/version = \"$(cat /opt/semantoks/version)\"/" pyproject.toml > named.toml && \
    /opt/tools/bin/cyclonedx-py environment --output-reproducible --pyproject named.toml --mc-type application \
        -o /opt/semantoks/sbom.cdx.json /opt/venv/bin/python
COPY entrypoint.py /opt/semantoks/entrypoint.py
# Atlas voxels are not part of this repository: they are fetched from pinned addresses, or from a mirror under ATLAS=URL,
# checked by hash, built, and verified. ATLAS=none leaves them out. ATLAS_OPTIONS: further ones of `semantoks assets atlas`.
ARG ATLAS=download
ARG ATLAS_OPTIONS=
RUN --mount=type=secret,id=cabundle,target=/etc/ssl/certs/ca-certificates.crt \
    set -eu; \
    export SEMANTOKS_HOME=/opt/semantoks/home TEMPLATEFLOW_HOME=/tmp/templateflow; \
    export REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt; \
    case "${ATLAS}" in \
        download) set -- --download ;; \
        http*) set -- --from "${ATLAS}" ;; \
        none) exit 0 ;; \
        *) echo "ATLAS: expected download, none or an address, found ${ATLAS}" >&2; exit 2 ;; \
    esac; \
    /opt/venv/bin/semantoks assets atlas "$@" ${ATLAS_OPTIONS} > atlas.log || { cat atlas.log; exit 1; }; \
    cat atlas.log; \
    sed -n '/^Terms of the sources/,$p' atlas.log > /opt/semantoks/licences/atlas.txt; \
    /opt/venv/bin/semantoks assets verify
# The weights of the paper are left out: they are their authors', and semantoks' licence does not cover them.
# CHECKPOINT=published[:seed2|:seed3] with ACCEPT_LICENCE=yes puts them in, for those who may: from the model hub, or from
# CHECKPOINT_FROM, an address. The hub tells the hash, or CHECKPOINT_SHA256 does.
ARG CHECKPOINT=none
ARG ACCEPT_LICENCE=no
ARG CHECKPOINT_FROM=
ARG CHECKPOINT_SHA256=
RUN --mount=type=secret,id=cabundle,target=/etc/ssl/certs/ca-certificates.crt \
    set -eu; \
    export SEMANTOKS_HOME=/opt/semantoks/home; \
    export REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt; \
    if [ "${CHECKPOINT}" != none ]; then \
        client=$(echo /opt/tools/lib/python3*/site-packages); \
        accept=; if [ "${ACCEPT_LICENCE}" = yes ]; then accept=--accept-licence; fi; \
        PYTHONPATH="${client}" /opt/venv/bin/semantoks assets checkpoint --download "${CHECKPOINT}" ${accept} \
            ${CHECKPOINT_FROM:+--from "${CHECKPOINT_FROM}"} ${CHECKPOINT_SHA256:+--sha256 "${CHECKPOINT_SHA256}"} \
            > checkpoint.log 2>&1 || { cat checkpoint.log; exit 1; }; \
        cat checkpoint.log; cp checkpoint.log /opt/semantoks/licences/checkpoint.txt; \
        /opt/venv/bin/semantoks assets verify; \
    fi; \
    chmod -R a+rX /opt/semantoks /opt/app

FROM ${BASE_IMAGE}
# /version is where BIDS Apps keep theirs; the folders are mount points that a read-only root needs. Some bases bring no
# bytecode of Python's own library, which each start on a read-only root would make anew. Boutiques and Nipoppy run a login shell,
# whose PATH is Debian's own and not that of ENV below.
RUN ln -s /opt/semantoks/version /version && ln -s /opt/venv/bin/semantoks /opt/venv/bin/semantoks-model /usr/local/bin/ && mkdir -p /bids /out /work && \
    library=$(python3 -B -c 'import sysconfig; print(sysconfig.get_path("stdlib"))') && \
    { [ -d "${library}/__pycache__" ] || PYTHONHASHSEED=0 python3 -B -m compileall -qq -x '/(test|tests|site-packages|dist-packages|idlelib|lib2to3)/' \
        --invalidation-mode unchecked-hash "${library}"; }
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=app /opt/app /opt/venv
COPY --from=app /opt/semantoks /opt/semantoks
# Nothing may depend on HOME, which is another one in each engine. Each process has one thread:
# --n-cpus is how many there are. MPLCONFIGDIR: where all processes share one list of fonts.
ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    SEMANTOKS_HOME=/opt/semantoks/home \
    PYTHONNOUSERSITE=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 LANG=C.UTF-8 \
    OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 \
    MPLCONFIGDIR=/tmp/semantoks-matplotlib XDG_CACHE_HOME=/tmp/semantoks-cache
ARG BASE_IMAGE
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="semantoks" \
      org.opencontainers.image.description="fMRIPrep derivatives in; parcel series, tokens and embeddings out: Brain-Semantoks as a BIDS App" \
      org.opencontainers.image.authors="The semantoks developers" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
# No USER line: a baked user could not write to a mount of another owner. Any uid works.
ENTRYPOINT ["python3", "/opt/semantoks/entrypoint.py"]

# One image for every service; docker-compose.yml says which entry point each runs.
#
# The digests are those that public repositories pinned for these tags when this was written (several
# name the same); no registry was asked. Take newer ones with: docker buildx imagetools inspect TAG
FROM node:20-bookworm-slim@sha256:2cf067cfed83d5ea958367df9f966191a942351a2df77d6f0193e162b5febfc0 AS packages
WORKDIR /opt/rescind
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund

FROM python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b
WORKDIR /opt/rescind
COPY --from=packages /usr/local/bin/node /usr/local/bin/node
COPY --from=packages /opt/rescind/node_modules node_modules
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY requirements requirements
# Every package but torch by its hash. The torch that this takes is the platform's default build; for
# another, pass a pip index as a build argument.
ARG PIP_EXTRA_INDEX_URL
RUN pip install --no-cache-dir --require-hashes --no-deps -r requirements/build.txt \
    && pip install --no-cache-dir --require-hashes --no-deps -r requirements/image.txt \
    && pip install --no-cache-dir -c constraints.txt "$(grep '^torch==' constraints.txt)"
COPY agents agents
COPY aggregator aggregator
COPY contracts contracts
COPY devnet devnet
COPY ledger ledger
COPY node node
COPY rescind rescind
RUN pip install --no-cache-dir --no-deps --no-build-isolation . \
    && groupadd --gid 10001 rescind \
    && useradd --no-create-home --home-dir /tmp --uid 10001 --gid rescind rescind \
    && install --directory --mode 0700 --owner rescind --group rescind /consortium
# The image runs with a read-only file system: only /consortium and /tmp are written to.
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    RESCIND_NODE_MODULES=/opt/rescind/node_modules \
    OMP_NUM_THREADS=1 \
    TOKENIZERS_PARALLELISM=false \
    HOME=/tmp \
    HF_HOME=/tmp/huggingface \
    MPLCONFIGDIR=/tmp/matplotlib \
    NUMBA_CACHE_DIR=/tmp/numba
USER 10001:10001
VOLUME /consortium
ENTRYPOINT ["rescind"]
CMD ["--help"]

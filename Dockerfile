# One image for every service; docker-compose.yml says which entry point each runs.
FROM node:20-bookworm-slim AS packages
WORKDIR /opt/rescind
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund

FROM python:3.11-slim-bookworm
ENV PYTHONUNBUFFERED=1 \
    RESCIND_NODE_MODULES=/opt/rescind/node_modules \
    OMP_NUM_THREADS=1 \
    TOKENIZERS_PARALLELISM=false
WORKDIR /opt/rescind
COPY --from=packages /usr/local/bin/node /usr/local/bin/node
COPY --from=packages /opt/rescind/node_modules node_modules
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY agents agents
COPY aggregator aggregator
COPY contracts contracts
COPY devnet devnet
COPY ledger ledger
COPY node node
COPY rescind rescind
# The torch that this takes is the platform's default build; for another, pass a pip index as a build argument.
ARG PIP_EXTRA_INDEX_URL
RUN pip install --no-cache-dir "$(grep '^torch==' constraints.txt)" \
    && pip install --no-cache-dir -c constraints.txt '.[train,postgres]' \
    && useradd --create-home --uid 10001 rescind \
    && mkdir /consortium && chown rescind /consortium
USER rescind
VOLUME /consortium
ENTRYPOINT ["rescind"]
CMD ["--help"]

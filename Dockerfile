# syntax=docker/dockerfile:1

# Four images from one build: `api`, `worker` and `scheduler` for many machines, `plimsoll` for one (it brings
# Postgres and Redis and runs them itself; it is also what migrates). Build one with
#     docker build --target worker .
# A container needs no network but to its Postgres, its Redis, and what its jobs fetch and send.

FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
# The registry and the compiled dependencies stay in the builder's cache, so an edit of ours recompiles only us.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/source/target,sharing=locked \
    cargo build --release --locked --package api --package worker --package scheduler --package plimsoll \
    && install -D --target-directory=/programs target/release/plimsoll target/release/plimsoll-api \
        target/release/plimsoll-worker target/release/plimsoll-scheduler

FROM debian:bookworm-slim AS base
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates tzdata \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin plimsoll \
    && install -d -o plimsoll -g plimsoll -m 0700 /var/lib/plimsoll /var/lib/plimsoll/artifacts \
        /var/lib/plimsoll/keys
# Probes and metrics, for the network that the container is in. Publish that port to nobody.
ENV PLIMSOLL_HOME=/var/lib/plimsoll \
    LOG_FORMAT=json \
    ADMIN_LISTEN=0.0.0.0:9464
WORKDIR /var/lib/plimsoll
USER 10001:10001
STOPSIGNAL SIGTERM

FROM base AS api
COPY --from=build /programs/plimsoll-api /usr/local/bin/
ENV API_LISTEN=0.0.0.0:8080
EXPOSE 8080 9464
# Each program asks its running copy itself: the images have no HTTP client to be misused.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["plimsoll-api", "--probe"]
ENTRYPOINT ["plimsoll-api"]

FROM base AS worker
COPY --from=build /programs/plimsoll-worker /usr/local/bin/
EXPOSE 9464
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["plimsoll-worker", "--probe"]
ENTRYPOINT ["plimsoll-worker"]

FROM base AS scheduler
COPY --from=build /programs/plimsoll-scheduler /usr/local/bin/
EXPOSE 9464
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["plimsoll-scheduler", "--probe"]
ENTRYPOINT ["plimsoll-scheduler"]

# Last, and so what `docker build .` makes: everything on one machine.
FROM base AS plimsoll
USER root
RUN mkdir -p /etc/postgresql-common/createcluster.d \
    && echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/plimsoll.conf \
    && apt-get update \
    && apt-get install --yes --no-install-recommends postgresql redis-server \
    && rm -rf /var/lib/apt/lists/*
USER 10001:10001
COPY --from=build /programs/plimsoll /usr/local/bin/
ENV API_LISTEN=0.0.0.0:8080
EXPOSE 8080 9464
# It starts a Postgres first.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["plimsoll", "probe"]
VOLUME /var/lib/plimsoll
ENTRYPOINT ["plimsoll"]
CMD ["up"]

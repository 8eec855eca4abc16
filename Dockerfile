# The image: one binary on a base without a shell.
#
#   docker build -t llm-gateway .
#   docker run --rm -p 8000:8000 -e API_KEYS=… -e OLLAMA_BASE_URL=http://host:11434 llm-gateway
#
# ring and mimalloc are C inside, so the base has glibc and libgcc (distroless "cc") of the same
# Debian release as the builder. It listens on all interfaces, so it refuses to start without client
# keys; the admin listener stays on the container's own loopback.

ARG RUST_VERSION=1.95
ARG DEBIAN=bookworm

FROM rust:${RUST_VERSION}-slim-${DEBIAN} AS build
WORKDIR /build

# gcc and libc's headers come with the image. Dependencies are built first, against empty sources,
# so that this layer is kept until Cargo.toml or Cargo.lock change.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
    && touch src/lib.rs \
    && echo 'fn main() {}' >src/main.rs \
    && cargo build --locked --profile dist --bin llm-gateway \
    && rm -r src

# Cargo compares times: the real sources are usually older than the empty ones just built.
COPY src src
COPY config config
RUN find src -name '*.rs' -exec touch {} + \
    && cargo build --locked --profile dist --bin llm-gateway

FROM gcr.io/distroless/cc-debian12:nonroot

# What was built, for whoever finds the image: --build-arg VERSION=… --build-arg REVISION="$(git rev-parse HEAD)"
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="llm-gateway" \
      org.opencontainers.image.description="An actor-based gateway between bursty HTTP clients and slow, expensive model servers" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="gcr.io/distroless/cc-debian12:nonroot"

COPY --from=build /build/target/dist/llm-gateway /usr/local/bin/llm-gateway
COPY config/gateway.toml /etc/llm-gateway/gateway.toml
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/llm-gateway/

ENV LLM_GATEWAY_CONFIG=/etc/llm-gateway/gateway.toml \
    LLM_GATEWAY__SERVER__LISTEN=0.0.0.0:8000

# By number, so that Kubernetes can see for itself that it is not root.
USER 65532:65532
EXPOSE 8000 9901
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["/usr/local/bin/llm-gateway", "health"]
ENTRYPOINT ["/usr/local/bin/llm-gateway"]
CMD ["serve"]

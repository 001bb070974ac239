# docker build -t grainstore .
# docker run --rm -v "$PWD:/data" grainstore demo
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends protobuf-compiler libprotobuf-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# rust-toolchain.toml asks for stable, which would be fetched.
ENV RUSTUP_TOOLCHAIN=1.95.0
COPY . .
ARG FEATURES=cloud,cluster
RUN cargo build --release --locked --features "$FEATURES" --config 'profile.release.strip="symbols"'

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/grainstore /usr/local/bin/grainstore
WORKDIR /data
ENTRYPOINT ["grainstore"]

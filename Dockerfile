# The program alone on an empty system, linked with its C library: about 60 MB with the models that come along.
#   docker build -t pushforward .
#   docker run --rm pushforward sample glyphs -n 4 --out -
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" pushforward train people.csv
#   docker run --rm -p 8080:8080 -v "$PWD/token:/token:ro" pushforward serve --addr 0.0.0.0:8080 --token-file /token
FROM rust:1.95-alpine AS build
RUN apk add --no-cache gcc musl-dev
WORKDIR /source
COPY Cargo.toml Cargo.lock ./
COPY crates crates
RUN cargo build --release --locked -p pushforward-cli --target-dir /target

FROM scratch
COPY --from=build /target/release/pushforward /pushforward
# What is written without another place goes here; with a folder of yours in its place, run as its owner (--user).
WORKDIR /data
ENTRYPOINT ["/pushforward"]

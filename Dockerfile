# The program alone on a minimal system, linked without a C library of the system:
#   docker build -t pushforward .
#   docker run --rm pushforward sample glyphs -n 4 --out -
#   docker run --rm -p 8080:8080 -v "$PWD/token:/token:ro" pushforward serve --addr 0.0.0.0:8080 --token-file /token
#   docker run --rm -v "$PWD:/data" pushforward train people.csv
FROM rust:1.95-alpine AS build
RUN apk add --no-cache musl-dev
WORKDIR /source
COPY . .
RUN cargo build --release --locked -p pushforward-cli --target-dir /target

FROM scratch
COPY --from=build /target/release/pushforward /pushforward
WORKDIR /data
ENTRYPOINT ["/pushforward"]

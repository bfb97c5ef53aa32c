# syntax=docker/dockerfile:1
# A static binary in an image with nothing else but certificate authorities:
#   docker build -t switchboard .
#   docker run -p 4000:4000 -v ./switchboard.yaml:/etc/switchboard/switchboard.yaml:ro -v switchboard:/data switchboard

FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates musl-tools \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN target=$(uname -m)-unknown-linux-musl \
    && rustup target add "$target" \
    && cargo build --locked --profile dist --target "$target" \
    && cp "target/$target/dist/switchboard" /switchboard \
    && mkdir /data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /switchboard /switchboard
# What is made over the API is kept here.
COPY --from=build --chown=65532:65532 /data /data
VOLUME /data
WORKDIR /data
# No name is needed for it, and none is there.
USER 65532:65532
EXPOSE 4000
STOPSIGNAL SIGTERM
ENTRYPOINT ["/switchboard"]
CMD ["serve", "--config", "/etc/switchboard/switchboard.yaml"]

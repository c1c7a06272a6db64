# Stages: compile, the production dependencies, the image to try it out (examples/compose/try.yml), and, last, the image that runs. No cache mounts: not every host builds them.
FROM node:24.21.0-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
# The browser client is no part of the image, but the lock file names its manifest.
COPY packages/client/package.json ./packages/client/
RUN npm ci
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
RUN npm run build && find dist -type f -regextype posix-extended -regex '.*\.(map|d\.ts)' -delete

FROM node:24.21.0-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
COPY packages/client/package.json ./packages/client/
# Optional peers (React, through a development tool) stay out, and what only compilers and debuggers read.
RUN npm ci --omit=dev --omit=peer --workspaces=false && \
    rm -rf node_modules/@types && \
    find node_modules -type f -regextype posix-extended -regex '.*\.(map|d\.[cm]?ts)' -delete

# For trying it out: the sources with the Clerk emulator, and the demo's page, built. Never for production.
FROM build AS try
COPY examples/spa ./examples/spa
COPY packages/client/src ./packages/client/src
COPY migrations ./migrations
RUN node -e "import('./src/demo/build.ts').then(({ buildDemo, PAGE_DIRECTORY }) => buildDemo(PAGE_DIRECTORY))"
USER 1000:1000

FROM node:24.21.0-bookworm-slim
LABEL org.opencontainers.image.title="clerk-session-sync" \
      org.opencontainers.image.description="Keeps a backend's own PostgreSQL users table in sync with Clerk" \
      org.opencontainers.image.licenses="MIT"
# Memory of 32 KiB and more goes back to the kernel once it is free; otherwise a flood of request bodies leaves 80 MiB behind.
ENV NODE_ENV=production MALLOC_MMAP_THRESHOLD_=32768 MALLOC_TRIM_THRESHOLD_=131072
WORKDIR /app
# What changes least comes first. All of it belongs to root, and nothing here is written at run time.
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json LICENSE ./
COPY migrations ./migrations
COPY --from=build /app/dist ./dist
# A number, so that Kubernetes' runAsNonRoot can check it; the image names it node.
USER 1000:1000
EXPOSE 3000
# 503 while the database is unreachable. The start waits for the database and migrates it.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT || 3000}/api/auth/health`).then((reply) => process.exit(reply.ok ? 0 : 1), () => process.exit(1))"]
STOPSIGNAL SIGTERM
# Node itself is process 1: it closes on SIGTERM by itself and needs no init. Small semi-spaces (MiB) keep memory
# low: 180 MB under webhooks instead of 285, for 7 % more CPU (bench/README.md).
CMD ["node", "--max-semi-space-size=16", "dist/server.js"]

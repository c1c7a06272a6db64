#!/bin/sh
# Builds the image and runs it beside PostgreSQL, confined as docker-compose.yml confines it, with whatever engine answers.
set -eu
cd "$(dirname "$0")/../.."

engine=
# ENGINE chooses; by default the first that answers.
for candidate in ${ENGINE:-docker podman}; do
  if "$candidate" info >/dev/null 2>&1; then engine=$candidate; break; fi
done
if [ -z "$engine" ]; then
  echo 'NOT RUN: neither docker nor podman answers here, so the image was neither built nor run' >&2
  exit 0
fi

name=clerk-session-sync-smoke-$$
secrets=$(mktemp -d)
clean_up() {
  "$engine" rm --force --volumes "$name-service" "$name-postgres" >/dev/null 2>&1 || true
  "$engine" network rm "$name" >/dev/null 2>&1 || true
  "$engine" image rm "$name" >/dev/null 2>&1 || true
  rm -rf "$secrets"
}
trap clean_up EXIT
fail() { echo "FAILED: $1" >&2; "$engine" logs "$name-service" >&2 || true; exit 1; }

# Runs a container as confined as can be.
confined() {
  "$engine" run --detach --network "$name" --read-only --cap-drop ALL --security-opt no-new-privileges --tmpfs /tmp "$@"
}

"$engine" build --tag "$name" .
"$engine" network create "$name" >/dev/null
# Anonymous volumes keep the owner that the image gives the folder; podman knows no tmpfs of another user.
confined --name "$name-postgres" --user 999:999 --volume /run/postgresql --volume /var/lib/postgresql \
  --env POSTGRES_PASSWORD=smoke "$(sed -n 's/^ *image: \(postgres:.*\)$/\1/p' docker-compose.yml)" >/dev/null

# The secrets as files, readable for the user of the image.
printf 'postgres://postgres:smoke@%s-postgres:5432/postgres\n' "$name" >"$secrets/database_url"
printf 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n' >"$secrets/webhook_secret"
chmod 755 "$secrets" && chmod 644 "$secrets"/*
confined --name "$name-service" --volume "$secrets:/run/secrets:ro,z" --env CLERK_ISSUER=https://clerk.example.com \
  --env DATABASE_URL_FILE=/run/secrets/database_url \
  --env CLERK_WEBHOOK_SIGNING_SECRET_FILE=/run/secrets/webhook_secret "$name" >/dev/null

inside() { "$engine" exec "$name-service" node -e "$1"; }
tries=60
until inside 'fetch("http://127.0.0.1:3000/readyz").then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))'; do
  tries=$((tries - 1))
  [ "$tries" -gt 0 ] || fail 'it is not ready after a minute'
  sleep 1
done
inside 'process.exit(process.getuid() === 0 ? 1 : 0)' || fail 'it runs as root'
inside 'try { fs.writeFileSync("/app/x", ""); process.exit(1) } catch {}' || fail 'it can write to its own files'
inside 'process.exit(["react", "react-dom", "@tanstack", "@types", "typescript"].some((name) => fs.existsSync(`/app/node_modules/${name}`)) ? 1 : 0)' ||
  fail 'development packages are in the image'
inside 'process.exit(fs.readdirSync("/app", { recursive: true }).some((name) => /\.map$|\.d\.ts$/.test(name)) ? 1 : 0)' ||
  fail 'source maps or types are in the image'
inside 'fetch("http://127.0.0.1:3000/api/auth/profile").then((r) => process.exit(r.status === 401 ? 0 : 1))' ||
  fail 'a call without a token is not 401'
"$engine" stop --time 15 "$name-service" >/dev/null
code=$("$engine" inspect --format '{{.State.ExitCode}}' "$name-service")
[ "$code" = 0 ] || fail "it ended with $code"
echo "The image runs with $engine: read-only, without capabilities, not as root, and ends with 0."

#!/bin/sh
# Settings that are secret may come by file: NAME_FILE names a file that holds NAME, as Docker and Kubernetes mount secrets.
# These and no others, because SSL_CERT_FILE and the like mean something else to the libraries that read them.
set -eu
for name in DATABASE_URL MIGRATION_DATABASE_URL RETENTION_DATABASE_URL REDIS_URL AUTH_PROXY_SECRET WORKER_TOKENS \
  AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY; do
  eval "file=\${${name}_FILE:-} value=\${$name:-}"
  [ -n "$file" ] || continue
  if [ -n "$value" ]; then
    echo "$name: is set, and so is ${name}_FILE" >&2
    exit 1
  fi
  if ! content=$(cat "$file" 2>/dev/null); then
    echo "${name}_FILE: the file cannot be read" >&2
    exit 1
  fi
  export "$name=$content"
  unset "${name}_FILE"
done
exec "$@"

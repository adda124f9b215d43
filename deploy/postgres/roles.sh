#!/bin/sh
# Run once by the image's entry point, on an empty volume. Three roles and no more than that: what two of them may do is granted
# by the migrations, and the owner, which finds them made, needs no right to make roles.
set -eu
psql --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname taskbridge <<'SQL'
\set owner `cat /run/secrets/owner_password`
\set app `cat /run/secrets/app_password`
\set retention `cat /run/secrets/retention_password`
CREATE ROLE taskbridge_owner LOGIN PASSWORD :'owner';
CREATE ROLE taskbridge_app LOGIN PASSWORD :'app';
CREATE ROLE taskbridge_retention LOGIN PASSWORD :'retention';
ALTER DATABASE taskbridge OWNER TO taskbridge_owner;
SQL

#!/bin/sh
# The image's entry point runs this once, on an empty volume. It makes four roles only. The migrations grant three of them their
# privileges. The roles exist then, so the owner needs no right to make roles.
set -eu
psql --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname taskbridge <<'SQL'
\set owner `cat /run/secrets/owner_password`
\set app `cat /run/secrets/app_password`
\set retention `cat /run/secrets/retention_password`
CREATE ROLE taskbridge_owner LOGIN PASSWORD :'owner';
CREATE ROLE taskbridge_app LOGIN PASSWORD :'app';
CREATE ROLE taskbridge_retention LOGIN PASSWORD :'retention';
CREATE ROLE taskbridge_creator NOLOGIN;
ALTER DATABASE taskbridge OWNER TO taskbridge_owner;
SQL

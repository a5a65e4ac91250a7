#!/usr/bin/env bash
# Run once by the Postgres image on an empty volume: the two logins that serve, each with one of the two roles
# that the migrations give their rights to (migrations/*_tenants_and_roles.sql makes the same roles if need be).
# Neither owns anything, so neither can bypass row-level security.
set -euo pipefail

psql --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set api_password="$POSTGRES_API_PASSWORD" --set worker_password="$POSTGRES_WORKER_PASSWORD" <<'SQL'
create role plimsoll_app nologin;
create role plimsoll_system nologin;
create role plimsoll_api login password :'api_password' in role plimsoll_app;
create role plimsoll_worker login password :'worker_password' in role plimsoll_app, plimsoll_system;
SQL

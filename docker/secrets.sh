#!/usr/bin/env bash
# Makes the passwords that compose.yml takes from files, in docker/secrets; those that are there stay.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# The folder keeps others on this machine out. The files themselves must be readable for the containers' users, whose numbers are not this
# one's: each container sees only those that it is given.
umask 077
mkdir -p secrets
make_secret() { # NAME COMMAND...
    local file=secrets/$1
    shift
    [ ! -s "$file" ] || return 0
    "$@" >"$file"
    chmod 444 "$file"
}
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
make_secret postgres_password random
make_secret neo4j_password random
# The image of Neo4j wants user and password in one.
make_secret neo4j_auth sed 's/^/neo4j\//' secrets/neo4j_password
make_secret grafana_password random

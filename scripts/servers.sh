# Sourced by test.sh and soak.sh, in the project's folder: installs what tests need, starts the servers, and stops them at the end.
# `fail WORDS` is theirs.

# The servers' data stand in the build folder. Run by root, PostgreSQL runs as another user, who cannot come to a folder below a
# private one, such as root's own home: then they stand in a temporary folder. Jars stay in the build folder all the same,
# so that they are fetched once.
reachable() {
    local folder=$1
    while [ "$folder" != / ]; do
        case "$(stat -c %A "$folder")" in *[xt]) ;; *) return 1 ;; esac
        folder="$(dirname "$folder")"
    done
}
mkdir -p target
temporary=
if [ -z "${SERVICES_DIR:-}${DISCODIFF_TEST_POSTGRES:-}" ] && [ "$(id -u)" = 0 ] && ! reachable "$PWD/target"; then
    temporary="$(mktemp -d)"
    chmod 755 "$temporary"
fi
export SERVICES_LIB="${SERVICES_LIB:-${SERVICES_DIR:-$PWD/target/services}/lib}"
export SERVICES_DIR="${SERVICES_DIR:-${temporary:-$PWD/target/services}}" CARGO_TERM_COLOR=never
# Tests ask little of the servers and often: a fast start is worth more than throughput.
export SERVICES_JVM="${SERVICES_JVM--XX:TieredStopAtLevel=1}"
started=()

stop_servers() {
    if [ ${#started[@]} -gt 0 ]; then bash scripts/services.sh stop "${started[@]}" >&2; fi
    if [ -n "$temporary" ]; then rm -rf "$temporary"; fi
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

set_up() {
    # Some tests check what was written with a second program, in Python.
    if ! python3 -c 'import sqlite3' 2>/dev/null; then
        export DEBIAN_FRONTEND=noninteractive
        if command -v apt-get >/dev/null; then
            as_root apt-get update -qq >&2 && as_root apt-get install -y -qq python3 >&2 </dev/null
        elif command -v dnf >/dev/null; then
            as_root dnf install -y -q python3 >&2 </dev/null
        elif command -v apk >/dev/null; then
            as_root apk add --quiet python3 >&2 </dev/null
        fi
        python3 -c 'import sqlite3' || fail "python3 with sqlite3 is needed and could not be installed"
    fi

    # Some read a feed as others would: with Kafka's client for Python, and by its schema. Where they cannot be had, those tests say that
    # they skip.
    if [ -z "${DISCODIFF_TEST_PYTHON:-}" ]; then
        local python=target/test-python/bin/python
        if ! "$python" -c 'import confluent_kafka, jsonschema' 2>/dev/null; then
            rm -rf target/test-python
            if ! { python3 -m venv target/test-python && "$python" -m pip install -q confluent-kafka==2.16.1 jsonschema==4.26.0; } >&2; then
                if command -v apt-get >/dev/null; then
                    { as_root apt-get update -qq && DEBIAN_FRONTEND=noninteractive as_root apt-get install -y -qq python3-venv; } >&2 </dev/null
                    python3 -m venv target/test-python >&2 && "$python" -m pip install -q confluent-kafka==2.16.1 jsonschema==4.26.0 >&2
                fi
            fi
        fi
        if "$python" -c 'import confluent_kafka, jsonschema' 2>/dev/null; then export DISCODIFF_TEST_PYTHON="$PWD/$python"; fi
    fi

    # Metrics, alerts and dashboard are held against Prometheus itself. Where it cannot be had, those tests say that they skip.
    if ! { command -v promtool && command -v prometheus && command -v prometheus-node-exporter; } >/dev/null && command -v apt-get >/dev/null; then
        # RUNLEVEL=1: the packages' own service starts are skipped.
        { as_root apt-get update -qq && as_root env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends prometheus prometheus-node-exporter; } >&2 </dev/null
    fi

    # OpenSSL and Kafka's client are compiled in, by make and by more of Perl than Debian's base has.
    if ! { command -v make && perl -MFindBin -MIPC::Cmd -e 1; } >/dev/null 2>&1; then
        if command -v apt-get >/dev/null; then
            as_root apt-get update -qq >&2 && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq make perl >&2 </dev/null
        fi
        { command -v make && perl -MFindBin -MIPC::Cmd -e 1; } >/dev/null 2>&1 || fail "make and perl are needed and could not be installed"
    fi
}

# use_service NAME VARIABLE: starts it unless the variable names a server already.
use_service() {
    local name=$1 variable=$2 line
    [ -z "${!variable:-}" ] || return 0
    started+=("$name")
    bash scripts/services.sh start "$name" </dev/null >&2 || fail "$name could not be started"
    # Lines NAME=value; read as they are, so that no character in a URL is taken for the shell's.
    while IFS= read -r line; do
        line="${line#export }"
        case "$line" in DISCODIFF_*=*) export "${line?}" ;; esac
    done < <(bash scripts/services.sh env "$name")
    [ -n "${!variable:-}" ] || fail "scripts/services.sh env named no $name"
}

start_servers() {
    use_service postgres DISCODIFF_TEST_POSTGRES
    use_service neo4j DISCODIFF_TEST_NEO4J
    use_service kafka DISCODIFF_TEST_KAFKA
    use_service s3 DISCODIFF_TEST_S3
}

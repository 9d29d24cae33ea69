#!/usr/bin/env bash
# Real servers for tests, from Debian packages and Maven Central, without systemd and without containers.
#
#   services.sh install [SERVICE...]   fetch what a service needs (idempotent)
#   services.sh start   [SERVICE...]   install if needed, start, wait until ready (no-op when it runs)
#   services.sh stop    [SERVICE...]   end the processes that this script started
#   services.sh status  [SERVICE...]   one line each; exit 1 when one is not ready
#   services.sh clean   [SERVICE...]   stop, then delete data and logs (the jars stay)
#   services.sh env     [SERVICE...]   print the addresses that the tests read, as shell assignments
#
# SERVICE: postgres neo4j kafka s3 (the default: all of them)
#
# Settings, all from the environment:
#   SERVICES_DIR       data, logs, ports and pids             (default: target/services)
#   SERVICES_LIB       jars, fetched once                     (default: lib in SERVICES_DIR)
#   SERVICES_JAVA      the java of Neo4j and Kafka, 17 or 21  (default: a JDK 17, else a JDK 21)
#   SERVICES_JVM       more flags for them, such as -XX:TieredStopAtLevel=1 for a fast start and less throughput
#   SERVICES_WAIT      seconds to wait for readiness          (default: 120)
#   POSTGRES_PORT      (default: a free one, remembered)      POSTGRES_PASSWORD postgres   (superuser postgres)
#   POSTGRES_SHARED_BUFFERS 128MB                             POSTGRES_FSYNC on
#   NEO4J_PORT, NEO4J_HTTP_PORT (free ones, remembered)       NEO4J_PASSWORD neo4j-password   (user neo4j)
#   NEO4J_HEAP 1g                                             NEO4J_PAGECACHE 256m
#   KAFKA_PORT, KAFKA_CONTROLLER_PORT (free ones, remembered) KAFKA_HEAP 512m
#   S3_PORT, S3_TLS_PORT (free ones, remembered)              S3_PASSWORD sesame-512 (key discodiff, bucket states)
#   KAFKA_PASSWORD sesame-512   (user discodiff, by PLAIN and SCRAM; ports with TLS and SASL are free ones, remembered)
# Everything listens on 127.0.0.1 only.
#
# A service NAME is made of install_NAME, start_NAME, stop_NAME, ready_NAME, env_NAME and its name in SERVICES.
set -euo pipefail

SERVICES=(postgres neo4j kafka s3)

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SERVICES_DIR=${SERVICES_DIR:-$HERE/../target/services}
mkdir -p "$SERVICES_DIR"/{data,log,pid,port}
SERVICES_DIR=$(cd "$SERVICES_DIR" && pwd)
SERVICES_LIB=${SERVICES_LIB:-$SERVICES_DIR/lib}
mkdir -p "$SERVICES_LIB"
SERVICES_LIB=$(cd "$SERVICES_LIB" && pwd)
read -ra JVM <<<"${SERVICES_JVM:-}"
WAIT=${SERVICES_WAIT:-120}
POSTGRES_PASSWORD=${POSTGRES_PASSWORD:-postgres}
POSTGRES_SHARED_BUFFERS=${POSTGRES_SHARED_BUFFERS:-128MB}
POSTGRES_FSYNC=${POSTGRES_FSYNC:-on}
NEO4J_PASSWORD=${NEO4J_PASSWORD:-neo4j-password}
NEO4J_HEAP=${NEO4J_HEAP:-1g}
NEO4J_PAGECACHE=${NEO4J_PAGECACHE:-256m}
KAFKA_HEAP=${KAFKA_HEAP:-512m}
KAFKA_PASSWORD=${KAFKA_PASSWORD:-sesame-512}
S3_PASSWORD=${S3_PASSWORD:-sesame-512}

say() { printf '[services] %s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

data() { echo "$SERVICES_DIR/data/$1"; }
logf() { echo "$SERVICES_DIR/log/$1.log"; }
pidf() { echo "$SERVICES_DIR/pid/$1"; }

# ---------------------------------------------------------------- ports

port_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# port_promised NAME PORT: whether another service, which may not listen yet, remembers it.
port_promised() {
  local file
  for file in "$SERVICES_DIR"/port/*; do
    [ "${file##*/}" = "$1" ] || [ "$(cat "$file" 2>/dev/null)" != "$2" ] || return 0
  done
  return 1
}

# The port that was remembered for a service; empty where it was never started.
port_of() { cat "$SERVICES_DIR/port/$1" 2>/dev/null || true; }

# choose_port NAME WISH: the wish where there is one, else the remembered port while it is free, else a free one.
choose_port() {
  local port=${2:-$(port_of "$1")} i
  if [ -n "${2:-}" ]; then
    # a killed server's port may stay open for a moment
    for ((i = 0; i < 50; i++)); do port_taken "$port" || break; sleep 0.1; done
    ((i < 50)) || die "$1: port $port is taken by a process that this script did not start"
  else
    # below the range from which the kernel takes ports for outgoing connections
    while [ -z "$port" ] || port_promised "$1" "$port" || port_taken "$port"; do port=$((20000 + RANDOM % 10000)); done
  fi
  echo "$port" >"$SERVICES_DIR/port/$1"
}

# ---------------------------------------------------------------- processes

# A pid alone may be reused; pid and start time (clock ticks since boot) are one process.
start_time() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# Prints the pid of a service that this script started and that still runs.
running() {
  local pid ticks
  [ -f "$(pidf "$1")" ] && read -r pid ticks <"$(pidf "$1")" || return 1
  [ -n "${ticks:-}" ] && [ "$(start_time "$pid")" = "$ticks" ] || return 1
  ! grep -q '^State:[[:space:]]*Z' "/proc/$pid/status" 2>/dev/null || return 1
  echo "$pid"
}

# spawn NAME COMMAND...: in a session of its own, with no handle of ours left open.
spawn() {
  local name=$1; shift
  [ ! -s "$(logf "$name")" ] || mv -f "$(logf "$name")" "$(logf "$name").1"
  setsid "$@" </dev/null >"$(logf "$name")" 2>&1 9>&- &
  echo "$! $(start_time $!)" >"$(pidf "$name")"
}

end() { # NAME SIGNAL
  local pid i
  pid=$(running "$1") || { rm -f "$(pidf "$1")"; return 0; }
  kill "-$2" "$pid" 2>/dev/null || true
  for ((i = 0; i < 600; i++)); do
    running "$1" >/dev/null || { rm -f "$(pidf "$1")"; return 0; }
    sleep 0.1
  done
  say "$1: still there after 60 s, killing pid $pid"
  kill -KILL "$pid" 2>/dev/null || true
  sleep 0.5
  rm -f "$(pidf "$1")"
}

await() { # NAME
  local t0=$SECONDS
  until "ready_$1"; do
    running "$1" >/dev/null || { tail -n 30 "$(logf "$1")" >&2; die "$1: ended while starting, see $(logf "$1")"; }
    ((SECONDS - t0 < WAIT)) || { tail -n 30 "$(logf "$1")" >&2; die "$1: not ready after $WAIT s, see $(logf "$1")"; }
    sleep 0.2
  done
}

# ---------------------------------------------------------------- install

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

apt_install() {
  as_root true 2>/dev/null || die "neither root nor sudo without a password: cannot install Debian packages: $*"
  command -v apt-get >/dev/null || die "no apt-get here to install: $*"
  say "apt-get install $*"
  # RUNLEVEL=1: the packages' own service starts are skipped
  { as_root apt-get -q update && as_root env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
      apt-get -q -y --no-install-recommends install "$@"; } </dev/null >>"$(logf apt)" 2>&1 9>&- ||
    { tail -n 20 "$(logf apt)" >&2; die "apt-get install $* failed"; }
}

# ---------------------------------------------------------------- certificates

# certificates FOLDER: ca.pem and what it vouches for, server and client; stranger.pem is a CA that vouches for nobody.
certificates() {
  local new=$1.new name
  rm -rf "$new"; mkdir -p "$new"
  for name in ca stranger; do
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=discodiff test $name" \
      -keyout "$new/$name.key" -out "$new/$name.pem" || return
  done
  for name in server client; do
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" -keyout "$new/$name.key" -out "$new/$name.csr" || return
    openssl x509 -req -in "$new/$name.csr" -CA "$new/ca.pem" -CAkey "$new/ca.key" -CAcreateserial -days 3650 -out "$new/$name.pem" \
      -extfile <(echo 'subjectAltName=DNS:localhost,IP:127.0.0.1') || return
  done
  # as Kafka's broker takes it: the key and the certificates in one file
  cat "$new"/{server.key,server.pem,ca.pem} >"$new/server-chain.pem"
  mv "$new" "$1"
}

# ---------------------------------------------------------------- postgres

pg_bin() {
  local d
  for d in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV); do
    [ -x "$d/initdb" ] && { echo "$d"; return; }
  done
  return 1
}

install_postgres() {
  command -v openssl >/dev/null || apt_install openssl
  pg_bin >/dev/null && return 0
  # keep the Debian package from making and starting a cluster of its own on 5432
  if [ ! -e /etc/postgresql-common/createcluster.conf ] && as_root mkdir -p /etc/postgresql-common; then
    echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
  fi
  apt_install postgresql
}

# The server refuses to run as root: then it runs as user postgres, who must be able to reach its folder.
as_postgres() {
  if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --init-groups --reset-env "$@"; else "$@"; fi
}

start_postgres() {
  local d bin
  d=$(data postgres); bin=$(pg_bin)
  if [ ! -f "$d/PG_VERSION" ]; then
    rm -rf "$d"; mkdir -p "$d"; chmod 700 "$d"
    if [ "$(id -u)" = 0 ]; then
      chown postgres:postgres "$d"
      as_postgres test -w "$d" || { rmdir "$d"; die "postgres: user postgres cannot reach $d: choose another SERVICES_DIR"; }
    fi
    as_postgres bash -c 'cd / && exec "$0/initdb" -D "$1" -U postgres -E UTF8 --locale=C.UTF-8 \
      --auth=scram-sha-256 --pwfile=<(printf "%s\n" "$2")' "$bin" "$d" "$POSTGRES_PASSWORD" \
      >"$(logf postgres-initdb)" 2>&1 9>&- ||
      { tail -n 20 "$(logf postgres-initdb)" >&2; rm -rf "$d"; die "postgres: initdb failed"; }
  fi
  if [ ! -d "$d/certificates" ]; then
    certificates "$d/certificates" >"$(logf postgres-certificates)" 2>&1 ||
      { tail -n 20 "$(logf postgres-certificates)" >&2; die "postgres: openssl failed"; }
    chmod 600 "$d"/certificates/*.key
    [ "$(id -u)" != 0 ] || chown -R postgres:postgres "$d/certificates"
    # who tests name so proves itself by a certificate, or must encrypt
    { printf '%s\n' 'hostssl all client all cert' 'hostnossl all encrypting all reject'; cat "$d/pg_hba.conf"; } >"$d/pg_hba.new"
    cat "$d/pg_hba.new" >"$d/pg_hba.conf"; rm "$d/pg_hba.new"
  fi
  # After a crash the server takes the old pid in its lock file for alive as long as anything has it, and
  # that can be a zombie that pid 1 has yet to collect: wait, since deleting the file would be unsafe.
  local old i
  if [ -f "$d/postmaster.pid" ] && read -r old <"$d/postmaster.pid"; then
    for ((i = 0; i < 300; i++)); do
      grep -qs '^State:[[:space:]]*Z' "/proc/$old/status" || break
      sleep 0.1
    done
  fi
  choose_port postgres "${POSTGRES_PORT:-}"
  local -a cmd=("$bin/postgres" -D "$d" -p "$(port_of postgres)" -h 127.0.0.1 -c "unix_socket_directories="
    -c "shared_buffers=$POSTGRES_SHARED_BUFFERS" -c max_connections=200 -c max_wal_size=2GB
    -c "fsync=$POSTGRES_FSYNC" -c log_checkpoints=off -c ssl=on -c "ssl_cert_file=$d/certificates/server.pem"
    -c "ssl_key_file=$d/certificates/server.key" -c "ssl_ca_file=$d/certificates/ca.pem")
  cd /
  if [ "$(id -u)" = 0 ]; then # setpriv does not fork, so the pid is the server's
    spawn postgres setpriv --reuid=postgres --regid=postgres --init-groups --reset-env "${cmd[@]}"
  else
    spawn postgres "${cmd[@]}"
  fi
}

stop_postgres() { end postgres INT; } # fast shutdown

ready_postgres() { "$(pg_bin)/pg_isready" -q -h 127.0.0.1 -p "$(port_of postgres)"; }

env_postgres() {
  printf 'DISCODIFF_TEST_POSTGRES=postgres://postgres:%q@127.0.0.1:%s/postgres\n' "$POSTGRES_PASSWORD" "$(port_of postgres)"
  printf 'DISCODIFF_TEST_POSTGRES_CERTIFICATES=%q\n' "$(data postgres)/certificates"
}

# ---------------------------------------------------------------- java

# Neo4j runs on 17 and 21 only.
java_bin() {
  local j
  for j in ${SERVICES_JAVA:+"$SERVICES_JAVA"} /usr/lib/jvm/*-17-*/bin/java /usr/lib/jvm/*-21-*/bin/java "$(command -v java || true)"; do
    [ -x "$j" ] && "$j" -version 2>&1 | grep -qE 'version "(17|21)[."]' && { echo "$j"; return; }
  done
  return 1
}

# jars NAME: fetches them unless they are those of this pom. A lock of their own, since several SERVICES_DIR may share them.
jars() {
  local pom=$HERE/$1/pom.xml lib=$SERVICES_LIB/$1 sum try t0=$SECONDS
  # newer Debians have no 17
  java_bin >/dev/null || (apt_install openjdk-17-jre-headless) || apt_install openjdk-21-jre-headless
  sum=$(sha256sum <"$pom")
  exec 8>"$SERVICES_LIB/.lock"
  flock 8
  if [ "$(cat "$lib/.pom" 2>/dev/null || true)" != "$sum" ]; then
    command -v mvn >/dev/null || apt_install maven
    for try in 1 2 3 4; do
      rm -rf "$lib.new"
      say "$1: fetching the jars"
      mvn -B -q -ntp -f "$pom" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$lib.new" \
        </dev/null >"$(logf "$1-jars")" 2>&1 8>&- 9>&- && break
      tail -n 20 "$(logf "$1-jars")" >&2
      ((try < 4)) || die "$1: could not fetch the jars, see $(logf "$1-jars")"
      sleep $((try * 5))
    done
    echo "$sum" >"$lib.new/.pom"
    rm -rf "$lib"
    mv "$lib.new" "$lib"
    say "$1: $(find "$lib" -name '*.jar' | wc -l) jars, $(du -sm "$lib" | cut -f1) MB, $((SECONDS - t0)) s"
  fi
  exec 8>&-
}

# ---------------------------------------------------------------- neo4j

install_neo4j() { jars neo4j; command -v openssl >/dev/null || apt_install openssl; }

start_neo4j() {
  local home java
  home=$(data neo4j); java=$(java_bin)
  mkdir -p "$home"/{conf,tmp,plugins,import,logs,run}
  [ -d "$home/certificates" ] || certificates "$home/certificates" >"$(logf neo4j-certificates)" 2>&1 ||
    { tail -n 20 "$(logf neo4j-certificates)" >&2; die "neo4j: openssl failed"; }
  choose_port neo4j "${NEO4J_PORT:-}"
  choose_port neo4j-http "${NEO4J_HTTP_PORT:-}"
  cat >"$home/conf/neo4j.conf" <<EOF
server.default_listen_address=127.0.0.1
server.bolt.enabled=true
server.bolt.listen_address=127.0.0.1:$(port_of neo4j)
server.bolt.advertised_address=127.0.0.1:$(port_of neo4j)
server.bolt.tls_level=OPTIONAL
dbms.ssl.policy.bolt.enabled=true
dbms.ssl.policy.bolt.base_directory=$home/certificates
dbms.ssl.policy.bolt.private_key=server.key
dbms.ssl.policy.bolt.public_certificate=server.pem
dbms.ssl.policy.bolt.client_auth=NONE
server.http.enabled=true
server.http.listen_address=127.0.0.1:$(port_of neo4j-http)
server.http.advertised_address=127.0.0.1:$(port_of neo4j-http)
server.https.enabled=false
server.memory.pagecache.size=$NEO4J_PAGECACHE
dbms.usage_report.enabled=false
db.tx_log.rotation.size=64m
db.tx_log.rotation.retention_policy=128m size
# these two only delay a stop (5 s each), after the databases are closed
internal.server.bolt.thread_pool_shutdown_wait_time=0s
internal.server.bolt.connection_shutdown_wait_time=0s
EOF
  local -a jvm=("$java" -XX:+UseSerialGC "${JVM[@]}" -Djava.awt.headless=true -Dfile.encoding=UTF-8 "-Djava.io.tmpdir=$home/tmp"
    -XX:-OmitStackTraceInFastThrow -XX:+DisableExplicitGC
    -Djdk.nio.maxCachedBufferSize=1024 -Dio.netty.tryReflectionSetAccessible=true
    --add-opens=java.base/java.nio=ALL-UNNAMED --add-opens=java.base/java.io=ALL-UNNAMED
    --add-opens=java.base/sun.nio.ch=ALL-UNNAMED
    -Dlog4j2.disable.jmx=true -cp "$SERVICES_LIB/neo4j/*")
  # the password can be set this way only before the first start
  if [ ! -d "$home/data/databases/system" ] && [ ! -f "$home/data/dbms/auth.ini" ]; then
    NEO4J_HOME=$home NEO4J_CONF=$home/conf "${jvm[@]}" -Xmx256m org.neo4j.cli.AdminTool \
      dbms set-initial-password -- "$NEO4J_PASSWORD" </dev/null >"$(logf neo4j-password)" 2>&1 9>&- ||
      { tail -n 20 "$(logf neo4j-password)" >&2; die "neo4j: set-initial-password failed"; }
  fi
  spawn neo4j "${jvm[@]}" -Xms"$NEO4J_HEAP" -Xmx"$NEO4J_HEAP" org.neo4j.server.CommunityEntryPoint \
    --home-dir="$home" --config-dir="$home/conf" --console-mode
}

stop_neo4j() { end neo4j TERM; }

# The server says so itself once all of it listens; the port is asked too, since the log may be an old one's.
ready_neo4j() { grep -qE 'INFO +Started\.' "$(logf neo4j)" && port_taken "$(port_of neo4j)"; }

env_neo4j() {
  printf 'DISCODIFF_TEST_NEO4J=bolt://neo4j:%q@127.0.0.1:%s\n' "$NEO4J_PASSWORD" "$(port_of neo4j)"
  printf 'DISCODIFF_TEST_NEO4J_CERTIFICATES=%q\n' "$(data neo4j)/certificates"
  printf 'DISCODIFF_TEST_NEO4J_HTTP=http://neo4j:%q@127.0.0.1:%s\n' "$NEO4J_PASSWORD" "$(port_of neo4j-http)"
}

# ---------------------------------------------------------------- kafka

# Listeners besides the plain one, and how each is protected: MUTUAL asks for a client's certificate too. Clients that come to PROXIED are
# told to come to another port, at which a test puts a proxy.
KAFKA_LISTENERS=(TLS:SSL MUTUAL:SSL SASL:SASL_PLAINTEXT SASL_TLS:SASL_SSL PROXIED:PLAINTEXT)

install_kafka() { jars kafka; command -v openssl >/dev/null || apt_install openssl; }

start_kafka() {
  local d conf java listener name protocol sha listeners='' advertised='' protocols='' settings=''
  d=$(data kafka); conf=$d/server.properties; java=$(java_bin)
  mkdir -p "$d"/{conf,tmp}
  if [ ! -d "$d/certificates" ]; then
    # Users are made when the log is formatted: one that is older than the certificates has none.
    rm -rf "$d/logs"
    certificates "$d/certificates" >"$(logf kafka-certificates)" 2>&1 ||
      { tail -n 20 "$(logf kafka-certificates)" >&2; die "kafka: openssl failed"; }
  fi
  choose_port kafka "${KAFKA_PORT:-}"
  choose_port kafka-controller "${KAFKA_CONTROLLER_PORT:-}"
  choose_port kafka-proxy ""
  for listener in "${KAFKA_LISTENERS[@]}"; do
    name=${listener%%:*} protocol=${listener#*:}
    choose_port "kafka-$name" ""
    listeners+=",$name://127.0.0.1:$(port_of "kafka-$name")"
    case $name in PROXIED) advertised+=",$name://127.0.0.1:$(port_of kafka-proxy)" ;; *) advertised+=",$name://127.0.0.1:$(port_of "kafka-$name")" ;; esac
    protocols+=",$name:$protocol"
    case $protocol in SASL_*)
      settings+="listener.name.${name,,}.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_discodiff=\"$KAFKA_PASSWORD\";"$'\n'
      for sha in 256 512; do
        settings+="listener.name.${name,,}.scram-sha-$sha.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;"$'\n'
      done ;;
    esac
  done
  # Limits of size and of time are left at the broker's defaults: a topic sets its own, and the tests show that it does. What a
  # topic's max.message.bytes allows, the broker takes: message.max.bytes is only the default of that. Of the broker's own, two must
  # let a large batch pass: socket.request.max.bytes (100 MiB) does, and replica.fetch.max.bytes counts where there are replicas,
  # and there only for brokers older than 0.10.1.
  cat >"$conf" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$(port_of kafka-controller)
listeners=PLAINTEXT://127.0.0.1:$(port_of kafka),CONTROLLER://127.0.0.1:$(port_of kafka-controller)$listeners
advertised.listeners=PLAINTEXT://127.0.0.1:$(port_of kafka)$advertised
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT$protocols
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
ssl.keystore.type=PEM
ssl.keystore.location=$d/certificates/server-chain.pem
ssl.truststore.type=PEM
ssl.truststore.location=$d/certificates/ca.pem
listener.name.mutual.ssl.client.auth=required
${settings}controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=$d/logs
# a topic that nobody made is a mistake that a test should see
auto.create.topics.enable=false
# one broker: every internal topic has one replica, and few partitions
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
# groups form at once instead of after 3 s
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=4
# the cleaner's map is allocated up front: 128 MB unless told
log.cleaner.dedupe.buffer.size=8388608
EOF
  cat >"$d/conf/log4j2.xml" <<'EOF'
<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN">
  <Appenders>
    <Console name="out" target="SYSTEM_OUT"><PatternLayout pattern="[%d] %p %m (%c)%n"/></Console>
  </Appenders>
  <Loggers>
    <Root level="INFO"><AppenderRef ref="out"/></Root>
    <Logger name="org.apache.kafka.common.config.AbstractConfig" level="WARN"/>
  </Loggers>
</Configuration>
EOF
  local -a jvm=("$java" -XX:+UseSerialGC "${JVM[@]}" -Djava.awt.headless=true "-Djava.io.tmpdir=$d/tmp"
    "-Dlog4j2.configurationFile=$d/conf/log4j2.xml" -Dlog4j2.disable.jmx=true -cp "$SERVICES_LIB/kafka/*")
  # the cluster id is any 16 bytes in base64url
  [ -f "$d/logs/meta.properties" ] || "${jvm[@]}" -Xmx128m kafka.tools.StorageTool format \
    -t c2VydmljZXMtZm9yLXRlcw -c "$conf" --ignore-formatted \
    --add-scram "SCRAM-SHA-256=[name=discodiff,password=$KAFKA_PASSWORD]" \
    --add-scram "SCRAM-SHA-512=[name=discodiff,password=$KAFKA_PASSWORD]" </dev/null >"$(logf kafka-format)" 2>&1 9>&- ||
    { tail -n 20 "$(logf kafka-format)" >&2; die "kafka: format failed"; }
  spawn kafka "${jvm[@]}" -Xms"$KAFKA_HEAP" -Xmx"$KAFKA_HEAP" kafka.Kafka "$conf"
}

stop_kafka() { end kafka TERM; }

# The broker says so itself once all of it listens; the port is asked too, since the log may be an old one's.
ready_kafka() { grep -q 'Kafka Server started' "$(logf kafka)" && port_taken "$(port_of kafka)"; }

env_kafka() {
  local listener
  printf 'DISCODIFF_TEST_KAFKA=127.0.0.1:%s\n' "$(port_of kafka)"
  for listener in "${KAFKA_LISTENERS[@]%%:*}"; do
    printf 'DISCODIFF_TEST_KAFKA_%s=127.0.0.1:%s\n' "$listener" "$(port_of "kafka-$listener")"
  done
  printf 'DISCODIFF_TEST_KAFKA_PROXY=127.0.0.1:%s\n' "$(port_of kafka-proxy)"
  printf 'DISCODIFF_TEST_KAFKA_CERTIFICATES=%q\nDISCODIFF_TEST_KAFKA_PASSWORD=%q\n' "$(data kafka)/certificates" "$KAFKA_PASSWORD"
}

# ---------------------------------------------------------------- s3

install_s3() { jars s3; command -v openssl >/dev/null || apt_install openssl; }

start_s3() {
  local d java
  d=$(data s3); java=$(java_bin)
  # a bucket is a folder
  mkdir -p "$d"/{tmp,buckets/states}
  if [ ! -f "$d/certificates/server.p12" ]; then
    { certificates "$d/certificates" && openssl pkcs12 -export -inkey "$d/certificates/server.key" -in "$d/certificates/server.pem" \
        -passout pass:unused -out "$d/certificates/server.p12"; } >"$(logf s3-certificates)" 2>&1 ||
      { tail -n 20 "$(logf s3-certificates)" >&2; die "s3: openssl failed"; }
  fi
  choose_port s3 "${S3_PORT:-}"
  choose_port s3-TLS "${S3_TLS_PORT:-}"
  cat >"$d/s3proxy.conf" <<EOF
s3proxy.endpoint=http://127.0.0.1:$(port_of s3)
s3proxy.secure-endpoint=https://127.0.0.1:$(port_of s3-TLS)
s3proxy.keystore-path=$d/certificates/server.p12
s3proxy.keystore-password=unused
s3proxy.authorization=aws-v4
s3proxy.identity=discodiff
s3proxy.credential=$S3_PASSWORD
jclouds.provider=filesystem-nio2
jclouds.filesystem.basedir=$d/buckets
EOF
  spawn s3 "$java" -XX:+UseSerialGC "${JVM[@]}" -Xmx256m -Djava.awt.headless=true "-Djava.io.tmpdir=$d/tmp" \
    -jar "$SERVICES_LIB"/s3/s3proxy-*.jar --properties "$d/s3proxy.conf"
}

stop_s3() { end s3 TERM; }

ready_s3() { grep -q 'Started .*Server@' "$(logf s3)" && port_taken "$(port_of s3)" && port_taken "$(port_of s3-TLS)"; }

env_s3() {
  printf 'DISCODIFF_TEST_S3=http://127.0.0.1:%s\n' "$(port_of s3)"
  printf 'DISCODIFF_TEST_S3_TLS=https://127.0.0.1:%s\n' "$(port_of s3-TLS)"
  printf 'DISCODIFF_TEST_S3_CERTIFICATES=%q\nDISCODIFF_TEST_S3_PASSWORD=%q\n' "$(data s3)/certificates" "$S3_PASSWORD"
  printf 'DISCODIFF_TEST_S3_BUCKETS=%q\n' "$(data s3)/buckets"
}

# ---------------------------------------------------------------- commands

do_start() { # NAME
  local pid
  if pid=$(running "$1"); then
    await "$1"
    say "$1: runs already, pid $pid, 127.0.0.1:$(port_of "$1")"
    return
  fi
  "install_$1"
  "start_$1"
  await "$1"
  say "$1: ready on 127.0.0.1:$(port_of "$1"), pid $(running "$1")"
}

do_status() { # NAME
  local pid
  if ! pid=$(running "$1"); then
    printf '%-9s down\n' "$1"; return 1
  elif "ready_$1"; then
    printf '%-9s ready      pid %-7s 127.0.0.1:%s\n' "$1" "$pid" "$(port_of "$1")"
  else
    printf '%-9s not-ready  pid %-7s 127.0.0.1:%s\n' "$1" "$pid" "$(port_of "$1")"; return 1
  fi
}

do_env() { # NAME
  running "$1" >/dev/null || die "$1 does not run: services.sh start $1"
  "env_$1"
}

do_clean() { "stop_$1"; rm -rf "$(data "$1")" "$SERVICES_DIR/log/$1".log* "$SERVICES_DIR/log/$1"-*.log "$SERVICES_DIR/port/$1" "$SERVICES_DIR/port/$1"-*; }

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2; exit 2; }

command=${1:-}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- "${SERVICES[@]}"
for s in "$@"; do [[ " ${SERVICES[*]} " == *" $s "* ]] || die "unknown service: $s (known: ${SERVICES[*]})"; done
exec 9>"$SERVICES_DIR/.lock" # one change at a time; no server inherits the handle

case $command in
  install) flock 9; for s in "$@"; do "install_$s"; done ;;
  start) flock 9; for s in "$@"; do do_start "$s"; done ;;
  stop) flock 9; for s in "$@"; do "stop_$s"; done ;;
  clean) flock 9; for s in "$@"; do do_clean "$s"; done ;;
  status) rc=0; for s in "$@"; do do_status "$s" || rc=1; done; exit $rc ;;
  env) for s in "$@"; do do_env "$s"; done ;;
  *) usage ;;
esac

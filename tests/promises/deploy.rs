//! What docker/ holds, as far as it can be held against the program and the servers without an engine for containers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use clap::Parser;
use discodiff::cli::Cli;
use serde_json::{Map, Value};

use super::generated::small;
use super::graph::Server;
use super::harness::{Database, Home, Ran};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All documents of a file.
fn documents(path: &str) -> Vec<Value> {
    let parsed = |text: &str| serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{path}: {error}"));
    text(path).split("\n---\n").map(parsed).collect()
}

fn of_kind(documents: &[Value], kind: &str) -> Value {
    documents.iter().find(|document| document["kind"] == kind).unwrap_or_else(|| panic!("no {kind}")).clone()
}

fn stateful_set() -> Value {
    of_kind(&documents("docker/kubernetes/statefulset.yaml"), "StatefulSet")
}

/// The settings of a pod's container; what it is told of its number is this one.
fn told(container: &Value, number: usize) -> Vec<(String, String)> {
    let value = |env: &Value| match env["value"].as_str() {
        Some(value) => value.to_owned(),
        None => {
            assert_eq!(env["valueFrom"]["fieldRef"]["fieldPath"], "metadata.labels['apps.kubernetes.io/pod-index']", "{env}");
            number.to_string()
        }
    };
    container["env"].as_array().expect("env").iter().map(|env| (env["name"].as_str().expect("a name").to_owned(), value(env))).collect()
}

fn services(compose: &Value) -> &Map<String, Value> {
    compose["services"].as_object().expect("services")
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The networks that a service is in, with names of its own there or without.
fn of_service(service: &Value) -> Vec<String> {
    service["networks"].as_object().map_or_else(|| strings(&service["networks"]), |named| named.keys().cloned().collect())
}

/// Whether a service runs the image that is built here.
fn is_ours(service: &Value) -> bool {
    service["image"].as_str().is_some_and(|image| image.starts_with("discodiff:"))
}

/// A Dockerfile's instructions, each in one line.
fn dockerfile() -> Vec<String> {
    let text = text("docker/Dockerfile");
    let lines = text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    lines.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// What follows an instruction's name, of all of that name.
fn instructions(name: &str) -> Vec<String> {
    dockerfile().iter().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).map(|rest| rest.trim().to_owned()).collect()
}

/// The settings of each place that runs the program, by name and value.
fn environments() -> Vec<(&'static str, Vec<(String, String)>)> {
    let compose = yaml("docker/compose.yml");
    let pair = |text: &str| text.split_once('=').map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()));
    let image: Vec<_> = instructions("ENV").iter().flat_map(|line| line.split_whitespace().filter_map(pair).collect::<Vec<_>>()).collect();
    let mut found = Vec::new();
    for (_, service) in services(&compose).iter().filter(|(_, service)| is_ours(service)) {
        let own = service["environment"].as_object().into_iter().flatten();
        let own = own.map(|(name, value)| (name.clone(), value.as_str().expect("a text").to_owned()));
        found.push(("compose.yml", image.iter().cloned().chain(own).collect()));
    }
    let cronjob = yaml("docker/kubernetes/cronjob.yaml");
    let container = &cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0];
    found.push(("cronjob.yaml", image.iter().cloned().chain(told(container, 0)).collect()));
    let container = &stateful_set()["spec"]["template"]["spec"]["containers"][0];
    found.push(("statefulset.yaml", image.iter().cloned().chain(told(container, 0)).collect()));
    let unit = text("docker/systemd/discodiff.service");
    let lines = unit.lines().filter_map(|line| line.strip_prefix("Environment="));
    // What its file of settings must give, as its passwords say.
    let stores = ["DISCODIFF_POSTGRES=postgresql://discodiff@localhost/discogs", "DISCODIFF_NEO4J=bolt://neo4j@localhost:7687"];
    found.push(("discodiff.service", lines.chain(stores).flat_map(|line| line.split_whitespace().filter_map(pair)).collect()));
    found
}

/// Every command line of the program.
fn command_lines() -> Vec<Vec<String>> {
    let compose = yaml("docker/compose.yml");
    let mut lines: Vec<_> =
        services(&compose).values().filter(|service| is_ours(service)).map(|service| strings(&service["command"])).collect();
    let cronjob = yaml("docker/kubernetes/cronjob.yaml");
    lines.push(strings(&cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"]));
    lines.push(strings(&stateful_set()["spec"]["template"]["spec"]["containers"][0]["args"]));
    let unit = text("docker/systemd/discodiff.service");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/discodiff ")).expect("it starts the program");
    lines.push(start.split_whitespace().map(str::to_owned).collect());
    lines
}

#[test]
fn every_setting_that_containers_and_units_give_is_one_that_the_program_takes() {
    let home = Home::new();
    let generate = |settings: &[(String, String)]| {
        let mut command = home.command("generate months --months 1 --releases 10");
        Ran::of(&command.envs(settings.iter().map(|(name, value)| (name, value))).output().expect("it starts"))
    };
    for (place, settings) in environments() {
        let ours: Vec<_> = settings.into_iter().filter(|(name, _)| name.starts_with("DISCODIFF_")).collect();
        assert!(ours.len() > 1, "{place}: {ours:?}");
        let ran = generate(&ours);
        assert_eq!(ran.status, Some(0), "{place}: {}", ran.stderr);
    }
    // The program does look at them.
    assert_eq!(generate(&[("DISCODIFF_WROKERS".to_owned(), "2".to_owned())]).status, Some(2));
}

#[test]
fn every_command_line_of_containers_and_units_is_one_that_the_program_takes() {
    let lines = command_lines();
    assert_eq!(lines.len(), 9, "{lines:?}");
    for line in lines {
        let all = ["discodiff".to_owned()].into_iter().chain(line.clone());
        Cli::try_parse_from(all).unwrap_or_else(|error| panic!("{line:?}: {error}"));
    }
}

#[test]
fn no_password_stands_in_what_is_deployed() {
    let compose = yaml("docker/compose.yml");
    let mut settings: Vec<_> = environments().into_iter().flat_map(|(_, settings)| settings).collect();
    for service in services(&compose).values() {
        let own = service["environment"].as_object().into_iter().flatten();
        settings.extend(own.map(|(name, value)| (name.clone(), value.as_str().expect("a text").to_owned())));
    }
    let mut files = 0;
    for (name, value) in &settings {
        if let Some((_, rest)) = value.split_once("://") {
            let authority = rest.split('/').next().unwrap_or_default();
            assert!(!authority.split_once('@').is_some_and(|(user, _)| user.contains(':')), "{name} holds a password");
        }
        if ["PASSWORD", "AUTH_", "SECRET", "TOKEN"].iter().any(|word| name.contains(word)) {
            let is_file = name.ends_with("_FILE") && (value.starts_with("/run/secrets/") || value.starts_with("%d/"));
            assert!(is_file, "{name}={value} is no file of a secret");
            files += 1;
        }
    }
    assert!(files >= 8, "{files}: they are not found");
    for (name, service) in services(&compose) {
        assert!(!service["healthcheck"].to_string().contains("secrets"), "{name}: its health check reads a secret");
    }
    for (name, secret) in compose["secrets"].as_object().expect("secrets") {
        assert_eq!(secret["file"], format!("./secrets/{name}"));
    }
    assert!(text(".gitignore").lines().any(|line| line == "/docker/secrets"), "secrets could be committed");
}

#[test]
fn passwords_are_made_once_each_for_their_containers_alone_to_read() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    fs::copy(repository("docker/secrets.sh"), home.path("secrets.sh")).expect("copied");
    let make = || assert!(Command::new("bash").arg(home.path("secrets.sh")).status().expect("bash").success());
    make();
    let (first, names) = (home.bytes("secrets"), yaml("docker/compose.yml"));
    let made: BTreeSet<String> = first.keys().map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect();
    assert_eq!(made, names["secrets"].as_object().expect("secrets").keys().cloned().collect());
    let secret = |name: &str| fs::read_to_string(home.path("secrets").join(name)).expect("a secret");
    assert_eq!(secret("neo4j_auth"), format!("neo4j/{}", secret("neo4j_password")));
    assert!(secret("neo4j_password").len() >= 32 && secret("neo4j_password") != secret("postgres_password"));
    assert_eq!(fs::metadata(home.path("secrets")).expect("there").permissions().mode() & 0o777, 0o700);
    make();
    assert_eq!(home.bytes("secrets"), first);
}

#[test]
fn every_container_is_confined_limited_pinned_and_asked_how_it_is() {
    let compose = yaml("docker/compose.yml");
    let declared = |what: &str| compose[what].as_object().expect("declared").keys().cloned().collect::<BTreeSet<_>>();
    let (volumes, networks, secrets) = (declared("volumes"), declared("networks"), declared("secrets"));
    let mut profiles = BTreeSet::new();
    for (name, service) in services(&compose) {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(strings(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(strings(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        assert!(service["restart"].is_string(), "{name}: how is it restarted?");
        assert!(is_ours(service) || !service["user"].as_str().expect("a user").starts_with("0"), "{name} runs as root");
        let image = service["image"].as_str().expect("an image");
        let tag = image.split_once(':').expect("a tag").1;
        assert!(tag.trim_start_matches('v').split('.').count() >= 2, "{image} is not pinned");
        for bound in ["limits", "reservations"] {
            let bound = &service["deploy"]["resources"][bound];
            assert!(bound["memory"].is_string() && bound["cpus"].is_string(), "{name}: {bound}");
        }
        assert!(service["deploy"]["resources"]["limits"]["pids"].is_u64(), "{name}");
        let asked = !service["healthcheck"]["test"].is_null() || is_ours(service) && !instructions("HEALTHCHECK").is_empty();
        assert!(asked, "{name} has no health check");
        profiles.extend(strings(&service["profiles"]));
        for volume in strings(&service["volumes"]) {
            let from = volume.split(':').next().expect("a source");
            match from.strip_prefix("./") {
                Some(path) => {
                    assert!(repository("docker").join(path).exists(), "{name} mounts {from}, which is not there");
                    assert!(volume.ends_with(":ro"), "{name} may write to {from}");
                }
                None => assert!(volumes.contains(from), "{name}: no volume {from}"),
            }
        }
        assert!(of_service(service).iter().all(|network| networks.contains(network)), "{name}");
        assert!(strings(&service["secrets"]).iter().all(|secret| secrets.contains(secret)), "{name}");
        for config in service["configs"].as_array().into_iter().flatten() {
            let file = &compose["configs"][config["source"].as_str().expect("a config")]["file"];
            assert!(repository("docker").join(file.as_str().expect("a file")).exists(), "{name}: {config}");
        }
        for port in strings(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port} is open to all");
        }
    }
    assert_eq!(profiles, ["cluster", "core", "demo", "observability"].map(str::to_owned).into());
}

#[test]
fn pods_are_confined_and_limited_and_have_their_passwords_by_reference() {
    let cronjob = yaml("docker/kubernetes/cronjob.yaml");
    // One at a time has the state.
    assert_eq!(cronjob["spec"]["concurrencyPolicy"], "Forbid");
    let (of_job, of_process) = (&cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"], &stateful_set()["spec"]["template"]["spec"]);
    for (pod, mounts, claims, in_file) in [
        (of_job, 4, &["state", "dumps"][..], "docker/kubernetes/pvc.yaml"),
        (of_process, 3, &["state"], "docker/kubernetes/statefulset.yaml"),
    ] {
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["runAsUser"], 65532);
        for container in pod["containers"].as_array().into_iter().chain(pod["initContainers"].as_array()).flatten() {
            let own = &container["securityContext"];
            assert_eq!(own["readOnlyRootFilesystem"], true);
            assert_eq!(own["allowPrivilegeEscalation"], false);
            assert_eq!(strings(&own["capabilities"]["drop"]), ["ALL"]);
            for bound in ["requests", "limits"] {
                assert!(container["resources"][bound]["memory"].is_string() && container["resources"][bound]["cpu"].is_string());
            }
        }
        let volumes = pod["volumes"].as_array().expect("volumes");
        let of = |name: &str| volumes.iter().find(|volume| volume["name"] == name).expect("a volume").clone();
        let mounted = pod["containers"][0]["volumeMounts"].as_array().expect("mounts");
        let mounted: BTreeSet<_> = mounted.iter().map(|mount| of(mount["name"].as_str().expect("a name"))["name"].to_string()).collect();
        assert_eq!(mounted.len(), mounts);
        assert_eq!(of("secrets")["secret"]["secretName"], "discodiff");
        for name in claims {
            let claim = of(name)["persistentVolumeClaim"]["claimName"].as_str().expect("a claim").to_owned();
            assert!(text(in_file).contains(&format!("name: {claim}\n")), "{claim} is not in {in_file}");
        }
    }
}

/// What each of several processes is told, by its number, and the hostfile's text.
type Processes = (Vec<BTreeMap<String, String>>, String);

/// Those of the profile `cluster`, with the name under which each is found.
fn of_compose() -> Processes {
    let compose = yaml("docker/compose.yml");
    let ours = services(&compose).iter().filter(|(_, service)| is_ours(service) && strings(&service["profiles"]) == ["cluster"]);
    let hosts = text("docker/cluster/hosts");
    let named: Vec<_> = hosts.lines().filter(|line| !line.starts_with('#')).collect();
    let mut told = Vec::new();
    for ((name, service), line) in ours.zip(&named) {
        // In their own network only: a process listens at the address that its name stands for.
        assert_eq!(service["networks"]["processes"]["aliases"][0], line.trim_end_matches(":2101"), "{name}");
        assert!(!services(&compose).contains_key(line.trim_end_matches(":2101")));
        assert!(strings(&service["volumes"]).contains(&"state:/var/lib/discodiff".to_owned()), "{name}");
        let environment = service["environment"].as_object().expect("settings").iter();
        told.push(environment.map(|(name, value)| (name.clone(), value.as_str().expect("a text").to_owned())).collect());
        let config = &service["configs"][0];
        assert_eq!((&config["source"], &config["target"]), (&"hosts".into(), &service["environment"]["DISCODIFF_HOSTFILE"]), "{name}");
    }
    assert_eq!((compose["networks"]["processes"]["internal"].clone(), told.len()), (true.into(), named.len()));
    (told, hosts)
}

/// Those of the StatefulSet.
fn of_kubernetes() -> Processes {
    let all = documents("docker/kubernetes/statefulset.yaml");
    let [set, service, hosts, claim, policy] =
        ["StatefulSet", "Service", "ConfigMap", "PersistentVolumeClaim", "NetworkPolicy"].map(|kind| of_kind(&all, kind));
    let (spec, pod) = (&set["spec"], &set["spec"]["template"]["spec"]);
    let labels = &spec["template"]["metadata"]["labels"];
    for selector in [&spec["selector"]["matchLabels"], &service["spec"]["selector"], &policy["spec"]["podSelector"]["matchLabels"]] {
        assert_eq!(selector, labels);
    }
    assert_eq!((&service["spec"]["clusterIP"], &service["spec"]["publishNotReadyAddresses"]), (&"None".into(), &true.into()));
    assert_eq!((&spec["serviceName"], &spec["podManagementPolicy"]), (&service["metadata"]["name"], &"Parallel".into()));
    assert_eq!(strings(&claim["spec"]["accessModes"]), ["ReadWriteMany"]);
    let container = &pod["containers"][0];
    let mount = |name: &str| {
        let mounts = container["volumeMounts"].as_array().expect("mounts");
        mounts.iter().find(|mount| mount["name"] == name).expect("a mount")["mountPath"].as_str().expect("a path").to_owned()
    };
    let volume = pod["volumes"].as_array().expect("volumes").iter().find(|volume| volume["name"] == "hosts").expect("a volume");
    assert_eq!(volume["configMap"]["name"], hosts["metadata"]["name"]);
    let replicas = usize::try_from(spec["replicas"].as_u64().expect("a number")).expect("small");
    let told: Vec<BTreeMap<_, _>> = (0..replicas).map(|number| told(container, number).into_iter().collect()).collect();
    assert_eq!(told[0]["DISCODIFF_HOSTFILE"], format!("{}/hosts", mount("hosts")));
    let hosts = hosts["data"]["hosts"].as_str().expect("a hostfile").to_owned();
    let (name, service) = (set["metadata"]["name"].as_str().expect("a name"), service["metadata"]["name"].as_str().expect("a name"));
    let expected: Vec<_> = (0..replicas).map(|number| format!("{name}-{number}.{service}:2101")).collect();
    assert_eq!(hosts.lines().collect::<Vec<_>>(), expected);
    for (probe, path) in [("livenessProbe", "/health"), ("readinessProbe", "/ready")] {
        assert_eq!(container[probe]["httpGet"]["path"], path);
    }
    (told, hosts)
}

#[test]
fn processes_of_a_cluster_are_told_alike_but_for_their_number_and_refresh_takes_it() {
    let home = Home::new();
    for (place, (told, hosts)) in [("compose.yml", of_compose()), ("statefulset.yaml", of_kubernetes())] {
        fs::write(home.path("hosts"), &hosts).expect("written");
        let hosts = discodiff::cluster::hosts(&home.path("hosts"), told.len()).expect("a hostfile");
        let common = |told: &BTreeMap<String, String>| {
            let own = ["DISCODIFF_PROCESS", "DISCODIFF_METRICS_FILE"];
            told.iter()
                .filter(|(name, _)| !own.contains(&name.as_str()))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect::<Vec<_>>()
        };
        for (number, (settings, host)) in told.iter().zip(&hosts).enumerate() {
            assert_eq!((&settings["DISCODIFF_PROCESS"], &settings["DISCODIFF_PROCESSES"]), (&number.to_string(), &told.len().to_string()));
            assert_eq!(common(settings), common(&told[0]), "{place}");
            // It comes as far as a machine that does not have that name can.
            let mut command = home.command("refresh --kafka --follow --state state");
            command.envs(settings).envs([("DISCODIFF_HOSTFILE", "hosts"), ("DISCODIFF_METRICS_FILE", "")]);
            Ran::of(&command.output().expect("it starts")).refused(&[&format!("cannot listen at {host}, which the hostfile names")]);
        }
    }
    for line in command_lines().iter().filter(|line| line.contains(&"--follow".to_owned())) {
        assert_eq!(line, &["refresh", "--kafka", "--follow"]);
    }
    // The partitions of the topics that the guide has made are shared by them evenly.
    let guide = text("docker/README.md");
    let partitions = guide.split("--partitions ").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("a number");
    assert_eq!(partitions.parse::<usize>().expect("a number") % of_compose().0.len(), 0);
    assert_eq!(of_compose().0.len(), of_kubernetes().0.len());
}

#[test]
fn the_image_runs_as_nobody_in_particular_with_what_it_writes_on_volumes() {
    let (stages, users) = (instructions("FROM"), instructions("USER"));
    assert_eq!(stages.len(), 2);
    assert!(stages.iter().all(|stage| stage.split(' ').next().expect("an image").contains('.')), "{stages:?} are not pinned");
    assert_eq!(users, ["65532:65532"]);
    let volumes: Vec<String> = serde_json::from_str(&instructions("VOLUME")[0]).expect("a list");
    let state = environments()[0].1.iter().find(|(name, _)| name == "DISCODIFF_STATE").expect("a state").1.clone();
    assert!(volumes.iter().any(|volume| state.starts_with(volume)), "{state} is on no volume");
    // What the build takes from the project is what is sent to it.
    let sent: Vec<_> = text("docker/Dockerfile.dockerignore").lines().filter_map(|line| Some(line.strip_prefix('!')?.to_owned())).collect();
    let own = |copy: &&String| !copy.starts_with("--from=");
    let taken: Vec<String> =
        instructions("COPY").iter().filter(own).flat_map(|copy| copy.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect();
    for name in &sent {
        assert!(taken.contains(name) && repository(name).exists(), "{name}");
    }
}

#[test]
fn the_health_check_of_the_image_says_what_the_program_says_of_itself() {
    let check = instructions("HEALTHCHECK").remove(0);
    let command: Vec<String> = serde_json::from_str(check.split_once("CMD ").expect("a command").1.trim()).expect("a list");
    let asked = |answer: Option<&'static str>| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port().to_string();
        let server = answer.map(|answer| {
            thread::spawn(move || {
                let (mut client, _) = listener.accept().expect("a client");
                let (mut request, mut byte) = (Vec::new(), [0]);
                // The shell sends line by line.
                while !request.ends_with(b"\r\n\r\n") {
                    client.read_exact(&mut byte).expect("a request");
                    request.extend_from_slice(&byte);
                }
                client.write_all(answer.as_bytes()).expect("answered");
                String::from_utf8_lossy(&request).into_owned()
            })
        });
        let command: Vec<_> = command.iter().map(|part| part.replace("9599", &port)).collect();
        let healthy = Command::new(&command[0]).args(&command[1..]).output().expect("bash").status.success();
        if let Some(server) = server {
            assert!(server.join().expect("it served").starts_with("GET /health HTTP/1.0\r\n\r\n"));
        }
        healthy
    };
    assert!(asked(Some("HTTP/1.1 200 OK\r\n\r\nok")));
    assert!(!asked(Some("HTTP/1.1 503 Service Unavailable\r\n\r\n200 ")));
    assert!(!asked(None));
    assert_eq!(instructions("EXPOSE"), ["9599"]);
    assert!(environments()[0].1.contains(&("DISCODIFF_LISTEN".to_owned(), "0.0.0.0:9599".to_owned())));
}

#[test]
fn versions_in_containers_are_those_that_are_tested_and_released() {
    let (compose, cargo) = (yaml("docker/compose.yml"), text("Cargo.toml"));
    let image = |service: &str| compose["services"][service]["image"].as_str().expect("an image").to_owned();
    let jar = |pom: &str, artifact: &str| {
        let pom = text(pom);
        let after = pom.split_once(&format!("<artifactId>{artifact}</artifactId>")).expect("the jar").1;
        after.split_once("<version>").and_then(|(_, rest)| rest.split_once("</version>")).expect("a version").0.to_owned()
    };
    assert_eq!(image("neo4j"), format!("neo4j:{}-community", jar("scripts/neo4j/pom.xml", "neo4j")));
    assert_eq!(image("kafka"), format!("apache/kafka:{}", jar("scripts/kafka/pom.xml", "kafka_2.13")));
    let ours = format!("discodiff:{}", env!("CARGO_PKG_VERSION"));
    assert!(services(&compose).values().filter(|service| is_ours(service)).all(|service| service["image"] == ours.as_str()));
    for path in ["docker/kubernetes/cronjob.yaml", "docker/kubernetes/statefulset.yaml"] {
        let text = text(path);
        let images: Vec<_> = text.lines().filter_map(|line| line.trim().strip_prefix("image: ")).collect();
        assert!(!images.is_empty() && images.iter().all(|image| *image == ours), "{path}: {images:?}");
    }
    for path in ["docker/README.md", "docker/Dockerfile"] {
        assert!(text(path).contains(&format!("docker build -f docker/Dockerfile -t {ours} .")), "{path} builds an image of another name");
    }
    assert!(instructions("ARG").contains(&format!("VERSION={}", env!("CARGO_PKG_VERSION"))));
    let needed = cargo.lines().find_map(|line| line.strip_prefix("rust-version = \"1.")).expect("a version").trim_end_matches('"');
    let used = instructions("FROM")[0].strip_prefix("rust:1.").expect("Rust").split('.').next().expect("a number").to_owned();
    assert!(used.parse::<u32>().expect("a number") >= needed.parse().expect("a number"), "Rust 1.{used} is older than 1.{needed}");
}

/// Names in a settings file of a server, of lines `name = value`.
fn names(path: &str) -> BTreeSet<String> {
    let lines = text(path).lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
    lines.iter().map(|line| line.split_once('=').unwrap_or_else(|| panic!("{path}: {line}")).0.trim().to_owned()).collect()
}

#[test]
fn postgres_knows_every_setting_that_it_is_given() {
    let Some(database) = Database::new() else { return };
    let known = database.texts("SELECT lower(name) FROM pg_settings");
    let unknown: Vec<_> =
        names("docker/postgres/postgresql.conf").into_iter().filter(|name| !known.contains(&name.to_lowercase())).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn neo4j_knows_every_setting_that_it_is_given() {
    let Some(server) = Server::new() else { return };
    let known: BTreeSet<_> =
        server.query("SHOW SETTINGS YIELD name").into_iter().filter_map(|row| Some(row[0].as_str()?.to_owned())).collect();
    let unknown: Vec<_> = names("docker/neo4j/neo4j.conf").into_iter().filter(|name| !known.contains(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn every_setting_of_a_server_or_of_the_kernel_says_why() {
    for path in ["docker/postgres/postgresql.conf", "docker/neo4j/neo4j.conf", "docker/kafka/server.properties", "docker/sysctl.conf"] {
        assert!(names(path).len() > 4, "{path}");
        for block in text(path).split("\n\n") {
            assert!(block.starts_with("# "), "{path}: nothing is said of\n{block}");
        }
    }
}

#[test]
fn the_units_are_ones_that_systemd_takes() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        println!("skipped: no systemd-analyze is installed");
        return;
    }
    let home = Home::new();
    let service = text("docker/systemd/discodiff.service").replace("/usr/local/bin/discodiff", env!("CARGO_BIN_EXE_discodiff"));
    fs::write(home.path("discodiff.service"), service).expect("written");
    fs::write(home.path("discodiff.timer"), text("docker/systemd/discodiff.timer")).expect("written");
    let mut verify = Command::new("systemd-analyze");
    let units = [home.path("discodiff.service"), home.path("discodiff.timer")];
    let ran = Ran::of(&verify.args(["verify", "--man=no"]).args(units).output().expect("it starts"));
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_command_given_by_hand_has_the_units_user_folders_and_passwords() {
    let unit = text("docker/systemd/discodiff.service").replace("%S", "/var/lib").replace("%d", "/run/credentials/discodiff-now.service");
    let guide = text("docker/README.md");
    let names = ["User=", "UMask=", "StateDirectory=", "StateDirectoryMode=", "EnvironmentFile=", "LoadCredential="];
    let properties = unit.lines().filter(|line| names.iter().any(|name| line.starts_with(name))).map(|line| format!("-p {line} "));
    let environment = unit.lines().filter_map(|line| line.strip_prefix("Environment=")).flat_map(str::split_whitespace);
    let settings = environment.filter(|pair| pair.contains("_PASSWORD_FILE=") || pair.starts_with("DISCODIFF_STATE="));
    let needed: Vec<_> = properties.chain(settings.map(|pair| format!("-E {pair} "))).collect();
    assert!(needed.len() >= 10, "{needed:?}");
    let lacking: Vec<_> = needed.iter().filter(|part| !guide.contains(part.as_str())).collect();
    assert!(lacking.is_empty(), "docker/README.md lacks {lacking:?}");
}

#[test]
fn who_reads_metrics_from_the_units_folder_is_let_into_it() {
    let unit = text("docker/systemd/discodiff.service");
    let value = |name: &str| unit.split_whitespace().find_map(|word| word.strip_prefix(name)).map(str::to_owned);
    let folder = value("Environment=DISCODIFF_METRICS_FILE=").expect("a folder of metrics");
    assert_eq!(value("ReadWritePaths="), Some(folder.clone()), "all else is read-only");
    let group = value("SupplementaryGroups=").expect("a group");
    let guide = text("docker/README.md");
    assert!(guide.contains(&format!("groupadd --system {group}")) && guide.contains(&format!("chgrp {group} {folder}")));
}

#[test]
fn it_runs_where_nothing_but_the_folder_of_its_state_can_be_written() {
    let (home, months) = (Home::new(), small().folders());
    fs::create_dir(home.path("volume")).expect("made");
    // As an engine does it: all file systems read-only, but for the volume.
    let confine = "mount --make-rprivate / && mount --bind volume volume && mount -o remount,bind,ro / || exit 77
                   awk '$2 != \"/\" && $4 ~ /^rw/ {print $2}' /proc/self/mounts | grep -v \"$PWD/volume\" | grep -v '^/proc' | while read -r at; do
                       mount -o remount,bind,ro \"$at\" 2>/dev/null
                   done
                   touch elsewhere 2>/dev/null && exit 77
                   cd volume && exec \"$@\"";
    for month in &months {
        let mut command = Command::new("unshare");
        command.args(["--mount", "bash", "-c", confine, "confined", env!("CARGO_BIN_EXE_discodiff")]).current_dir(home.path(""));
        let ran = command.args(["refresh", "--json", "--state", "state", "--dumps"]).arg(month).output();
        let Some(ran) = ran.ok().map(|output| Ran::of(&output)).filter(|ran| ran.status != Some(77) && !ran.stderr.starts_with("unshare:"))
        else {
            println!("skipped: this user may not make file systems read-only");
            return;
        };
        ran.json(0);
    }
    assert!(!home.sqlite("volume/state/discodiff.sqlite").is_empty());
}

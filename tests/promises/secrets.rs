//! Passwords are shown nowhere, and a run needs no more rights than are written down.

use std::fs;
use std::process::Stdio;

use super::generated::small;
use super::graph::Server;
use super::harness::{Database, Home, Ran};

/// A URL without its password, and that.
fn parted(url: &str) -> (String, String) {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let (user, place) = rest.split_once('@').expect("a user");
    let (user, password) = user.split_once(':').expect("a password");
    (format!("{scheme}://{user}@{place}"), password.to_owned())
}

/// What no output, no file and no command line may hold.
fn assert_hidden(home: &Home, secret: &str, line: &str, environment: &[(&str, &str)]) -> Ran {
    let mut command = home.command(line);
    command.envs(environment.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("it starts");
    let title = fs::read(format!("/proc/{}/cmdline", child.id())).unwrap_or_default();
    assert!(!String::from_utf8_lossy(&title).contains(secret), "{line}");
    let ran = Ran::of(&child.wait_with_output().expect("ended"));
    for (what, text) in [("stdout", &ran.stdout), ("stderr", &ran.stderr)] {
        assert!(!text.contains(secret), "{line}: {what} shows the password");
    }
    for (path, bytes) in home.bytes("state") {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{line}: {}", path.display());
    }
    ran
}

const SECRET: &str = "hunter2-secret";

#[test]
fn the_password_for_postgres_is_in_no_log_no_output_no_error_and_no_file() {
    let Some(database) = Database::new() else { return };
    let (home, (months, user)) = (Home::new(), (small().folders(), Role::new(&database, "secretive")));
    fs::write(home.path("password"), SECRET).expect("written");
    let (url, _) = parted(&user.url);
    let ways: [(String, Vec<(&str, &str)>); 3] = [
        (format!("--postgres {url} --postgres-password-file password"), Vec::new()),
        (String::new(), vec![("DISCODIFF_POSTGRES", user.url.as_str())]),
        (String::new(), vec![("DISCODIFF_POSTGRES", url.as_str()), ("DISCODIFF_POSTGRES_PASSWORD_FILE", "password")]),
    ];
    for (way, environment) in &ways {
        for command in [
            "refresh --log trace --dumps",
            "check --dumps",
            "status",
            "verify",
            "verify --json",
            "dead-letters list",
            "plan --log trace --dumps",
        ] {
            let month = if command.ends_with("--dumps") { months[0].display().to_string() } else { String::new() };
            let ran = assert_hidden(&home, SECRET, &format!("{command} {month} --state state {way}"), environment);
            assert_eq!(ran.status, Some(0), "{command}: {}", ran.stderr);
        }
    }
    // Whatever goes wrong.
    for (from, to) in
        [("127.0.0.1", "127.0.0.1:1,127.0.0.1"), ("/discodiff", "/nothing"), ("postgres:", "postgres:x"), ("secretive", "nobody")]
    {
        let wrong = user.url.replace(from, to);
        let ran = assert_hidden(&home, SECRET, "refresh --log trace --state state --dumps none", &[("DISCODIFF_POSTGRES", &wrong)]);
        assert_ne!(ran.status, Some(0));
        assert_hidden(&home, SECRET, "status --log trace --state state", &[("DISCODIFF_POSTGRES", &wrong)]);
        assert_hidden(&home, SECRET, "check --log trace --state state", &[("DISCODIFF_POSTGRES", &wrong)]);
    }
}

#[test]
fn the_password_for_neo4j_is_in_no_log_no_output_no_error_and_no_file() {
    let Some(server) = Server::new() else { return };
    let (home, month) = (Home::new(), small().folders()[0].display().to_string());
    let sink = server.sink().replace("--neo4j ", "");
    let (url, password) = parted(&sink);
    fs::write(home.path("password"), &password).expect("written");
    let ways: [(String, Vec<(&str, &str)>); 2] =
        [(format!("--neo4j {url} --neo4j-password-file password"), Vec::new()), (String::new(), vec![("DISCODIFF_NEO4J", sink.as_str())])];
    for (way, environment) in &ways {
        for command in [&format!("refresh --log trace --dumps {month}"), "check", "status", "verify --log trace"] {
            // Its name is a part of the words that tell of the setting.
            let ran = assert_hidden(&home, &format!("{password}\""), &format!("{command} --state state {way}"), environment);
            assert_eq!(ran.status, Some(0), "{command}: {}", ran.stderr);
            let without = format!("{}{}", ran.stdout, ran.stderr).replace("neo4j-password-file", "");
            assert!(!without.contains(&password), "{command}");
        }
    }
    let wrong = sink.replace(&password, SECRET);
    for command in ["refresh --log trace --dumps none", "check --log trace", "status --log trace"] {
        assert_hidden(&home, SECRET, &format!("{command} --state state"), &[("DISCODIFF_NEO4J", &wrong)]);
    }
}

/// A user of PostgreSQL with the rights that README lists, and no others.
struct Role<'d> {
    database: &'d Database,
    name: &'static str,
    url: String,
}

impl Role<'_> {
    fn new<'d>(database: &'d Database, name: &'static str) -> Role<'d> {
        let url = database.url();
        let (_, place) = url.split_once('@').expect("a user");
        let (_, of_database) = place.split_once('/').expect("a database");
        database.execute(&format!(
            "DROP ROLE IF EXISTS {name};
             CREATE ROLE {name} LOGIN PASSWORD '{SECRET}';
             REVOKE ALL ON DATABASE {of_database} FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC;
             GRANT CONNECT, TEMPORARY ON DATABASE {of_database} TO {name};
             CREATE SCHEMA \"my \"\"discs\" ; GRANT USAGE, CREATE ON SCHEMA \"my \"\"discs\" TO {name};
             ALTER ROLE {name} IN DATABASE {of_database} SET search_path = \"my \"\"discs\""
        ));
        Role { database, name, url: format!("postgres://{name}:{SECRET}@{place}") }
    }
}

impl Drop for Role<'_> {
    fn drop(&mut self) {
        self.database.execute(&format!("DROP OWNED BY {name} CASCADE; DROP ROLE {name}", name = self.name));
    }
}

#[test]
fn a_postgres_user_with_just_the_rights_that_are_written_down_can_do_all_that_runs_do_in_a_schema_of_any_name() {
    let Some(database) = Database::new() else { return };
    let home = Home::new();
    let role = Role::new(&database, "frugal");
    for month in &small().folders() {
        home.refresh(month, &format!("-w 2 --postgres {}", role.url)).json(0);
        home.refresh(month, "--state other --sqlite other.sqlite").json(0);
    }
    assert_eq!(home.run(&format!("verify --state state --json --postgres {}", role.url)).json(0)["equal"], true);
    let rows = database.texts("SELECT 'artist ' || data_id FROM \"my \"\"discs\".artists");
    assert_eq!(rows.len(), home.sqlite("other.sqlite").keys().filter(|(kind, _)| *kind == "artist").count());
    assert!(database.texts("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'").is_empty());
}

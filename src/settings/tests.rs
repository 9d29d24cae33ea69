//! What is promised about settings, tried on the pure function.

use super::*;

fn flags(given: &[(Key, &str)]) -> Flags {
    let mut flags = Flags::default();
    given.iter().for_each(|(key, value)| flags.give(*key, Some(value)));
    flags
}

fn environment(given: &[(&str, &str)]) -> Vec<(String, String)> {
    given.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn file(text: &str) -> Option<(PathBuf, String)> {
    Some((PathBuf::from("/etc/discodiff.toml"), text.to_owned()))
}

fn mistakes(result: Result<Settings, Mistakes>) -> String {
    result.expect_err("there are mistakes").to_string()
}

#[test]
fn nothing_given_means_the_defaults() {
    let settings = resolve(&Flags::default(), [], None).expect("defaults");
    assert_eq!((settings.workers, settings.memory, settings.delete_limit_percent), (1, 128 << 20, 1.0));
    assert_eq!(settings.reject_limit_percent, 1.0);
    assert_eq!((settings.log.as_str(), settings.log_format), ("info", LogFormat::Text));
    assert!(!settings.null && !settings.json && !settings.allow_deletes && !settings.allow_older && settings.state.is_none());
    assert_eq!(settings.origin(Key::Workers), Origin::Default);
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let text = "workers = 2\nmemory = \"64MiB\"\nlog = \"warn\"\ndelete_limit_percent = 5\n";
    let variables = environment(&[("DISCODIFF_WORKERS", "3"), ("DISCODIFF_MEMORY", "1GiB"), ("PATH", "/bin")]);
    let settings = resolve(&flags(&[(Key::Workers, "4")]), variables, file(text)).expect("settings");
    assert_eq!((settings.workers, settings.memory, settings.log.as_str()), (4, 1 << 30, "warn"));
    assert_eq!(settings.delete_limit_percent, 5.0);
    assert_eq!(settings.origin(Key::Workers), Origin::Flag);
    assert_eq!(settings.origin(Key::Memory), Origin::Environment);
    assert_eq!(settings.origin(Key::Log), Origin::File("/etc/discodiff.toml".into(), 3));
}

#[test]
fn dumps_come_from_a_folder_fetched_into_it_or_from_topics_as_the_strongest_layer_says() {
    let places = |given: &[(Key, &str)], variables: &[(&str, &str)], text: &str| {
        let settings = resolve(&flags(given), environment(variables), file(text)).expect("settings");
        (settings.fetch, settings.kafka, settings.dumps.is_some())
    };
    let timer = "fetch = true\ndumps = \"dumps\"\n";
    assert_eq!(places(&[], &[], timer), (true, false, true));
    assert_eq!(places(&[(Key::Fetch, "false")], &[], timer), (false, false, true));
    assert_eq!(places(&[(Key::Kafka, "true")], &[], timer), (false, true, false));
    assert_eq!(places(&[(Key::Dumps, "d")], &[("DISCODIFF_KAFKA", "true")], timer), (true, false, true));
    assert_eq!(places(&[(Key::Fetch, "true")], &[("DISCODIFF_KAFKA", "true")], timer), (true, false, true));
    assert_eq!(places(&[], &[("DISCODIFF_KAFKA", "true")], "fetch_url = \"http://mirror/\""), (false, true, false));
    let said = mistakes(resolve(&flags(&[(Key::Kafka, "true"), (Key::Fetch, "true")]), [], None));
    assert!(said.contains("--kafka: dumps are read from topics or from a folder, and --fetch names one"), "{said}");
}

#[test]
fn a_flag_can_take_back_what_the_file_allows() {
    let settings = resolve(&flags(&[(Key::AllowDeletes, "false")]), [], file("allow_deletes = true")).expect("settings");
    assert!(!settings.allow_deletes);
}

#[test]
fn all_mistakes_are_listed_at_once_each_with_its_place_and_what_would_be_right() {
    let text = "wrokers = 4\nmemory = 5\njson = \"yes\"\n[postgres]\nhost = 1\n";
    let variables = environment(&[("DISCODIFF_MEMROY", "1GiB"), ("DISCODIFF_LOG_FORMAT", "xml"), ("DISCODIFF_RABBITMQ", "x")]);
    let said = mistakes(resolve(&flags(&[(Key::Workers, "0")]).needing(&[Key::State]), variables, file(text)));
    for expected in [
        "9 mistakes in the settings:\n  - ",
        "- /etc/discodiff.toml, line 1: wrokers: no such setting; did you mean workers?",
        "- /etc/discodiff.toml, line 2: memory: \"5\" is wrong; right is a size of at least 64MiB",
        "- /etc/discodiff.toml, line 3: json: a value of type string is wrong; right is true or false",
        "- /etc/discodiff.toml, line 4: postgres: a value of type table is wrong; right is a URL",
        "- DISCODIFF_MEMROY: no such setting; did you mean DISCODIFF_MEMORY?",
        "- DISCODIFF_LOG_FORMAT: \"xml\" is wrong; right is \"text\" or \"json\"",
        "- DISCODIFF_RABBITMQ: no such setting\n",
        "- --workers: \"0\" is wrong; right is a whole number from 1 to 64",
        "- --state: is needed: the folder where discodiff keeps",
    ] {
        assert!(said.contains(expected), "{expected}\nis not in\n{said}");
    }
}

#[test]
fn a_wrong_value_is_a_mistake_even_where_a_flag_hides_it() {
    let said = mistakes(resolve(&flags(&[(Key::Workers, "2")]), environment(&[("DISCODIFF_WORKERS", "many")]), None));
    assert!(said.contains("DISCODIFF_WORKERS: \"many\""), "{said}");
}

#[test]
fn the_tests_own_variables_and_empty_ones_are_let_be() {
    let variables = [("DISCODIFF_REAL_DUMPS", "x"), ("DISCODIFF_TEST_POSTGRES", "x"), ("DISCODIFF_CONFIG", "x"), ("DISCODIFF_WORKERS", "")];
    let settings = resolve(&Flags::default(), environment(&variables), None).expect("settings");
    assert_eq!(settings.workers, 1);
}

#[test]
fn a_variable_in_small_letters_is_no_setting() {
    let said = mistakes(resolve(&Flags::default(), environment(&[("DISCODIFF_workers", "2")]), None));
    assert!(said.contains("did you mean DISCODIFF_WORKERS?"), "{said}");
}

#[test]
fn a_file_that_is_no_toml_is_named_with_its_line_and_not_quoted() {
    let said = mistakes(resolve(&flags(&[(Key::Workers, "x")]), [], file("workers = 1\npostgres = \"postgresql://u:hunter2@h/db\n")));
    assert!(said.contains("/etc/discodiff.toml, line 2: is no TOML"), "{said}");
    assert!(said.contains("--workers"), "the other mistakes are listed too: {said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn what_is_needed_may_come_from_anywhere() {
    let need = || Flags::default().needing(&[Key::State]);
    assert!(resolve(&need(), [], file("state = \"state\"")).is_ok());
    assert!(resolve(&need(), environment(&[("DISCODIFF_STATE", "state")]), None).is_ok());
    let said = mistakes(resolve(&need(), [], None));
    assert!(said.contains("--state: is needed") && said.contains("DISCODIFF_STATE"), "{said}");
}

#[test]
fn no_password_is_ever_shown() {
    let url = "postgresql://me:hunter2@db:5432/discogs";
    let settings = resolve(&flags(&[(Key::Postgres, url), (Key::Neo4j, "bolt://me:hunter2@db:7687")]), [], None).expect("settings");
    let shown = format!("{settings}\n{settings:?}\n{:?}\n{:?}\n{}", settings.postgres, settings.neo4j, Secret::new("hunter2"));
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("postgres = postgresql://me:***@db:5432/discogs  (--postgres)"), "{shown}");
    assert!(shown.contains("neo4j = bolt://me:***@db:7687  (--neo4j)"), "{shown}");
    assert_eq!(settings.postgres_password(), Ok(None));
    let config: tokio_postgres::Config = settings.postgres.as_ref().expect("a URL").reveal().parse().expect("a configuration");
    assert_eq!(config.get_password(), Some("hunter2".as_bytes()));
}

#[test]
fn the_password_is_read_from_its_file_without_the_line_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("password");
    std::fs::write(&path, "hunter2\n").expect("written");
    let given = |path: &Path| {
        let path = &*path.to_string_lossy();
        let postgres = [(Key::Postgres, "postgresql://me@db/discogs"), (Key::PostgresPasswordFile, path)];
        flags(&[postgres, [(Key::Neo4j, "bolt://me@db"), (Key::Neo4jPasswordFile, path)]].concat())
    };
    let settings = resolve(&given(&path), [], None).expect("settings");
    let password = settings.postgres_password().expect("read").expect("a password");
    assert_eq!(password.reveal().as_bytes(), "hunter2".as_bytes());
    assert_eq!(settings.neo4j_password().expect("read").expect("a password").reveal(), "hunter2");
    assert!(!format!("{settings:?} {password:?}").contains("hunter2"));

    let settings = resolve(&given(&folder.path().join("none")), [], None).expect("resolving reads no file");
    assert!(settings.postgres_password().expect_err("not there").to_string().contains("--postgres-password-file"));
    assert!(settings.neo4j_password().expect_err("not there").to_string().contains("--neo4j-password-file"));
}

#[test]
fn two_passwords_or_one_without_a_server_are_refused() {
    let both = [(Key::Postgres, "postgresql://me:hunter2@db/discogs"), (Key::PostgresPasswordFile, "p")];
    let said = mistakes(resolve(&flags(&both), [], None));
    assert!(said.contains("password in --postgres too") && !said.contains("hunter2"), "{said}");
    assert!(mistakes(resolve(&flags(&both[1..]), [], None)).contains("of no use without --postgres"));
    let both = [(Key::Neo4j, "bolt://me:hunter2@db"), (Key::Neo4jPasswordFile, "p")];
    let said = mistakes(resolve(&flags(&both), [], None));
    assert!(said.contains("password in --neo4j too") && !said.contains("hunter2"), "{said}");
    assert!(mistakes(resolve(&flags(&both[1..]), [], None)).contains("of no use without --neo4j"));
}

#[test]
fn null_in_a_stronger_layer_drops_the_sinks_and_in_the_same_layer_is_refused() {
    let settings = resolve(&flags(&[(Key::Null, "true")]), [], file("sqlite = \"a\"\nstate = \"s\"")).expect("settings");
    assert!(settings.null && settings.sqlite_file().is_none());
    let settings = resolve(&flags(&[(Key::Sqlite, "a")]), [], file("null = true")).expect("settings");
    assert!(!settings.null && settings.sqlite_file() == Some("a".into()));
    let said = mistakes(resolve(&flags(&[(Key::Null, "true"), (Key::Feed, "f")]), [], None));
    assert!(said.contains("--null: means no sink, yet --feed names one"), "{said}");
}

#[test]
fn dumps_come_from_topics_or_from_a_folder_as_the_stronger_layer_says() {
    let settings = resolve(&flags(&[(Key::Kafka, "true")]), [], file("dumps = \"d\"\nbrokers = \"kafka:9092\"")).expect("settings");
    assert!(settings.kafka && settings.dumps.is_none());
    let topics = settings.topics().expect("topics");
    assert_eq!((topics.brokers.addresses.as_str(), topics.of(crate::model::Kind::Label).as_str()), ("kafka:9092", "discogs.labels"));
    let settings = resolve(&flags(&[(Key::Dumps, "d")]), [], file("kafka = true")).expect("settings");
    assert!(!settings.kafka && settings.dumps.is_some());
    let said = mistakes(resolve(&flags(&[(Key::Kafka, "true"), (Key::Dumps, "d")]), [], None));
    assert!(said.contains("--kafka: dumps are read from topics or from a folder, and --dumps names one"), "{said}");
    let said = mistakes(resolve(&flags(&[(Key::Partitions, "65"), (Key::Brokers, "kafka")]), [], None));
    assert!(said.contains("--partitions: \"65\" is wrong") && said.contains("--brokers: \"kafka\" is wrong"), "{said}");
    assert!(
        resolve(&Flags::default(), [], None).expect("settings").topics().is_err_and(|said| said.to_string().contains("DISCODIFF_BROKERS"))
    );
}

#[test]
fn what_is_missing_follows_from_where_dumps_come_from() {
    let said = mistakes(resolve(&flags(&[(Key::Kafka, "true")]).needing_dumps(), [], None));
    assert!(said.contains("--brokers: is needed") && !said.contains("--dumps"), "{said}");
    let above = "; where they are fetched, the folder above those of the months";
    let said = mistakes(resolve(&Flags::default().needing_dumps(), [], None));
    assert!(said.contains("--dumps: is needed") && !said.contains(above), "{said}");
    let said = mistakes(resolve(&Flags::of(&[&FetchFlags::default()]).needing_dumps(), [], None));
    assert!(said.contains("--dumps: is needed") && said.contains(above), "{said}");
}

#[test]
fn without_a_sink_the_states_own_sqlite_file_is_used() {
    let sqlite = |given: &[(Key, &str)]| resolve(&flags(given), [], None).expect("settings").sqlite_file();
    assert_eq!(sqlite(&[(Key::State, "s")]), Some("s/discodiff.sqlite".into()));
    assert_eq!(sqlite(&[(Key::State, "s"), (Key::Feed, "f")]), None);
    assert_eq!(sqlite(&[(Key::State, "s"), (Key::Null, "true")]), None);
}

#[test]
fn what_kafka_asks_for_is_given_together_or_the_missing_part_is_named() {
    let user = [(Key::Brokers, "kafka:9092"), (Key::KafkaUser, "me")];
    let said = mistakes(resolve(&flags(&user), [], None));
    assert!(
        said.contains("--kafka-user: needs a password: --kafka-password-file names a file") && said.contains("DISCODIFF_KAFKA_PASSWORD")
    );
    let password = || environment(&[("DISCODIFF_KAFKA_PASSWORD", " hunter2 ")]);
    let settings = resolve(&flags(&user), password(), None).expect("settings");
    let login = settings.topics().expect("topics").brokers.login.expect("a login");
    assert_eq!((login.user.as_str(), login.password.reveal(), login.sasl), ("me", " hunter2 ", Sasl::Scram512));
    let shown = format!("{settings}\n{settings:?}\n{:?}", settings.topics());
    assert!(shown.contains("kafka_password = ***  (DISCODIFF_KAFKA_PASSWORD)") && !shown.contains("hunter2"), "{shown}");

    let said = mistakes(resolve(&flags(&[(Key::KafkaSasl, "GSSAPI"), (Key::KafkaPasswordFile, "p")]), password(), None));
    for expected in [
        "--kafka-sasl: \"GSSAPI\" is wrong; right is PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
        "--kafka-sasl: is of no use without --kafka-user",
        "DISCODIFF_KAFKA_PASSWORD: is of no use without --kafka-user",
        "--kafka-password-file: there is a password in DISCODIFF_KAFKA_PASSWORD too",
    ] {
        assert!(said.contains(expected), "{expected}\nis not in\n{said}");
    }
    assert!(!said.contains("hunter2"), "{said}");
    let said = mistakes(resolve(&flags(&[(Key::KafkaCa, "ca.pem"), (Key::KafkaKey, "key.pem")]), [], None));
    assert!(said.contains("--kafka-ca: is of no use without --kafka-tls"), "{said}");
    assert!(said.contains("--kafka-key: is of no use without --kafka-certificate"), "{said}");
    let said = mistakes(resolve(&Flags::default(), [], file("kafka_password = 5\n")));
    assert!(
        said.contains("/etc/discodiff.toml, line 1: kafka_password: what is given is wrong; right is a text in quotes, not empty"),
        "{said}"
    );
}

#[test]
fn a_flag_can_take_encryption_back_and_leaves_its_certificates_alone() {
    let text = "brokers = \"kafka:9092\"\nkafka_tls = true\nkafka_ca = \"ca.pem\"\n";
    let brokers = |given: &[(Key, &str)]| resolve(&flags(given), [], file(text)).expect("settings").topics();
    assert!(brokers(&[(Key::KafkaTls, "false")]).expect("topics").brokers.tls.is_none());
    assert!(
        brokers(&[])
            .expect_err("the file is not there")
            .to_string()
            .contains("/etc/discodiff.toml, line 3: kafka_ca: /etc/ca.pem cannot be read")
    );
}

//! Brokers that encrypt and ask who is there: each way in works, each wrong one is told in words, and no password is ever shown.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::broker::Broker;
use super::generated::small;
use super::harness::{Home, Ran, assert_same};

const WRONG: &str = "hunter2-is-wrong";

/// The listeners of the broker besides the plain one.
struct Listeners {
    tls: String,
    mutual: String,
    sasl: String,
    sasl_tls: String,
    certificates: String,
    password: String,
}

impl Listeners {
    /// `None`, with a word, where the broker has none.
    fn of_tests() -> Option<Listeners> {
        let variable = |name: &str| std::env::var(format!("DISCODIFF_TEST_KAFKA_{name}")).ok();
        let found = || {
            Some(Listeners {
                tls: variable("TLS")?,
                mutual: variable("MUTUAL")?,
                sasl: variable("SASL")?,
                sasl_tls: variable("SASL_TLS")?,
                certificates: variable("CERTIFICATES")?,
                password: variable("PASSWORD")?,
            })
        };
        let listeners = found();
        if listeners.is_none() {
            println!("skipped: DISCODIFF_TEST_KAFKA_TLS and the others name no listeners (scripts/services.sh env kafka does)");
        }
        listeners
    }

    fn ca(&self) -> String {
        format!("--kafka-tls --kafka-ca {}/ca.pem", self.certificates)
    }

    fn shows(&self, name: &str) -> String {
        format!("{} --kafka-certificate {folder}/{name}.pem --kafka-key {folder}/{name}.key", self.ca(), folder = self.certificates)
    }
}

/// Files with the right and the wrong password.
fn passwords(home: &Home, listeners: &Listeners) {
    fs::write(home.path("right"), format!("{}\n", listeners.password)).expect("written");
    fs::write(home.path("wrong"), WRONG).expect("written");
}

#[test]
fn dumps_go_through_topics_whatever_the_listener_and_the_mechanism() {
    let (Some(broker), Some(listeners)) = (Broker::new(), Listeners::of_tests()) else { return };
    let (home, month) = (Home::new(), &small().folders()[0]);
    passwords(&home, &listeners);
    home.refresh(month, "--state files --sqlite files.sqlite").json(0);
    let login = |sasl: &str| format!("--kafka-user discodiff --kafka-password-file right --kafka-sasl {sasl}");
    let ways = [
        format!("--brokers {} {}", listeners.tls, listeners.ca()),
        format!("--brokers {} {}", listeners.mutual, listeners.shows("client")),
        format!("--brokers {} {}", listeners.sasl, login("PLAIN")),
        format!("--brokers {} {}", listeners.sasl, login("SCRAM-SHA-256")),
        format!("--brokers {} {} {}", listeners.sasl_tls, listeners.ca(), login("plain")),
        format!("--brokers {} {} --kafka-user discodiff", listeners.sasl_tls, listeners.ca()),
    ];
    for (number, way) in ways.iter().enumerate() {
        let line = format!("{way} --topic-prefix {} --json", broker.prefix);
        let run = |command: &str, with_dumps: bool| {
            let mut command = home.command(&format!("{command} {line}"));
            if with_dumps {
                command.arg("--dumps").arg(month);
            }
            if !way.contains("--kafka-password-file") && way.contains("--kafka-user") {
                command.env("DISCODIFF_KAFKA_PASSWORD", &listeners.password);
            }
            Ran::of(&command.output().expect("it starts"))
        };
        let published = run("publish --again", true);
        published.json(0);
        let shown = published.stderr.contains("the password for Kafka is sent as it is");
        assert_eq!(shown, way.contains("PLAIN") && !way.contains("--kafka-tls"), "{way}: {}", published.stderr);
        run(&format!("refresh --kafka --state s{number} --sqlite {number}.sqlite"), false).json(0);
        assert_same(&home.sqlite(&format!("{number}.sqlite")), &home.sqlite("files.sqlite"), way);
    }
}

#[test]
fn whoever_is_not_let_in_is_told_why_within_seconds() {
    let (Some(broker), Some(listeners)) = (Broker::new(), Listeners::of_tests()) else { return };
    let home = Home::new();
    passwords(&home, &listeners);
    let Listeners { tls, mutual, sasl, sasl_tls, certificates, .. } = &listeners;
    let (plain, ca, port) = (&broker.address, listeners.ca(), tls.rsplit(':').next().expect("a port"));
    let login = |file: &str, sasl: &str| format!("--kafka-user discodiff --kafka-password-file {file} --kafka-sasl {sasl}");
    let wrong_password = "does not take this user with this password (--kafka-user, --kafka-password-file";
    let not_encrypted = "does not encrypt at this port: leave --kafka-tls out";
    let cases = [
        (format!("{sasl} {}", login("wrong", "PLAIN")), wrong_password, true),
        (format!("{sasl} {}", login("wrong", "SCRAM-SHA-256")), wrong_password, true),
        (format!("{sasl_tls} {ca} {}", login("wrong", "SCRAM-SHA-512")), wrong_password, true),
        (format!("{sasl} --kafka-user nobody --kafka-password-file right"), wrong_password, true),
        (format!("{tls} --kafka-tls --kafka-ca {certificates}/stranger.pem"), "vouched for by none of those in --kafka-ca", true),
        (format!("{tls} --kafka-tls"), "name the file of its CA with --kafka-ca", true),
        (format!("127.1:{port} {ca}"), "certificate is for another name than the one in --brokers", true),
        (format!("{mutual} {ca}"), "asks for a certificate that it trusts", true),
        (format!("{mutual} {}", listeners.shows("stranger")), "asks for a certificate that it trusts", true),
        (format!("{plain} {ca}"), not_encrypted, true),
        (format!("{sasl} {ca} {}", login("right", "PLAIN")), not_encrypted, true),
        (format!("{plain} {}", login("right", "SCRAM-SHA-512")), "asks for no user at this port: leave --kafka-user out", true),
        // These might also be brokers that are just being started, and are waited for.
        (tls.clone(), "hangs up at once. Where it encrypts at this port, --kafka-tls is missing", false),
        (sasl.clone(), "hangs up at once. Where it asks for a user at this port, --kafka-user is missing", false),
        (format!("{sasl_tls} {ca}"), "hangs up at once. Where it asks for a user at this port, --kafka-user is missing", false),
    ];
    std::thread::scope(|scope| {
        for (number, (flags, words, soon)) in cases.iter().enumerate() {
            let (home, password) = (&home, &listeners.password);
            scope.spawn(move || {
                let begun = Instant::now();
                let ran = home.run(&format!("refresh --kafka --state s{number} --null --log debug --brokers {flags}"));
                ran.refused(&[words]);
                assert!(begun.elapsed() < Duration::from_secs(if *soon { 8 } else { 20 }), "{flags}: {:?}", begun.elapsed());
                assert!(!ran.stderr.contains(WRONG) && !ran.stderr.contains(password), "{flags}: {}", ran.stderr);
            });
        }
    });
    let ran = home.run(&format!("refresh --kafka --state state --null --brokers {tls} --kafka-tls --kafka-ca none.pem"));
    assert_eq!(ran.status, Some(2));
    ran.said(&["--kafka-ca: none.pem cannot be read"]);
}

#[test]
fn the_password_for_kafka_is_in_no_log_no_output_and_no_command_line() {
    let (Some(broker), Some(listeners)) = (Broker::new(), Listeners::of_tests()) else { return };
    let (home, month) = (Home::new(), &small().folders()[0]);
    passwords(&home, &listeners);
    let flags = format!("--brokers {} {} --kafka-user discodiff --topic-prefix {}", listeners.sasl_tls, listeners.ca(), broker.prefix);
    let commands =
        [format!("publish --log trace {flags} --dumps {}", month.display()), format!("refresh --kafka --state state --log trace {flags}")];
    for line in commands {
        for from_file in [true, false] {
            let mut command = home.command(&line);
            if from_file {
                command.args(["--kafka-password-file", "right"]);
            } else {
                command.env("DISCODIFF_KAFKA_PASSWORD", &listeners.password);
            }
            let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
            let title = fs::read(format!("/proc/{}/cmdline", child.id())).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&title).contains(&listeners.password), "{line}");
            let ran = Ran::of(&child.wait_with_output().expect("ended"));
            assert_eq!(ran.status, Some(0), "{}", ran.stderr);
            assert!(!format!("{}{}", ran.stdout, ran.stderr).contains(&listeners.password), "{line}");
        }
    }
    let ran = home.run(&format!("refresh --kafka --state state {flags} --kafka-password x"));
    assert_eq!(ran.status, Some(2), "no flag takes the password itself");
}

//! Encrypted connections to PostgreSQL and Neo4j: each way in works, each wrong one is told in words, and no password goes to a server that
//! did not prove who it is.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use super::generated::small;
use super::graph::Server;
use super::harness::{Database, Home, Ran, assert_same};

/// A database on a server that encrypts.
struct Encrypted {
    database: Database,
    certificates: String,
    home: Home,
}

impl Encrypted {
    /// `None`, with a word, where there is none.
    fn new() -> Option<Encrypted> {
        let Ok(certificates) = std::env::var("DISCODIFF_TEST_POSTGRES_CERTIFICATES") else {
            println!("skipped: DISCODIFF_TEST_POSTGRES_CERTIFICATES is not set (scripts/services.sh env postgres)");
            return None;
        };
        Some(Encrypted { database: Database::new()?, certificates, home: Home::new() })
    }

    fn url(&self, rest: &str) -> String {
        format!("--postgres {}{rest}", self.database.url())
    }

    fn ca(&self, name: &str) -> String {
        format!("--postgres-ca {}/{name}.pem", self.certificates)
    }

    /// Another user, who may do all that runs do.
    fn url_of(&self, user: &str, password: &str) -> String {
        let url = self.database.url();
        let (_, place) = url.split_once('@').expect("a user");
        self.database.execute(&format!(
            "DO $$ BEGIN CREATE ROLE {user} LOGIN PASSWORD 'sesame'; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
             GRANT USAGE, CREATE ON SCHEMA public TO {user}"
        ));
        format!("--postgres postgres://{user}{password}@{place}")
    }
}

#[test]
fn postgres_is_written_encrypted_whatever_proves_the_server_and_the_user() {
    let Some(server) = Encrypted::new() else { return };
    let Encrypted { certificates, home, .. } = &server;
    home.refresh(&small().folders()[0], "--state other --sqlite other.sqlite").json(0);
    let client = format!("--postgres-certificate {certificates}/client.pem --postgres-key {certificates}/client.key");
    let ways = [
        format!("{} {}", server.url(""), server.ca("ca")),
        server.url(&format!("?sslmode=verify-full&sslrootcert={certificates}/ca.pem")),
        // The server lets this user in by an encrypted connection only.
        server.url_of("encrypting", ":sesame"),
        format!("{} {} {client}", server.url_of("client", ""), server.ca("ca")),
        format!("{} {}", server.url_of("encrypting", ":sesame"), server.ca("ca")),
        // By another name than the certificate's, which is not asked for.
        format!("{} {}", server.url("?sslmode=verify-ca").replace("127.0.0.1", "127.1"), server.ca("ca")),
    ];
    for (number, way) in ways.iter().enumerate() {
        server.database.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
        for user in ["client", "encrypting"].into_iter().filter(|user| way.contains(&format!("//{user}"))) {
            server.database.execute(&format!("GRANT USAGE, CREATE ON SCHEMA public TO {user}"));
        }
        let checked = home.run(&format!("check {way}"));
        assert_eq!(checked.status, Some(0), "{way}: {}{}", checked.stdout, checked.stderr);
        home.refresh(&small().folders()[0], &format!("--state s{number} -w 2 {way}")).json(0);
        assert_same(&server.database.rows(), &home.sqlite("other.sqlite"), way);
    }
    for user in ["client", "encrypting"] {
        server.database.execute(&format!("DROP OWNED BY {user} CASCADE; DROP ROLE {user}"));
    }
}

#[test]
fn a_postgres_that_does_not_prove_who_it_is_and_a_client_that_does_not_are_told_with_the_setting_that_mends_it() {
    let Some(server) = Encrypted::new() else { return };
    let Encrypted { certificates, home, .. } = &server;
    let by_name = |way: String| way.replace("127.0.0.1", "127.1");
    let shown = format!("--postgres-certificate {certificates}/stranger.pem --postgres-key {certificates}/stranger.key");
    for (way, words) in [
        (format!("{} {}", server.url(""), server.ca("stranger")), "vouched for by none of those in --postgres-ca"),
        (format!("{} {}", server.url("?sslmode=require"), server.ca("stranger")), "vouched for by none of those in --postgres-ca"),
        (server.url("?sslmode=verify-full"), "name the file of its CA with --postgres-ca"),
        (by_name(format!("{} {}", server.url(""), server.ca("ca"))), "is for another name than the host in --postgres"),
        (format!("{} {} {shown}", server.url(""), server.ca("ca")), "asks for a certificate that it trusts"),
    ] {
        let ran = home.refresh(&small().folders()[0], &format!("{way} --log debug"));
        ran.refused(&["PostgreSQL database", words]);
        assert!(!ran.stderr.contains("postgres:postgres"), "{}", ran.stderr);
    }
    server
        .database
        .execute("DO $$ BEGIN CREATE ROLE encrypting LOGIN PASSWORD 'sesame'; EXCEPTION WHEN duplicate_object THEN NULL; END $$");
    let way = server.url("?sslmode=disable").replace("postgres:postgres@", "encrypting:sesame@");
    home.refresh(&small().folders()[0], &way).refused(&["lets this user in by an encrypted connection only"]);
    for (way, words) in [
        (format!("{} --postgres-ca none.pem", server.url("")), "--postgres-ca: none.pem cannot be read"),
        (format!("{} {}", server.url("?sslmode=prefer"), server.ca("ca")), "the CA that is named is never asked"),
        (format!("{} {}", server.url("?sslrootcert=x"), server.ca("ca")), "names such a file too"),
        (format!("{} --postgres-key k", server.url("")), "is of no use without --postgres-certificate"),
        (server.url("?sslmode=allow"), "its sslmode is wrong; right is disable, prefer"),
        (server.ca("ca"), "--postgres-ca: is of no use without --postgres"),
    ] {
        let ran = home.refresh(&small().folders()[0], &way);
        assert_eq!(ran.status, Some(2), "{way}: {}", ran.stderr);
        ran.said(&[words]);
    }
}

/// What a server that answers the wish for encryption so is sent after that. It would ask for the password itself, if it came to that.
fn heard_after(answer: &'static [u8], flags: &str) -> (Ran, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = thread::spawn(move || {
        let mut heard = Vec::new();
        let (mut client, _) = listener.accept().expect("a client");
        client.set_read_timeout(Some(Duration::from_secs(2))).expect("set");
        let mut wish = [0; 8];
        client.read_exact(&mut wish).expect("a wish");
        client.write_all(answer).expect("sent");
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = client.read(&mut piece) {
            heard.extend_from_slice(&piece[..length]);
            // AuthenticationCleartextPassword
            let _ = client.write_all(&[b'R', 0, 0, 0, 8, 0, 0, 0, 3]);
        }
        heard
    });
    let home = Home::new();
    let ran = home.refresh(&small().folders()[0], &format!("--postgres postgres://u:hunter2@{address}/db{flags}"));
    (ran, server.join().expect("heard"))
}

#[test]
fn a_server_that_does_not_encrypt_gets_neither_name_nor_password_where_encryption_is_required() {
    for flags in ["?sslmode=require", "?sslmode=verify-full"] {
        let (ran, heard) = heard_after(b"N", flags);
        ran.refused(&["does not encrypt: switch it on there"]);
        assert!(heard.is_empty(), "{heard:?}");
    }
    // Where it is not, it is as it ever was.
    let (_, heard) = heard_after(b"N", "");
    assert!(heard.windows(7).any(|bytes| bytes == b"hunter2"));
    // One that breaks encryption off is not spoken to in the clear.
    let (ran, heard) = heard_after(b"Sxxxxxxxx", "");
    assert_eq!(ran.status, Some(1));
    assert!(!heard.windows(7).any(|bytes| bytes == b"hunter2"));
}

#[test]
fn neo4j_is_written_encrypted_and_one_that_nobody_vouches_for_is_told() {
    let Ok(certificates) = std::env::var("DISCODIFF_TEST_NEO4J_CERTIFICATES") else {
        println!("skipped: DISCODIFF_TEST_NEO4J_CERTIFICATES is not set (scripts/services.sh env neo4j)");
        return;
    };
    let Some(server) = Server::new() else { return };
    let home = Home::new();
    for scheme in ["bolt+s", "neo4j+s"] {
        let sink = server.sink().replace("bolt:", &format!("{scheme}:"));
        let ran = home.refresh(&small().folders()[0], &sink);
        ran.refused(&["no encrypted connection can be made; with a certificate that nobody vouches for say bolt+ssc:"]);
        assert!(!ran.stderr.contains("neo4j-password"), "{}", ran.stderr);
        // As by the system's own certificates.
        let mut command = home.refreshing(&small().folders()[0], &format!("--state {scheme} {sink}"));
        let ran = Ran::of(&command.env("SSL_CERT_FILE", format!("{certificates}/ca.pem")).output().expect("it starts"));
        ran.json(0);
        server.assert_is(&small().folders()[0], None);
        server.empty();
    }
    home.refresh(&small().folders()[0], &server.sink().replace("bolt:", "bolt+ssc:")).json(0);
    server.assert_is(&small().folders()[0], None);
}

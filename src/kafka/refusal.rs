//! Why brokers do not let a client in, in words that name the settings: the client's own name its library's.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};

use super::brokers::Brokers;
use super::client::Heard;

/// How long a broker may take to show its certificate once more.
const HANDSHAKE: Duration = Duration::from_secs(2);

/// Why a client was not let in.
#[derive(Debug)]
pub struct Refusal {
    /// The next connection will go the same way. A broker that only hangs up may also be one that is being stopped or started.
    pub certain: bool,
    /// What is wrong, and which setting mends it.
    pub words: &'static str,
}

/// What follows from what the client said of its last connection; nothing where it had no part in that.
pub fn refusal(brokers: &Brokers, said: &str) -> Option<Refusal> {
    let hung_up = said.contains("Disconnected") || said.contains("Broken pipe") || said.contains("Connection reset");
    let (certain, words) = if said.contains("certificate verify failed") {
        let words = if name_differs(brokers) {
            "its certificate is for another name than the one in --brokers, which must be one that the certificate holds"
        } else if brokers.tls.as_ref().is_some_and(|tls| tls.ca.is_some()) {
            "its certificate is vouched for by none of those in --kafka-ca"
        } else {
            "its certificate is vouched for by none that this system knows: name the file of its CA with --kafka-ca"
        };
        (true, words)
    } else if said.contains("mechanism handshake failed") && said.contains("current SASL state") {
        (true, "it asks for no user at this port: leave --kafka-user out, or name another port in --brokers")
    } else if said.contains("mechanism handshake failed") {
        (true, "it does not take this mechanism: --kafka-sasl must name one that it has")
    } else if said.contains("SASL authentication error") {
        (true, "it does not take this user with this password (--kafka-user, --kafka-password-file or DISCODIFF_KAFKA_PASSWORD)")
    } else if said.contains("connecting to a PLAINTEXT broker listener") {
        (true, "it does not encrypt at this port: leave --kafka-tls out, or name another port in --brokers")
    } else if said.contains("SSL alert") || said.contains("unexpected message") {
        let words = "it refuses the encrypted connection, most likely as it asks for a certificate that it trusts: name one, and its key, with \
                     --kafka-certificate and --kafka-key";
        (true, words)
    } else if hung_up && brokers.tls.is_none() && said.contains("state APIVERSION_QUERY") {
        (false, "it hangs up at once. Where it encrypts at this port, --kafka-tls is missing")
    } else if hung_up && brokers.login.is_none() && said.contains("in state UP") {
        (false, "it hangs up at once. Where it asks for a user at this port, --kafka-user is missing")
    } else {
        return None;
    };
    Some(Refusal { certain, words })
}

/// Whether the certificate would do but for its name. Asked without a user, so nothing is told to whoever answers.
fn name_differs(brokers: &Brokers) -> bool {
    let tls = brokers.tls.clone().map(|tls| super::Tls { certificate: None, ..tls });
    let mut config = Brokers { tls, login: None, ..brokers.clone() }.config();
    config.set("ssl.endpoint.identification.algorithm", "none");
    let Ok(client) = config.create_with_context::<_, BaseConsumer<Heard>>(Heard::default()) else { return false };
    if client.fetch_metadata(None, HANDSHAKE).is_ok() {
        return true;
    }
    (0..3).for_each(|_| drop(client.poll(Duration::from_millis(100))));
    !client.context().words().contains("certificate verify failed")
}

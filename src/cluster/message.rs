//! What processes say to each other beside what timely exchanges.
//!
//! ```text
//!   frame   length u32, little-endian | message, as bincode writes it
//! ```

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::Peers;

/// What a connection begins with, so that nobody talks to another program.
pub const MAGIC: [u8; 8] = *b"disco+1\n";

/// A longer frame is none of ours. A task carries the manifest; an outcome what was found, and a bit for each text of a graph's links: 4 MB for all of Discogs.
const LONGEST: u32 = 64 << 20;

/// What a connection is for, and who makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// Messages with process 0.
    Control,
    /// What timely exchanges in one run.
    Run(Uuid),
}

/// The first frame of every connection, from who makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// What it is for.
    pub purpose: Purpose,
    /// The process that makes it.
    pub process: usize,
}

/// What all processes must agree in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The program's version.
    pub version: String,
    /// A digest of the program's file, in hexadecimal.
    pub binary: String,
    /// All workers.
    pub peers: Peers,
    /// Settings and their values, sorted, but for those that may differ; no passwords.
    pub settings: Vec<(String, String)>,
}

impl Terms {
    /// In what another process differs, in words; `None`: in nothing.
    pub fn differ(&self, process: usize, other: &Terms) -> Option<String> {
        if self.version != other.version {
            return Some(format!("process {process} is discodiff {}, and process 0 is {}", other.version, self.version));
        }
        if self.binary != other.binary {
            return Some(format!("process {process} runs another build of discodiff {} than process 0", self.version));
        }
        if self.peers != other.peers {
            let (ours, theirs) = (self.peers, other.peers);
            return Some(format!(
                "process {process} was told of {} processes with {} workers each, and process 0 of {} with {}",
                theirs.processes, theirs.workers, ours.processes, ours.workers
            ));
        }
        let lacks = |all: &Terms, of: &str| all.settings.iter().find(|(name, _)| name == of).map(|(_, value)| value.clone());
        let names = self.settings.iter().chain(&other.settings).map(|(name, _)| name);
        names.into_iter().find_map(|name| {
            let (ours, theirs) = (lacks(self, name), lacks(other, name));
            let say = |value: Option<String>| value.unwrap_or_else(|| "nothing".to_owned());
            (ours != theirs).then(|| format!("process {process} was told {name} = {}, and process 0 {}", say(theirs), say(ours)))
        })
    }
}

/// Sends a frame.
pub fn send(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let bytes = bincode::serialize(message).map_err(io::Error::other)?;
    let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= LONGEST);
    let length = length.ok_or_else(|| io::Error::other(format!("a message of {} bytes is too long", bytes.len())))?;
    to.write_all(&[&length.to_le_bytes()[..], &bytes].concat())
}

/// Receives a frame.
pub fn receive<M: DeserializeOwned>(from: &mut impl Read) -> io::Result<M> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "what came is no message of discodiff's"));
    }
    // As it comes, so that nobody makes us take memory for what never does.
    let mut bytes = Vec::new();
    from.take(u64::from(length)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != u64::from(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    bincode::deserialize(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> Terms {
        let settings = [("memory", "256 MiB"), ("state", "state")].map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Terms { version: "1.0.0".to_owned(), binary: "ab".to_owned(), peers: Peers { processes: 2, workers: 1 }, settings }
    }

    #[test]
    fn a_difference_is_told_with_both_sides() {
        let ours = terms();
        assert_eq!(ours.differ(1, &terms()), None);
        let words = |change: fn(&mut Terms)| {
            let mut theirs = terms();
            change(&mut theirs);
            ours.differ(1, &theirs).unwrap_or_default()
        };
        assert_eq!(words(|terms| terms.version = "1.1.0".to_owned()), "process 1 is discodiff 1.1.0, and process 0 is 1.0.0");
        assert_eq!(words(|terms| terms.binary = "cd".to_owned()), "process 1 runs another build of discodiff 1.0.0 than process 0");
        assert_eq!(
            words(|terms| terms.peers.workers = 4),
            "process 1 was told of 2 processes with 4 workers each, and process 0 of 2 with 1"
        );
        assert_eq!(words(|terms| terms.settings[0].1 = "1 GiB".to_owned()), "process 1 was told memory = 1 GiB, and process 0 256 MiB");
        assert_eq!(words(|terms| drop(terms.settings.pop())), "process 1 was told state = nothing, and process 0 state");
    }

    #[test]
    fn what_is_no_message_is_refused_and_one_that_is_cut_is_never_taken() -> io::Result<()> {
        let mut sent = Vec::new();
        send(&mut sent, &terms())?;
        assert_eq!(receive::<Terms>(&mut &sent[..])?, terms());
        for cut in 0..sent.len() {
            assert!(receive::<Terms>(&mut &sent[..cut]).is_err());
        }
        assert!(receive::<Terms>(&mut &b"GET / HTTP/1.1\r\nHost: there\r\n\r\n"[..]).is_err());
        Ok(())
    }
}

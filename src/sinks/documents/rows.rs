//! Reading documents back.

use std::collections::HashMap;
use std::iter;

use rdkafka::Offset;
use rdkafka::message::{Headers, Message};

use super::DocumentTopics;
use super::writer::HASH;
use crate::kafka::read::{self, to_end};
use crate::model::Kind;
use crate::sinks::kafka::unanswered;
use crate::sinks::{Documents, Row, SinkError};

/// Messages of the partitions that are read at once, unless one alone has more: what is held of them comes to some 60 MB.
const AT_ONCE: i64 = 1 << 20;

impl Documents for DocumentTopics {
    /// Reads partitions twice, some at a time: to find the last message of each key, and for the documents. Holds some 60 bytes for each key
    /// of these.
    fn scan(&mut self, kind: Kind, each: &mut dyn FnMut(Row<'_>)) -> Result<(), SinkError> {
        let (_, partitions) = self.look()?;
        let (topics, name) = (&self.place.topics, self.place.topics.of(kind));
        let ends = read::ends(topics, &name, partitions[kind]).map_err(unanswered)?;
        let mut ends = ends.into_iter().enumerate().peekable();
        while ends.peek().is_some() {
            let mut messages = 0;
            let at_once = iter::from_fn(|| {
                ends.next_if(|(_, end)| {
                    messages += end;
                    messages == *end || messages <= AT_ONCE
                })
            });
            let from: Vec<_> = at_once.map(|(partition, _)| (partition, Offset::Beginning)).collect();
            let mut last: HashMap<Box<[u8]>, i64> = HashMap::new();
            let reading = to_end(topics, &name, &from, |message| {
                last.insert(message.key().unwrap_or_default().into(), message.offset());
                Ok(())
            });
            reading.map_err(unanswered)?;
            let reading = to_end(topics, &name, &from, |message| {
                let key = message.key().unwrap_or_default();
                let Some(value) = message.payload().filter(|_| last.get(key) == Some(&message.offset())) else { return Ok(()) };
                let hash = message.headers().and_then(|headers| headers.iter().find(|header| header.key == HASH)?.value);
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                each(Row { data_id: &text(key), hash: &text(hash.unwrap_or_default()), data: &text(value) });
                Ok(())
            });
            reading.map_err(unanswered)?;
        }
        Ok(())
    }

    fn fetch(&mut self, _kind: Kind, _ids: &[u64]) -> Result<Vec<(u64, String)>, SinkError> {
        Ok(Vec::new())
    }
}

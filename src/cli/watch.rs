//! How a long command is watched: a server of metrics, a file of them, and a look at what the process takes of the machine.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;

use super::exit::Exit;
use crate::settings::{Key, Mistakes, Settings};
use crate::telemetry::{Measures, Monitor, Server};

/// Why nothing can be served there, and what to do about it.
pub fn cannot_listen(address: SocketAddr, error: &io::Error) -> String {
    let advice = match error.kind() {
        ErrorKind::AddrInUse => ": another program has this port, perhaps another discodiff; name another one",
        ErrorKind::AddrNotAvailable => ": this machine has no such address; 127.0.0.1 is itself, 0.0.0.0 all that it has",
        ErrorKind::PermissionDenied => ": this user may not; ports from 1024 on are for everybody",
        _ => "",
    };
    format!("cannot listen on {address}: {error}{advice}")
}

/// What watches a command while it runs.
pub struct Watch {
    measures: Arc<Measures>,
    server: Option<Server>,
    monitor: Option<Monitor>,
}

impl Watch {
    /// Begins, before anything else is done: what is wrong with an address or a file is told like any wrong setting.
    pub fn begin(settings: &Settings, measures: &Arc<Measures>) -> Result<Watch, Mistakes> {
        let mut mistakes = Mistakes::default();
        let mut wrong = |key: Key, words: String| mistakes.add(settings.origin(key).place(key), words);
        let server = settings.listen.and_then(|address| match Server::start(address, Arc::clone(measures)) {
            Ok((server, address)) => {
                tracing::info!("metrics, health and readiness are at http://{address}/");
                Some(server)
            }
            Err(error) => {
                wrong(Key::Listen, cannot_listen(address, &error));
                None
            }
        });
        let monitor = match Monitor::start(Arc::clone(measures), settings.metrics_file.as_deref()) {
            Ok(monitor) => Some(monitor),
            Err(error) => {
                wrong(Key::MetricsFile, error.to_string());
                None
            }
        };
        if mistakes.is_empty() { Ok(Watch { measures: Arc::clone(measures), server, monitor }) } else { Err(mistakes) }
    }

    /// Ends with the command.
    pub fn end(self, exit: Exit) {
        self.measures.course().end(exit as u8);
        drop(self.server);
        if let Some(monitor) = self.monitor {
            monitor.end();
        }
    }
}

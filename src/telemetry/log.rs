//! Log lines, on stderr: short ones for people, or JSON.

use std::fmt;
use std::io::{self, IsTerminal};

use time::OffsetDateTime;
use time::macros::format_description;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use super::screen::Stderr;
use crate::settings::LogFormat;

/// Begins logging, once for the process; a second call changes nothing. The filter was judged when the settings were resolved.
pub fn init(filter: &str, format: LogFormat) {
    // What migrations and servers tell of each step, even where there is none to take, is for those who ask for it.
    let filter =
        EnvFilter::builder().parse_lossy(format!("refinery_core=warn,tokio_postgres=warn,neo4rs=error,ureq=warn,ureq_proto=warn,{filter}"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Stderr).with_timer(Seconds);
    // An error means that a subscriber is there already: an earlier call's, or that of a program that uses this library.
    let _ = match format {
        LogFormat::Text => lines.with_target(false).with_ansi(io::stderr().is_terminal()).compact().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}

/// UTC to the second: a run takes minutes, and what is finer belongs to metrics.
struct Seconds;

impl FormatTime for Seconds {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
        let now = OffsetDateTime::now_utc().format(&format).map_err(|_| fmt::Error)?;
        writer.write_str(&now)
    }
}

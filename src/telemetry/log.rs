//! Log lines, on stderr: short ones for people, or JSON.
//!
//! What a line belongs to, a run, an epoch, a kind, a stage, a worker, is said by the spans around it: fields of flat objects in JSON, and
//! behind the words in text. There the run is left out: who reads text knows which program it came from.

use std::fmt;
use std::io::{self, IsTerminal};

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::macros::format_description;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{DefaultFields, FormatEvent, FormatFields, JsonFields, Writer};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::screen::Stderr;
use crate::settings::LogFormat;

/// The name of the span of a whole run.
pub const RUN: &str = "run";

/// Begins logging, once for the process; a second call changes nothing. The filter was judged when the settings were resolved.
pub fn init(filter: &str, format: LogFormat) {
    // What migrations and servers tell of each step, even where there is none to take, is for those who ask for it.
    let filter =
        EnvFilter::builder().parse_lossy(format!("refinery_core=warn,tokio_postgres=warn,neo4rs=error,ureq=warn,ureq_proto=warn,object_store=error,rustls_platform_verifier=off,{filter}"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Stderr);
    // An error means that a subscriber is there already: an earlier call's, or that of a program that uses this library.
    let _ = match format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).event_format(Text).try_init(),
        LogFormat::Json => lines.with_ansi(false).fmt_fields(JsonFields::new()).event_format(Json).try_init(),
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

/// `2026-11-24T14:34:23Z  WARN postgres: connection lost epoch=2 month=2026-02 stage=write sink=postgres`.
struct Text;

impl<S: Subscriber + for<'a> LookupSpan<'a>> FormatEvent<S, DefaultFields> for Text {
    fn format_event(&self, context: &FmtContext<'_, S, DefaultFields>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let (dim, plain) = if writer.has_ansi_escapes() { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
        let level = event.metadata().level();
        let colour = match (plain, *level) {
            ("", _) => "",
            (_, Level::ERROR) => "\x1b[31m",
            (_, Level::WARN) => "\x1b[33m",
            (_, Level::INFO) => "\x1b[32m",
            (_, Level::DEBUG) => "\x1b[34m",
            (_, Level::TRACE) => "\x1b[35m",
        };
        writer.write_str(dim)?;
        Seconds.format_time(&mut writer)?;
        write!(writer, "{plain} {colour}{level:>5}{plain} ")?;
        context.format_fields(writer.by_ref(), event)?;
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()).filter(|span| span.name() != RUN) {
            let extensions = span.extensions();
            if let Some(fields) = extensions.get::<FormattedFields<DefaultFields>>().filter(|fields| !fields.is_empty()) {
                write!(writer, " {dim}{fields}{plain}")?;
            }
        }
        writeln!(writer)
    }
}

/// One flat object a line: what the spans say, the inner over the outer, and the event over both.
struct Json;

impl<S: Subscriber + for<'a> LookupSpan<'a>> FormatEvent<S, JsonFields> for Json {
    fn format_event(&self, context: &FmtContext<'_, S, JsonFields>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut object = Object(Map::new());
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<JsonFields>>().map_or("", |fields| fields.as_str());
            if let Ok(Value::Object(fields)) = serde_json::from_str(fields) {
                object.0.extend(fields);
            }
        }
        event.record(&mut object);
        let mut timestamp = String::new();
        Seconds.format_time(&mut Writer::new(&mut timestamp))?;
        let metadata = event.metadata();
        for (name, value) in [("timestamp", timestamp.as_str()), ("level", metadata.level().as_str()), ("target", metadata.target())] {
            object.0.insert(name.to_owned(), value.into());
        }
        writeln!(writer, "{}", Value::Object(object.0))
    }
}

/// Gathers an event's fields.
struct Object(Map<String, Value>);

impl Object {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        // Where a library's own logging was taken over, and from which line of its source.
        if !field.name().starts_with("log.") {
            self.0.insert(field.name().to_owned(), value.into());
        }
    }
}

impl Visit for Object {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}

//! What is seen of a run: log lines, progress, and the words for numbers, all of which go to stderr; and what a run measures of itself.

mod course;
mod exposition;
pub mod log;
mod metrics;
mod monitor;
pub mod progress;
mod pulse;
mod rate;
mod records;
mod resources;
mod screen;
mod server;
mod sinks;
mod stages;
mod ticks;
mod waits;
pub mod words;

pub use course::{Course, Held, Phase};
pub use monitor::{Monitor, metrics_file};
pub use progress::{Counted, Progress, Style, Subject};
pub use pulse::Pulse;
pub use records::Records;
pub use server::Server;
pub use sinks::{Outcome, SinkMeter};
pub use stages::{InFlight, Measured, Measures, Recorder, RunStage};
pub use ticks::Ticks;
pub use waits::{Cause, Waiting, Waits};

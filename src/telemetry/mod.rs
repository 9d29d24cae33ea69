//! What is seen of a run: log lines, progress, and the words for numbers, all of which go to stderr; and what a run measures of itself.

pub mod log;
pub mod progress;
mod rate;
mod screen;
mod stages;
mod ticks;
mod waits;
pub mod words;

pub use progress::{Progress, Style, Subject};
pub use stages::{Measured, Measures, Recorder, RunStage};
pub use ticks::Ticks;
pub use waits::{Cause, Waits};

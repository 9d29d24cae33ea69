//! What a person sees of a run: log lines, progress, and the words for numbers. All of it goes to stderr; stdout is for data.

pub mod log;
pub mod progress;
mod rate;
mod screen;
pub mod words;

pub use progress::{Progress, Style, Subject};

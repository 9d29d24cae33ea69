//! How far a run is: bars on a terminal, else a log line now and then.
//!
//! Workers only add to atomic counters. A thread of its own looks at them, draws, and ends when the [`Progress`] is dropped.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use indicatif::{ProgressBar, ProgressStyle};
use tracing::info;

use super::rate::Rate;
use super::{screen, words};
use crate::model::{Kind, PerKind};

/// Often enough for a bar to seem alive.
const DRAW_EVERY: Duration = Duration::from_millis(200);

/// Rare enough not to drown a log of hours, often enough to see that nothing hangs.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Bars that are drawn anew.
    Bars,
    /// A log line every ten seconds.
    Lines,
    /// Not at all.
    Quiet,
}

impl Style {
    /// `quiet` shows nothing; otherwise bars where stderr is a terminal, else lines.
    pub fn of(quiet: bool, terminal: bool) -> Style {
        match (quiet, terminal) {
            (true, _) => Style::Quiet,
            (false, true) => Style::Bars,
            (false, false) => Style::Lines,
        }
    }
}

/// Counts what has been read of each kind, and shows it. Shared by reference or in an `Arc`; all calls are cheap.
#[derive(Debug)]
pub struct Progress {
    style: Style,
    kinds: Arc<PerKind<Counters>>,
    /// Dropping the sender ends the ticker.
    ticker: Option<(Sender<()>, JoinHandle<()>)>,
}

#[derive(Debug, Default)]
struct Counters {
    started: OnceLock<Instant>,
    done: AtomicBool,
    total: OnceLock<u64>,
    bytes: AtomicU64,
    records: AtomicU64,
}

impl Progress {
    /// Begins to show; see [`Style::of`].
    pub fn new(style: Style) -> Progress {
        let every = match style {
            Style::Bars => DRAW_EVERY,
            Style::Lines => LOG_EVERY,
            Style::Quiet => Duration::ZERO,
        };
        Progress::every(style, every)
    }

    fn every(style: Style, every: Duration) -> Progress {
        let kinds = Arc::new(PerKind::from_fn(|_| Counters::default()));
        let ticker = (style != Style::Quiet).then(|| {
            let (sender, receiver) = bounded(0);
            let shared = Arc::clone(&kinds);
            let ticker = thread::Builder::new().name("progress".into()).spawn(move || Ticker::new(style, shared).run(every, &receiver));
            ticker.ok().map(|thread| (sender, thread))
        });
        Progress { style, kinds, ticker: ticker.flatten() }
    }

    /// Another, shown in the same way, for the next month.
    pub fn another(&self) -> Progress {
        Progress::new(self.style)
    }

    /// A kind's file is opened; `total_bytes` is its size, compressed, where it is known.
    pub fn kind_started(&self, kind: Kind, total_bytes: Option<u64>) {
        // Where a kind is announced twice, what was said first stands.
        if let Some(total) = total_bytes {
            let _ = self.kinds[kind].total.set(total);
        }
        let _ = self.kinds[kind].started.set(Instant::now());
    }

    /// So much more was read of a kind. From any thread.
    pub fn advance(&self, kind: Kind, compressed_bytes: u64, records: u64) {
        self.kinds[kind].bytes.fetch_add(compressed_bytes, Relaxed);
        self.kinds[kind].records.fetch_add(records, Relaxed);
    }

    /// A kind has been read whole.
    pub fn kind_done(&self, kind: Kind) {
        self.kinds[kind].done.store(true, Relaxed);
    }

    /// Says something once, without tearing the bars.
    pub fn note(&self, message: &str) {
        if self.style != Style::Quiet {
            info!("{message}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.ticker.take() {
            drop(sender);
            // A ticker that panicked has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

struct Ticker {
    style: Style,
    kinds: Arc<PerKind<Counters>>,
    shown: PerKind<Shown>,
}

#[derive(Default)]
struct Shown {
    rate: Rate,
    bar: Option<ProgressBar>,
    ended: bool,
}

impl Ticker {
    fn new(style: Style, kinds: Arc<PerKind<Counters>>) -> Ticker {
        Ticker { style, kinds, shown: PerKind::from_fn(|_| Shown::default()) }
    }

    fn run(mut self, every: Duration, stop: &Receiver<()>) {
        while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(every) {
            self.tick(Instant::now());
        }
        self.tick(Instant::now());
        for (_, shown) in self.shown.iter() {
            shown.bar.iter().filter(|bar| !bar.is_finished()).for_each(ProgressBar::abandon);
        }
    }

    fn tick(&mut self, now: Instant) {
        for kind in Kind::ALL {
            let (counters, shown) = (&self.kinds[kind], &mut self.shown[kind]);
            let Some(begun) = counters.started.get().copied().filter(|_| !shown.ended) else { continue };
            // Read before the counters, so that a kind that is done is shown with all that it came to.
            shown.ended = counters.done.load(Relaxed);
            let (bytes, records) = (counters.bytes.load(Relaxed), counters.records.load(Relaxed));
            if shown.rate.is_empty() {
                shown.rate.sample(begun, [0, 0]);
            }
            shown.rate.sample(now, [bytes, records]);
            let total = counters.total.get().copied();
            let words = if shown.ended {
                format!("{} records in {}", words::count(records), words::duration(now.duration_since(begun)))
            } else {
                reading(shown.rate.per_second(), bytes, records, total)
            };
            match self.style {
                Style::Bars => draw(shown, kind, bytes, total, words),
                _ if shown.ended => info!("{kind} 100 % {words}"),
                _ => info!("{kind} {}{words}", percent(bytes, total)),
            }
        }
    }
}

fn draw(shown: &mut Shown, kind: Kind, bytes: u64, total: Option<u64>, words: String) {
    let bar = shown.bar.get_or_insert_with(|| {
        let bar = screen::bars().add(ProgressBar::new(total.unwrap_or(0)).with_prefix(kind.name()));
        let template = if total.is_some() { "{prefix:>8} {bar:24} {percent:>3} % {wide_msg}" } else { "{prefix:>8} {spinner} {wide_msg}" };
        bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
    });
    bar.set_position(bytes);
    bar.set_message(words);
    if shown.ended {
        // Bytes are those that were read; a trailer may be left unread, and a bar that stops at 99 % looks like a fault.
        bar.set_position(total.unwrap_or(bytes));
        bar.abandon();
    }
}

fn percent(bytes: u64, total: Option<u64>) -> String {
    match total {
        Some(total) if total > 0 => format!("{} % ", bytes.min(total).saturating_mul(100) / total),
        _ => String::new(),
    }
}

fn reading([byte_rate, record_rate]: [f64; 2], bytes: u64, records: u64, total: Option<u64>) -> String {
    let mut words = format!("{} records", words::count(records));
    if byte_rate > 0.0 {
        words += &format!(" {} {}", words::rate(record_rate), words::byte_rate(byte_rate));
        let left = total.map(|total| total.saturating_sub(bytes) as f64 / byte_rate);
        if let Some(Ok(left)) = left.map(Duration::try_from_secs_f64) {
            words += &format!(" {}", words::time_left(left));
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_how_fast_and_how_long_still() {
        let words = reading([21_300_000.0, 38_000.0], 1_000_000_000, 1_234_567, Some(4_834_000_000));
        assert_eq!(words, "1,234,567 records 38,000/s 21.3 MB/s about 3 min left");
        assert_eq!(reading([0.0, 0.0], 0, 0, Some(1)), "0 records");
        assert_eq!(reading([1e6, 5.0], 9, 7, None), "7 records 5.0/s 1.0 MB/s");
        assert_eq!([percent(45, Some(100)), percent(200, Some(100)), percent(1, Some(0)), percent(1, None)], ["45 % ", "100 % ", "", ""]);
    }

    #[test]
    fn progress_is_counted_from_many_threads_and_its_own_thread_ends_with_it() {
        for style in [Style::Bars, Style::Lines, Style::Quiet] {
            let progress = Progress::every(style, Duration::from_millis(1));
            progress.kind_started(Kind::Master, Some(4000));
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| (0..1000).for_each(|_| progress.advance(Kind::Master, 1, 2)));
                }
            });
            progress.kind_done(Kind::Master);
            let kinds = Arc::clone(&progress.kinds);
            drop(progress);
            assert_eq!(Arc::strong_count(&kinds), 1, "{style:?}");
            assert_eq!((kinds[Kind::Master].bytes.load(Relaxed), kinds[Kind::Master].records.load(Relaxed)), (4000, 8000));
        }
    }
}

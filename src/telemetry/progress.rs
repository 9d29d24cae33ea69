//! How far a run is: bars on a terminal, else a log line now and then.
//!
//! Workers only add to atomic counters. A thread of its own looks at them, draws, and ends when the [`Progress`] is dropped.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use indicatif::{ProgressBar, ProgressStyle};
use tracing::{Span, info};

use super::rate::Rate;
use super::{screen, words};
use crate::model::Kind;

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

const SUBJECTS: usize = 9;

/// What progress is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The dump of a kind, in bytes of its file and records.
    Kind(Kind),
    /// The file of a kind that is fetched, in bytes.
    File(Kind),
    /// The edges of a graph that is brought up, in rows of the state's files and edges.
    Edges,
}

impl Subject {
    const ALL: [Subject; SUBJECTS] = [
        Subject::Kind(Kind::Artist),
        Subject::Kind(Kind::Label),
        Subject::Kind(Kind::Master),
        Subject::Kind(Kind::Release),
        Subject::Edges,
        Subject::File(Kind::Artist),
        Subject::File(Kind::Label),
        Subject::File(Kind::Master),
        Subject::File(Kind::Release),
    ];

    const fn index(self) -> usize {
        match self {
            Subject::Kind(kind) => kind.index(),
            Subject::Edges => 4,
            Subject::File(kind) => 5 + kind.index(),
        }
    }

    const fn kind(self) -> Option<Kind> {
        match self {
            Subject::Kind(kind) | Subject::File(kind) => Some(kind),
            Subject::Edges => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Subject::Kind(kind) => kind.name(),
            Subject::File(kind) => kind.plural(),
            Subject::Edges => "edges",
        }
    }

    /// What was counted: of a file its bytes, else things.
    fn counted(self, position: u64, things: u64) -> String {
        match self {
            Subject::Kind(_) => format!("{} records", words::count(things)),
            Subject::File(_) => words::bytes(position),
            Subject::Edges => format!("{} edges", words::count(things)),
        }
    }
}

impl From<Kind> for Subject {
    fn from(kind: Kind) -> Subject {
        Subject::Kind(kind)
    }
}

/// Counts what has been done of each subject, and shows it. Shared by reference or in an `Arc`; all calls are cheap.
#[derive(Debug)]
pub struct Progress {
    style: Style,
    subjects: Arc<[Counters; SUBJECTS]>,
    /// What the lines belong to, once that is known.
    within: Arc<OnceLock<Span>>,
    /// Dropping the sender ends the ticker.
    ticker: Option<(Sender<()>, JoinHandle<()>)>,
}

#[derive(Debug, Default)]
struct Counters {
    started: OnceLock<Instant>,
    done: AtomicBool,
    total: OnceLock<u64>,
    position: AtomicU64,
    things: AtomicU64,
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
        let (subjects, within) = (Arc::<[Counters; SUBJECTS]>::default(), Arc::<OnceLock<Span>>::default());
        let ticker = (style != Style::Quiet).then(|| {
            let (sender, receiver) = bounded(0);
            let (shared, inner) = (Arc::clone(&subjects), Arc::clone(&within));
            let span = Span::current();
            let tick = move || span.in_scope(|| Ticker::new(style, shared, inner).run(every, &receiver));
            let ticker = thread::Builder::new().name("progress".into()).spawn(tick);
            ticker.ok().map(|thread| (sender, thread))
        });
        Progress { style, subjects, within, ticker: ticker.flatten() }
    }

    /// What is counted, for who shows it elsewhere.
    pub fn counted(&self) -> Counted {
        Counted(Arc::clone(&self.subjects))
    }

    /// Lines belong to the span that the caller is in: the month and epoch that are applied.
    pub fn belongs_here(&self) {
        // Where it is said twice, what was said first stands.
        let _ = self.within.set(Span::current());
    }

    /// Another, shown in the same way, for the next month.
    pub fn another(&self) -> Progress {
        Progress::new(self.style)
    }

    /// A subject is begun; `total` is the position at its end (of a kind, the size of its file, compressed), where it is known.
    pub fn started(&self, subject: impl Into<Subject>, total: Option<u64>) {
        let counters = self.of(subject);
        // Where a subject is announced twice, what was said first stands.
        if let Some(total) = total {
            let _ = counters.total.set(total);
        }
        let _ = counters.started.set(Instant::now());
    }

    /// So much further in a subject, with so many things more. From any thread.
    pub fn advance(&self, subject: impl Into<Subject>, positions: u64, things: u64) {
        let counters = self.of(subject);
        counters.position.fetch_add(positions, Relaxed);
        counters.things.fetch_add(things, Relaxed);
    }

    /// A subject is done with.
    pub fn done(&self, subject: impl Into<Subject>) {
        self.of(subject).done.store(true, Relaxed);
    }

    fn of(&self, subject: impl Into<Subject>) -> &Counters {
        &self.subjects[subject.into().index()]
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

/// How far a run has come, as its progress counts it.
#[derive(Clone, Debug)]
pub struct Counted(Arc<[Counters; SUBJECTS]>);

impl Counted {
    /// The position in a kind's dump, and where it ends, as far as these are known.
    pub fn of(&self, kind: Kind) -> (Option<u64>, Option<u64>) {
        let counters = &self.0[Subject::Kind(kind).index()];
        (counters.started.get().map(|_| counters.position.load(Relaxed)), counters.total.get().copied())
    }

    /// A number that rises with any progress.
    pub(super) fn all(&self) -> u64 {
        self.0.iter().map(|counters| counters.position.load(Relaxed) + counters.things.load(Relaxed)).sum()
    }
}

struct Ticker {
    style: Style,
    subjects: Arc<[Counters; SUBJECTS]>,
    within: Arc<OnceLock<Span>>,
    shown: [Shown; SUBJECTS],
}

#[derive(Default)]
struct Shown {
    rate: Rate,
    bar: Option<ProgressBar>,
    ended: bool,
}

impl Ticker {
    fn new(style: Style, subjects: Arc<[Counters; SUBJECTS]>, within: Arc<OnceLock<Span>>) -> Ticker {
        Ticker { style, subjects, within, shown: Default::default() }
    }

    fn run(mut self, every: Duration, stop: &Receiver<()>) {
        while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(every) {
            self.tick(Instant::now());
        }
        self.tick(Instant::now());
        for shown in &self.shown {
            shown.bar.iter().filter(|bar| !bar.is_finished()).for_each(ProgressBar::abandon);
        }
    }

    fn tick(&mut self, now: Instant) {
        let _within = self.within.get().cloned().map(Span::entered);
        for (subject, (counters, shown)) in Subject::ALL.into_iter().zip(self.subjects.iter().zip(&mut self.shown)) {
            let Some(begun) = counters.started.get().copied().filter(|_| !shown.ended) else { continue };
            // Read before the counters, so that a subject that is done is shown with all that it came to.
            shown.ended = counters.done.load(Relaxed);
            let (position, things) = (counters.position.load(Relaxed), counters.things.load(Relaxed));
            if shown.rate.is_empty() {
                shown.rate.sample(begun, [0, 0]);
            }
            shown.rate.sample(now, [position, things]);
            let total = counters.total.get().copied();
            let words = if shown.ended {
                format!("{} in {}", subject.counted(position, things), words::duration(now.duration_since(begun)))
            } else {
                under_way(subject, shown.rate.per_second(), position, things, total)
            };
            let (name, kind) = (subject.name(), subject.kind().map(Kind::name));
            match self.style {
                Style::Bars => draw(shown, subject, position, total, words),
                _ if shown.ended => info!(kind, "{name} 100 % {words}"),
                _ => info!(kind, "{name} {}{words}", percent(position, total)),
            }
        }
    }
}

fn draw(shown: &mut Shown, subject: Subject, position: u64, total: Option<u64>, words: String) {
    let bar = shown.bar.get_or_insert_with(|| {
        let bar = screen::bars().add(ProgressBar::new(total.unwrap_or(0)).with_prefix(subject.name()));
        let template = if total.is_some() { "{prefix:>8} {bar:24} {percent:>3} % {wide_msg}" } else { "{prefix:>8} {spinner} {wide_msg}" };
        bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
    });
    bar.set_position(position);
    bar.set_message(words);
    if shown.ended {
        // Bytes are those that were read; a trailer may be left unread, and a bar that stops at 99 % looks like a fault.
        bar.set_position(total.unwrap_or(position));
        bar.abandon();
    }
}

fn percent(position: u64, total: Option<u64>) -> String {
    match total {
        Some(total) if total > 0 => format!("{} % ", position.min(total).saturating_mul(100) / total),
        _ => String::new(),
    }
}

fn under_way(subject: Subject, [rate, thing_rate]: [f64; 2], position: u64, things: u64, total: Option<u64>) -> String {
    let mut words = subject.counted(position, things);
    if rate > 0.0 {
        if !matches!(subject, Subject::File(_)) {
            words += &format!(" {}", words::rate(thing_rate));
        }
        if subject != Subject::Edges {
            words += &format!(" {}", words::byte_rate(rate));
        }
        let left = total.map(|total| total.saturating_sub(position) as f64 / rate);
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
        let masters = Subject::Kind(Kind::Master);
        let words = under_way(masters, [21_300_000.0, 38_000.0], 1_000_000_000, 1_234_567, Some(4_834_000_000));
        assert_eq!(words, "1,234,567 records 38,000/s 21.3 MB/s about 3 min left");
        assert_eq!(under_way(masters, [0.0, 0.0], 0, 0, Some(1)), "0 records");
        assert_eq!(under_way(masters, [1e6, 5.0], 9, 7, None), "7 records 5.0/s 1.0 MB/s");
        let file = Subject::File(Kind::Label);
        assert_eq!(under_way(file, [1e6, 0.0], 3 << 20, 0, None), "3.00 MiB 1.0 MB/s");
        assert_eq!(
            under_way(Subject::Edges, [50.0, 5.0], 0, 7, Some(100)),
            format!("7 edges 5.0/s {}", words::time_left(Duration::from_secs(2)))
        );
        assert_eq!([percent(45, Some(100)), percent(200, Some(100)), percent(1, Some(0)), percent(1, None)], ["45 % ", "100 % ", "", ""]);
    }

    #[test]
    fn progress_is_counted_from_many_threads_and_its_own_thread_ends_with_it() {
        for style in [Style::Bars, Style::Lines, Style::Quiet] {
            let progress = Progress::every(style, Duration::from_millis(1));
            progress.started(Kind::Master, Some(4000));
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| (0..1000).for_each(|_| progress.advance(Kind::Master, 1, 2)));
                }
            });
            progress.done(Kind::Master);
            let subjects = Arc::clone(&progress.subjects);
            drop(progress);
            assert_eq!(Arc::strong_count(&subjects), 1, "{style:?}");
            assert_eq!((subjects[2].position.load(Relaxed), subjects[2].things.load(Relaxed)), (4000, 8000));
        }
    }
}

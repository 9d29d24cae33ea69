//! The metrics of a run, from what it measures of itself. What each means for who runs it is in docs/metrics.md, which a test holds
//! against this.

use std::time::Duration;

use super::course::{Phase, milliseconds};
use super::exposition::{Page, Type};
use super::resources::{Resources, free_bytes};
use super::sinks::Outcome;
use super::stages::{Measures, RunStage, Spread};
use crate::model::{CANONICAL_VERSION, Kind, RULES_VERSION};
use crate::sinks::{Class, Tally};

/// Bounds of histograms: from what a batch of a fast store takes to what no server may take for an answer.
const BOUNDS: [Duration; 12] = [
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(1_800),
];

/// For whom metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// Who asks the process itself.
    Scrape,
    /// A file that is read when the process may be gone: without what only the living have.
    File,
}

/// All metrics of a run as it is now, in Prometheus' text format.
pub fn metrics(measures: &Measures, whom: For) -> String {
    let mut page = Metrics { page: Page::default(), command: measures.course().command };
    page.run(measures);
    page.records(measures);
    page.input(measures);
    page.stages(&measures.spreads(&BOUNDS));
    page.flow(measures, whom);
    page.sinks(measures);
    page.state(measures);
    if whom == For::Scrape {
        page.process(measures);
    }
    page.page.into_text()
}

struct Metrics {
    page: Page,
    command: &'static str,
}

fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1e3
}

impl Metrics {
    fn counter(&mut self, name: &'static str, help: &'static str) -> &mut Page {
        self.page.family(Type::Counter, name, help, Some(self.command));
        &mut self.page
    }

    fn gauge(&mut self, name: &'static str, help: &'static str) -> &mut Page {
        self.page.family(Type::Gauge, name, help, Some(self.command));
        &mut self.page
    }

    fn run(&mut self, measures: &Measures) {
        let course = measures.course();
        let (canonical, rules) = (CANONICAL_VERSION.to_string(), RULES_VERSION.to_string());
        let build = [("version", env!("CARGO_PKG_VERSION")), ("canonical", &canonical), ("rules", &rules)];
        self.gauge("discodiff_build_info", "Version of the program, of the canonical form and of its rules; always 1.").sample(&build, 1.0);
        let (epoch, month) = course.applying();
        let (run, number) = (course.run.to_string(), epoch.to_string());
        let labels = [("run", run.as_str()), ("snapshot", &month), ("epoch", if epoch == 0 { "" } else { &number })];
        self.gauge("discodiff_run_info", "The run, and the month and epoch that it applies; always 1.").sample(&labels, 1.0);
        let phases = self.gauge("discodiff_run_phase", "What the run is at: 1 for one phase, 0 for all others.");
        let now = course.phase();
        Phase::ALL.into_iter().for_each(|phase| phases.sample(&[("phase", phase.name())], f64::from(u8::from(phase == now))));
        self.gauge("discodiff_run_start_timestamp_seconds", "When the run began.").sample(&[], seconds(milliseconds(course.begun)));
        self.gauge("discodiff_run_duration_seconds", "How long the run has taken so far, or took.")
            .sample(&[], course.took().as_secs_f64());
        let end = self.gauge("discodiff_run_end_timestamp_seconds", "When the run ended; absent while it goes on.");
        course.ended().iter().for_each(|(end_of_run, _)| end.sample(&[], seconds(milliseconds(*end_of_run))));
        let status = self.gauge("discodiff_run_exit_status", "Exit status of the run; absent while it goes on.");
        course.ended().iter().for_each(|(_, exit)| status.sample(&[], f64::from(*exit)));
        self.gauge("discodiff_updated_timestamp_seconds", "When these values were written down.")
            .sample(&[], seconds(milliseconds(std::time::SystemTime::now())));
        let unmoved = if course.ended().is_some() { Duration::ZERO } else { measures.pulse().unmoved() };
        self.gauge("discodiff_unmoved_seconds", "How long no piece of work was done.").sample(&[], unmoved.as_secs_f64());
    }

    fn records(&mut self, measures: &Measures) {
        let records = measures.records();
        // Kinds of which nothing was read are left out.
        let kinds: Vec<_> = Kind::ALL.into_iter().map(|kind| (kind.name(), records.of(kind))).filter(|(_, of)| of.0.received > 0).collect();
        // What the month that the state holds left is true until it is read again.
        let held = measures.course().held();
        let left: Vec<_> = Kind::ALL
            .into_iter()
            .filter_map(|kind| match (records.of(kind).0, &held) {
                (counts, _) if counts.received > 0 => Some((kind.name(), (counts.rejected, counts.deletes_withheld))),
                (_, Some(held)) if held.applied[kind].is_some() => Some((kind.name(), held.left[kind])),
                _ => None,
            })
            .collect();
        let received = self.counter("discodiff_records_received_total", "Records that were read.");
        kinds.iter().for_each(|(kind, (counts, _))| received.sample(&[("kind", kind)], counts.received as f64));
        let parsed = self.counter("discodiff_records_parsed_total", "Records whose bytes were not as before, and that were parsed.");
        kinds.iter().for_each(|(kind, (_, number))| parsed.sample(&[("kind", kind)], *number as f64));
        let unchanged = self.counter("discodiff_records_unchanged_total", "Records whose document is as before.");
        kinds.iter().for_each(|(kind, (counts, _))| unchanged.sample(&[("kind", kind)], counts.unchanged as f64));
        let duplicate = self.counter("discodiff_records_duplicate_total", "Later copies of a record.");
        kinds.iter().for_each(|(kind, (counts, _))| duplicate.sample(&[("kind", kind)], counts.duplicates as f64));
        let rejected = self.counter("discodiff_records_rejected_total", "Records that cannot be read.");
        left.iter().for_each(|(kind, (number, _))| rejected.sample(&[("kind", kind)], *number as f64));
        let changes = self.counter("discodiff_changes_total", "Records that are new, changed or gone, by the state's verdict.");
        for (kind, (counts, _)) in &kinds {
            for (op, number) in [("insert", counts.inserted), ("update", counts.updated), ("delete", counts.deleted)] {
                changes.sample(&[("kind", kind), ("op", op)], number as f64);
            }
        }
        let withheld = self.gauge("discodiff_deletes_withheld", "Records that are missing from the dump and were not deleted.");
        left.iter().for_each(|(kind, (_, number))| withheld.sample(&[("kind", kind)], *number as f64));
    }

    fn input(&mut self, measures: &Measures) {
        let of = |kind| measures.counted().map_or((None, None), |counted| counted.of(kind));
        let read = self.counter("discodiff_input_bytes_total", "Bytes that were read of a kind's dump, as it is on disk or in its topic.");
        for kind in Kind::ALL {
            of(kind).0.iter().for_each(|bytes| read.sample(&[("kind", kind.name())], *bytes as f64));
        }
        let known = self.gauge("discodiff_input_bytes_known", "Bytes of a kind's dump, where its size is known.");
        for kind in Kind::ALL {
            of(kind).1.iter().for_each(|bytes| known.sample(&[("kind", kind.name())], *bytes as f64));
        }
        let lag = self.gauge("discodiff_kafka_lag_records", "Messages of a partition that are still to be read of what is being applied.");
        for ((topic, partition), records) in measures.course().lag() {
            lag.sample(&[("topic", &topic), ("partition", &partition.to_string())], records as f64);
        }
    }

    fn stages(&mut self, spreads: &[Spread]) {
        let bounds = BOUNDS.map(|bound| bound.as_secs_f64());
        let name = "discodiff_tick_duration_seconds";
        self.page.family(Type::Histogram, name, "From when a block was read until every sink has committed it.", Some(self.command));
        for Spread { up_to, items, seconds, .. } in spreads.iter().filter(|spread| spread.stage == RunStage::Tick && spread.items > 0) {
            self.page.histogram(&[], &bounds, up_to, *items, *seconds);
        }
        let others: Vec<_> = spreads.iter().filter(|spread| spread.stage != RunStage::Tick && spread.busy_seconds > 0.0).collect();
        let labels = |spread: &Spread| [("stage", spread.stage.name()), ("sink", spread.stage.sink().unwrap_or_default())];
        let name = "discodiff_stage_duration_seconds";
        self.page.family(Type::Histogram, name, "How long a stage took for a piece, a tick or a batch.", Some(self.command));
        others.iter().for_each(|of| self.page.histogram(&labels(of), &bounds, &of.up_to, of.items, of.seconds));
        let busy = self.counter("discodiff_stage_busy_seconds_total", "How long all threads were at a stage, together.");
        others.iter().for_each(|of| busy.sample(&labels(of), of.busy_seconds));
        let records = self.counter("discodiff_stage_records_total", "Records that went through a stage, where it knows of any.");
        others.iter().filter(|of| of.records > 0).for_each(|of| records.sample(&labels(of), of.records as f64));
        let bytes = self.counter("discodiff_stage_bytes_total", "Their bytes, where they are known.");
        others.iter().filter(|of| of.bytes > 0).for_each(|of| bytes.sample(&labels(of), of.bytes as f64));
    }

    fn flow(&mut self, measures: &Measures, whom: For) {
        let waited = self.counter("discodiff_waited_seconds_total", "What the run waited for, and how long; cpu is its own work.");
        for (cause, time) in measures.waits().times() {
            waited.sample(&[("cause", cause.name())], time.as_secs_f64());
        }
        let (frontier, open) = measures.ticks().on_their_way();
        if frontier > 0 {
            self.gauge("discodiff_frontier_tick", "The tick below which every sink has committed everything.").sample(&[], frontier as f64);
        }
        self.gauge("discodiff_ticks_in_flight", "Blocks that were read and are not committed everywhere.").sample(&[], open as f64);
        let mut waiting = std::collections::BTreeMap::<&str, Duration>::new();
        // In the file too, beside how long nothing was done: who asks why finds both in one place.
        let open = if measures.course().ended().is_some() { Vec::new() } else { measures.waits().open() };
        for (cause, time) in open {
            waiting.entry(cause).and_modify(|most| *most = time.max(*most)).or_insert(time);
        }
        let waits = self.gauge("discodiff_waiting_seconds", "What is being waited for now, and how long it has been.");
        waiting.iter().for_each(|(cause, time)| waits.sample(&[("cause", cause)], time.as_secs_f64()));
        if whom == For::File {
            return;
        }
        let Some(in_flight) = measures.in_flight() else { return };
        let bytes = self.gauge("discodiff_inflight_bytes", "Bytes of records between reading and the sinks, by who has them.");
        for (holder, name) in &in_flight.holders {
            bytes.sample(&[("holder", name)], in_flight.budget.held_by(*holder) as f64);
        }
        self.gauge("discodiff_inflight_limit_bytes", "How many there may be before reading waits.")
            .sample(&[], in_flight.budget.limit() as f64);
    }

    fn sinks(&mut self, measures: &Measures) {
        let sinks = measures.sinks();
        let batches = self.counter("discodiff_sink_batches_total", "Batches by what became of them.");
        for (sink, meter) in &sinks {
            for outcome in Outcome::ALL {
                batches.sample(&[("sink", sink), ("outcome", outcome.name())], meter.batches(outcome) as f64);
            }
        }
        let records =
            self.counter("discodiff_sink_records_total", "Records for which something was written, by what happened in the sink.");
        for (sink, meter) in &sinks {
            let Tally { inserted, updated, deleted } = meter.records();
            for (op, number) in [("insert", inserted), ("update", updated), ("delete", deleted)] {
                records.sample(&[("sink", sink), ("op", op)], number as f64);
            }
        }
        let errors = self.counter("discodiff_sink_errors_total", "Errors by what was done about them: retry, reject or stop.");
        for (sink, meter) in &sinks {
            for (class, name) in [(Class::Retry, "retry"), (Class::Reject, "reject"), (Class::Stop, "stop")] {
                errors.sample(&[("sink", sink), ("class", name)], meter.errors(class) as f64);
            }
        }
        let retries = self.counter("discodiff_sink_retries_total", "Attempts at what had failed.");
        sinks.iter().for_each(|(sink, meter)| retries.sample(&[("sink", sink)], meter.retries() as f64));
        let refused = self.counter("discodiff_sink_refused_records_total", "Records and edges that a sink refuses.");
        sinks.iter().for_each(|(sink, meter)| refused.sample(&[("sink", sink)], meter.refusals() as f64));
        let committed = self.gauge("discodiff_sink_commit_timestamp_seconds", "When a sink last committed a batch.");
        for (sink, meter) in sinks.iter().filter(|(_, meter)| meter.committed_at() > 0) {
            committed.sample(&[("sink", sink)], seconds(meter.committed_at()));
        }
        let differences = self.gauge("discodiff_differences", "What verify found to differ from the state.");
        measures.course().differences().iter().for_each(|(sink, found)| differences.sample(&[("sink", sink)], *found as f64));
    }

    fn state(&mut self, measures: &Measures) {
        let course = measures.course();
        if course.checkpoint_at() > 0 {
            self.gauge(
                "discodiff_checkpoint_timestamp_seconds",
                "When a checkpoint was last taken, or reading began; absent where none is due.",
            )
            .sample(&[], seconds(course.checkpoint_at()));
        }
        let Some(held) = course.held() else { return };
        let records = self.gauge("discodiff_state_records", "Records that the state holds.");
        held.records.iter().for_each(|(kind, number)| records.sample(&[("kind", kind.name())], *number as f64));
        self.gauge("discodiff_state_bytes", "Bytes of the state's files.").sample(&[], held.bytes as f64);
        self.gauge("discodiff_state_generation", "Number of the state's generation.").sample(&[], held.generation as f64);
        let free = self.gauge("discodiff_state_disk_free_bytes", "Bytes that are free on the disk of the state.");
        held.folder.as_deref().and_then(free_bytes).iter().for_each(|bytes| free.sample(&[], *bytes as f64));
        let applied = || held.applied.iter().filter_map(|(kind, applied)| Some((kind.name(), applied.as_ref()?)));
        let epochs = self.gauge("discodiff_applied_epoch", "The epoch that last changed anything of a kind, and the month applied last.");
        applied().for_each(|(kind, (epoch, month))| epochs.sample(&[("kind", kind), ("snapshot", month)], *epoch as f64));
        let written = self.gauge("discodiff_applied_timestamp_seconds", "When the state last took a month over.");
        held.written.iter().for_each(|time| written.sample(&[], seconds(milliseconds(*time))));
    }

    /// By the names that every client library gives them.
    fn process(&mut self, measures: &Measures) {
        let page = &mut self.page;
        let mut one = |kind, name, help, value: Option<f64>| {
            page.family(kind, name, help, None);
            value.iter().for_each(|value| page.sample(&[], *value));
        };
        let now = Resources::now();
        let (gauge, counter) = (Type::Gauge, Type::Counter);
        let memory = now.and_then(|now| now.memory);
        one(counter, "process_cpu_seconds_total", "CPU time of all threads.", now.map(|now| now.cpu.as_secs_f64()));
        one(gauge, "process_resident_memory_bytes", "Memory in use.", memory.map(|(resident, _)| resident as f64));
        one(gauge, "process_virtual_memory_bytes", "Address space.", memory.map(|(_, all)| all as f64));
        one(gauge, "process_threads", "Threads.", now.and_then(|now| now.threads).map(|threads| threads as f64));
        one(
            gauge,
            "process_open_fds",
            "Files, sockets and pipes that are open.",
            now.and_then(|now| now.open_files).map(|files| files as f64),
        );
        one(gauge, "process_max_fds", "How many may be open.", now.and_then(|now| now.most_files).map(|files| files as f64));
        let begun = seconds(milliseconds(measures.course().begun));
        one(gauge, "process_start_time_seconds", "When the process began.", Some(begun));
    }
}

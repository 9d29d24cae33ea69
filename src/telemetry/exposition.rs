//! Prometheus' text format, version 0.0.4.
//!
//! Written out here and not by a library: what is told stands in atomics and histograms of the program's own, which a library's registry
//! would need an adapter for that is longer than this file; and of the libraries, the best kept one writes OpenMetrics, which the
//! textfile collector of node_exporter does not read.

use std::fmt::Write;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Counter,
    Gauge,
    Histogram,
}

impl Type {
    const fn name(self) -> &'static str {
        match self {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
        }
    }
}

/// A page of metrics, written family by family.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    name: &'static str,
    /// A label that all samples of the family have.
    command: Option<&'static str>,
    /// What introduces the family, until its first sample is written.
    head: Option<(Type, &'static str)>,
}

impl Page {
    /// Begins a family. One without samples is left out.
    pub(super) fn family(&mut self, kind: Type, name: &'static str, help: &'static str, command: Option<&'static str>) {
        (self.name, self.command, self.head) = (name, command, Some((kind, help)));
    }

    /// A sample of the family.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.line("", labels, None, value);
    }

    /// A histogram of the family: how many items took no longer than each of these bounds, in seconds, of so many in all.
    pub(super) fn histogram(&mut self, labels: &[(&str, &str)], bounds: &[f64], up_to: &[u64], items: u64, sum: f64) {
        for (bound, number) in bounds.iter().zip(up_to) {
            self.line("_bucket", labels, Some(&bound.to_string()), *number as f64);
        }
        self.line("_bucket", labels, Some("+Inf"), items as f64);
        self.line("_sum", labels, None, sum);
        self.line("_count", labels, None, items as f64);
    }

    /// The text.
    pub(super) fn into_text(self) -> String {
        self.text
    }

    // Writing to a text cannot fail.
    fn line(&mut self, ending: &str, labels: &[(&str, &str)], bound: Option<&str>, value: f64) {
        if let Some((kind, help)) = self.head.take() {
            let _ = write!(self.text, "# HELP {0} {help}\n# TYPE {0} {1}\n", self.name, kind.name());
        }
        let _ = write!(self.text, "{}{ending}", self.name);
        let all = self.command.iter().map(|command| ("command", *command)).chain(labels.iter().copied());
        let mut separator = '{';
        for (name, value) in all.chain(bound.map(|bound| ("le", bound))) {
            let _ = write!(self.text, "{separator}{name}=\"{}\"", escaped(value));
            separator = ',';
        }
        if separator == ',' {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_has_one_head_and_a_label_s_value_may_be_anything() {
        let mut page = Page::default();
        page.family(Type::Gauge, "none", "Never seen.", None);
        page.family(Type::Counter, "a_total", "Counts.", Some("refresh"));
        page.sample(&[("kind", "x\"\\\n")], 3.0);
        page.sample(&[], 0.5);
        page.family(Type::Histogram, "b_seconds", "Takes.", None);
        page.histogram(&[], &[0.1, 60.0], &[1, 2], 3, 61.5);
        assert_eq!(
            page.into_text(),
            "# HELP a_total Counts.\n# TYPE a_total counter\n\
             a_total{command=\"refresh\",kind=\"x\\\"\\\\\\n\"} 3\na_total{command=\"refresh\"} 0.5\n\
             # HELP b_seconds Takes.\n# TYPE b_seconds histogram\n\
             b_seconds_bucket{le=\"0.1\"} 1\nb_seconds_bucket{le=\"60\"} 2\nb_seconds_bucket{le=\"+Inf\"} 3\nb_seconds_sum 61.5\nb_seconds_count 3\n"
        );
    }
}

//! Metrics in Prometheus' text format and in OpenMetrics.

use std::fmt::{Display, Write as _};

use crate::link::{Kind, Link};

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// It goes up and down.
    Gauge,
    /// It only grows.
    Counter,
    /// A counter whose name OpenMetrics would refuse: nginx's exporter leaves `_total` out.
    OldCounter,
}

/// Writes metrics, family by family.
#[derive(Debug)]
pub struct Writer {
    text: String,
    open: bool,
}

impl Writer {
    /// For Prometheus, or (`open`) as OpenMetrics.
    pub fn new(open: bool) -> Writer {
        Writer { text: String::new(), open }
    }

    /// Everything written.
    pub fn finish(mut self) -> String {
        if self.open {
            self.text += "# EOF\n";
        }
        self.text
    }

    /// Begins a family.
    pub fn family(&mut self, name: &str, kind: Type, help: &str) {
        let (shown, kind) = match (kind, self.open) {
            (Type::Counter, true) => (name.strip_suffix("_total").unwrap_or(name), "counter"),
            (Type::OldCounter, true) => (name, "unknown"),
            (Type::Gauge, _) => (name, "gauge"),
            (_, false) => (name, "counter"),
        };
        // Writing to a String cannot fail.
        let _ = write!(self.text, "# HELP {shown} {help}\n# TYPE {shown} {kind}\n");
    }
    /// One value of the family just begun.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.text, "{name}{labels} {value}");
    }
    /// A family of one value.
    pub fn single(&mut self, name: &str, kind: Type, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// The links of a chain, the one that binds, and how many times the present load fits.
    pub fn links(&mut self, links: &[&Link], binding: Option<(Kind, &str)>, headroom: Option<f64>) {
        if let Some(headroom) = headroom {
            let help = "How many times the present load fits.";
            self.single("plimsoll_headroom_ratio", Type::Gauge, help, headroom);
        }
        let mut family = |name: &str, kind, help: &str, value: &dyn Fn(&Link) -> Option<f64>| {
            self.family(name, kind, help);
            for link in links {
                if let Some(value) = value(link) {
                    self.sample(name, &[("link", link.kind.key()), ("of", &link.of)], value);
                }
            }
        };
        family("plimsoll_link_used", Type::Gauge, "What is taken of a link.", &|l| Some(l.used as f64));
        family("plimsoll_link_peak", Type::Gauge, "The most that was taken.", &|l| Some(l.peak as f64));
        family("plimsoll_link_ceiling", Type::Gauge, "What fits.", &|l| l.ceiling.map(|c| c as f64));
        let refused = |link: &Link| Some(link.refused as f64);
        family("plimsoll_link_refused_total", Type::Counter, "Who found no place.", &refused);
        let binds = |link: &Link| Some(f64::from(u8::from(binding == Some((link.kind, link.of.as_str())))));
        family("plimsoll_link_binding", Type::Gauge, "1 for the link that binds.", &binds);
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_format() {
        let text = |open| {
            let mut w = Writer::new(open);
            w.single("a_total", Type::Counter, "All.", 3);
            w.family("b", Type::OldCounter, "Some.");
            w.sample("b", &[("x", "\"y\"")], 1);
            w.finish()
        };
        assert_eq!(
            text(false),
            "# HELP a_total All.\n# TYPE a_total counter\na_total 3\n# HELP b Some.\n# TYPE b counter\nb{x=\"\\\"y\\\"\"} 1\n"
        );
        assert_eq!(
            text(true),
            "# HELP a All.\n# TYPE a counter\na_total 3\n# HELP b Some.\n# TYPE b unknown\nb{x=\"\\\"y\\\"\"} 1\n# EOF\n"
        );
    }
}

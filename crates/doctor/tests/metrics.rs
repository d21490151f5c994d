//! Metrics are as Prometheus' text format wants them, whatever addresses and lines say: what promtool checks, without it.
#![allow(clippy::unwrap_used)]

mod cases;

use std::collections::{BTreeMap, BTreeSet};

use cases::{TAIL, healthy, of_log};
use doctor::diagnose::diagnose;
use doctor::facts::Facts;
use machine::sockets::Queue;

fn is_name(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    begins && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

/// `name{label="value",..} number`: the name, its labels as they are written, and the number.
fn sample(line: &str) -> Option<(&str, Vec<&str>, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"")?;
            if !is_name(label.trim_start_matches(',')) {
                return None;
            }
            let end = value_end(after)?;
            labels.push(&rest[..label.len() + 3 + end]);
            rest = after.get(end + 1..)?;
        }
        rest = rest.get(1..)?;
    }
    let value = rest.strip_prefix(' ')?.parse().ok()?;
    is_name(name).then_some((name, labels, value))
}

/// Where a label's value ends. Only `\\`, `\"` and `\n` are escapes.
fn value_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match (escaped, c) {
            (true, '\\' | '"' | 'n') => escaped = false,
            (true, _) | (false, '\n') => return None,
            (false, '\\') => escaped = true,
            (false, '"') => return Some(at),
            _ => {}
        }
    }
    None
}

/// What is wrong with it.
fn wrong(text: &str) -> Vec<String> {
    let (mut wrong, mut kinds, mut helped) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
    let (mut series, mut family) = (BTreeSet::new(), "");
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            if !helped.insert(name) || help.is_empty() {
                wrong.push(format!("helped twice, or not at all: {line}"));
            }
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let known = ["gauge", "counter"].contains(&kind);
            if kinds.insert(name, kind).is_some() || !known || !helped.contains(name) {
                wrong.push(format!("a type that is twice, unknown, or before its help: {line}"));
            }
            // nginx's own exporter leaves the ending out.
            let total = name.ends_with("_total") || name.starts_with("nginx_");
            if kind == "counter" && !total || kind == "gauge" && name.ends_with("_total") {
                wrong.push(format!("a name that does not say what it is: {line}"));
            }
            family = name;
        } else {
            match sample(line) {
                Some((name, labels, value)) => {
                    if name != family || !value.is_finite() || !series.insert((name, labels)) {
                        wrong.push(format!("among others, no number, or twice: {line}"));
                    }
                }
                None => wrong.push(format!("no sample: {line}")),
            }
        }
    }
    wrong
}

fn metrics(facts: &Facts) -> String {
    doctor::report::metrics::metrics(facts, &diagnose(facts))
}

#[test]
fn metrics_are_as_prometheus_wants_them() {
    let slots =
        format!("[alert] 7#7: *9 768 worker_connections are not enough while connecting to upstream{TAIL}");
    for facts in [Facts::default(), healthy(), of_log(&[&slots])] {
        assert_eq!(wrong(&metrics(&facts)), Vec::<String>::new());
    }
    assert!(metrics(&healthy()).contains("plimsoll_link_ceiling{link=\"slots\",of=\"\"} "));
}

#[test]
fn what_is_wrong_is_seen() {
    let head = "# HELP a A.\n# TYPE a gauge\n";
    for bad in ["a", "a x", "a{b=c} 1", "a{b=\"\\x\"} 1", "a 1\na 2", "b 1", "a{b=\"c} 1", "a NaN"] {
        assert!(!wrong(&format!("{head}{bad}\n")).is_empty(), "{bad}");
    }
    assert!(!wrong("# HELP a A.\n# TYPE a counter\na 1\n").is_empty());
    assert!(wrong(&format!("{head}a{{b=\"c\\\"d\",e=\"\"}} 1\n")).is_empty());
}

proptest::proptest! {
    #[test]
    fn no_address_breaks_a_line(address in ".{0,40}") {
        let mut facts = healthy();
        facts.queues.push(Queue { address: address.clone(), waiting: 3, ceiling: 4, ..Queue::default() });
        facts.upstreams[0].address = address;
        proptest::prop_assert_eq!(wrong(&metrics(&facts)), Vec::<String>::new());
    }
}

//! Pictures of a report: SVG that a page holds itself.

use std::fmt::Write;

use capacity::Link;

use super::html::escaped;
use crate::logs::Concurrency;
use crate::logs::error::Event;
use crate::logs::moment;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 200.0;
/// Left of a plot, where the figures of its axis stand.
const LEFT: f64 = 48.0;
/// Points of a line: more than anybody can see.
const POINTS: usize = 480;

/// A link as a vessel: filled as far as it is used, with its high-water mark; the one that binds is marked.
pub(super) fn vessel(link: &Link, binds: bool) -> String {
    const TOP: f64 = 14.0;
    const BOTTOM: f64 = 112.0;
    let y = |part: f64| BOTTOM - (BOTTOM - TOP) * part.clamp(0.0, 1.0);
    let mut out = String::from("<svg viewBox=\"0 0 100 124\" aria-hidden=\"true\">");
    if link.used > 0 {
        let level = y(link.fullness().max(0.015));
        let _ = write!(
            out,
            "<path d=\"M14 {level:.1} H86 V{BOTTOM} q0 8 -8 8 H22 q-8 0 -8 -8 Z\" fill=\"var(--sea)\" opacity=\".85\"/>"
        );
    }
    if link.peak > link.used {
        let level = y(link.peak_fullness());
        let _ = write!(
            out,
            "<path d=\"M14 {level:.1} H86\" stroke=\"var(--peak)\" stroke-width=\"2\" stroke-dasharray=\"4 3\"/>"
        );
    }
    out.push_str("<path d=\"M14 8 V112 q0 8 8 8 H78 q8 0 8 -8 V8\" fill=\"none\" stroke=\"var(--soft)\" stroke-width=\"2\"/>");
    if binds {
        out.push_str("<g stroke=\"var(--line)\" stroke-width=\"3\" fill=\"none\"><circle cx=\"50\" cy=\"36\" r=\"14\"/><path d=\"M24 36 H76\"/></g>");
    }
    out.push_str("</svg>");
    out
}

/// Requests at once over time, against how many there may be.
pub(super) fn concurrency(found: &Concurrency, ceiling: Option<u64>) -> String {
    let values = coarser(&found.steps);
    let peak = found.peak.max(1) as f64;
    // A ceiling far above is told, not drawn: the curve would lie on the ground.
    let near = ceiling.map(|ceiling| ceiling as f64).filter(|ceiling| *ceiling <= peak * 4.0);
    let top = near.unwrap_or(0.0).max(peak) * 1.1;
    let y = |value: f64| HEIGHT - HEIGHT * (value / top).min(1.0);
    let x = |index: usize| LEFT + (WIDTH - LEFT) * index as f64 / (values.len().max(2) - 1) as f64;
    let mut line = String::new();
    for (index, value) in values.iter().enumerate() {
        let _ =
            write!(line, "{}{:.1} {:.1}", if index == 0 { "M" } else { " L" }, x(index), y(*value as f64));
    }
    let mut out = begun("Requests served at once, over time");
    for part in [0.0, 0.5, 1.0] {
        let value = (peak * part).round();
        grid(&mut out, y(value), &format!("{value:.0}"));
    }
    let _ = write!(
        out,
        "<path d=\"{line} L{:.1} {HEIGHT} L{LEFT} {HEIGHT} Z\" fill=\"var(--sea)\" opacity=\".25\"/>\
         <path d=\"{line}\" fill=\"none\" stroke=\"var(--sea)\" stroke-width=\"1.5\"/>",
        x(values.len().saturating_sub(1))
    );
    if let Some(ceiling) = near {
        let _ = write!(
            out,
            "<path d=\"M{LEFT} {0:.1} H{WIDTH}\" stroke=\"var(--line)\" stroke-width=\"2\" stroke-dasharray=\"6 4\"/>\
             <text x=\"{WIDTH}\" y=\"{1:.1}\" text-anchor=\"end\" fill=\"var(--line)\">the chain ends here: {ceiling:.0}</text>",
            y(ceiling),
            y(ceiling) - 5.0
        );
    }
    let step = found.step.saturating_mul(found.steps.len() as i64);
    let last = found.first.saturating_add(step).div_euclid(1000);
    ended(&mut out, found.first.div_euclid(1000), last, " UTC");
    out
}

/// Steps joined to so many that each has room.
fn coarser(steps: &[u32]) -> Vec<u32> {
    let each = steps.len().div_ceil(POINTS).max(1);
    steps.chunks(each).map(|part| part.iter().copied().max().unwrap_or(0)).collect()
}

/// What happened when, a row for each cause, on one axis of time.
pub(super) fn events(events: &[&Event]) -> String {
    const ROW: f64 = 40.0;
    let timed = || events.iter().filter(|event| !event.times.counts.is_empty());
    let end = |event: &&Event| {
        event.times.first.saturating_add(event.times.step.saturating_mul(event.times.counts.len() as i64))
    };
    let (Some(first), Some(last)) = (timed().map(|event| event.times.first).min(), timed().map(end).max())
    else {
        return String::new();
    };
    let span = last.saturating_sub(first).max(1) as f64;
    let mut out = begun_of("Events by cause, over time", ROW * timed().count() as f64);
    for (row, event) in timed().enumerate() {
        let bottom = ROW * (row + 1) as f64;
        let most = event.times.counts.iter().copied().max().unwrap_or(1).max(1);
        let each = WIDTH * event.times.step as f64 / span;
        let _ = write!(
            out,
            "<text x=\"0\" y=\"{:.1}\">{} <tspan fill=\"var(--soft)\">{}</tspan></text>\
             <path d=\"M0 {bottom:.1} H{WIDTH}\" stroke=\"var(--rule)\"/>",
            bottom - ROW + 17.0,
            escaped(event.cause.words()),
            event.count
        );
        for (index, count) in event.times.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let at = event.times.first.saturating_add(event.times.step.saturating_mul(index as i64));
            let x = WIDTH * at.saturating_sub(first) as f64 / span;
            let height = (16.0 * f64::from(*count) / f64::from(most)).max(2.0);
            let width = each.max(2.0);
            let _ = write!(
                out,
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"var(--line)\"><title>{count} at {}</title></rect>",
                x.min(WIDTH - width),
                bottom - height,
                moment::words(at)
            );
        }
    }
    ended_at(&mut out, ROW * timed().count() as f64, 0.0, first, last, "");
    out
}

fn begun(label: &str) -> String {
    begun_of(label, HEIGHT)
}

fn begun_of(label: &str, height: f64) -> String {
    format!(
        "<div class=\"scroll\"><svg class=\"plot\" viewBox=\"0 -12 {WIDTH} {:.0}\" role=\"img\" aria-label=\"{label}\">",
        height + 34.0
    )
}

fn grid(out: &mut String, y: f64, label: &str) {
    let _ = write!(
        out,
        "<path d=\"M{LEFT} {y:.1} H{WIDTH}\" stroke=\"var(--rule)\"/><text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"var(--soft)\">{label}</text>",
        LEFT - 6.0,
        y + 4.0
    );
}

fn ended(out: &mut String, first: i64, last: i64, zone: &str) {
    ended_at(out, HEIGHT, LEFT, first, last, zone);
}

/// The axis of time, and the end.
fn ended_at(out: &mut String, height: f64, left: f64, first: i64, last: i64, zone: &str) {
    let y = height + 18.0;
    let _ = write!(
        out,
        "<text x=\"{left}\" y=\"{y}\" fill=\"var(--soft)\">{}{zone}</text>\
         <text x=\"{WIDTH}\" y=\"{y}\" text-anchor=\"end\" fill=\"var(--soft)\">{}{zone}</text></svg></div>",
        moment::words(first),
        moment::words(last)
    );
}

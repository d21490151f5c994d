//! Whatever somebody says was seen: a diagnosis is made of it, and every form of the report, none of which commands a
//! terminal or a browser.
#![no_main]

use std::path::Path;

use doctor::diagnose::diagnose;
use doctor::facts::Facts;
use doctor::probe::config::Config;
use doctor::report::{html, json, markdown, metrics, text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    // One that was saved, or the text of a configuration.
    let facts = serde_json::from_slice(data).unwrap_or_else(|_| Facts {
        config: Some(Config::of_dump(Path::new("dump"), &format!("# configuration file /n.conf:\n{text}"))),
        ..Facts::default()
    });
    let diagnosis = diagnose(&facts);
    let report = text::text(&facts, &diagnosis, text::Colour(false));
    assert!(report.lines().all(|line| line.chars().count() <= 80), "{report}");
    assert!(!report.contains('\x1b'));
    assert!(!html::html(&facts, &diagnosis).contains("<script"));
    markdown::markdown(&facts, &diagnosis);
    metrics::metrics(&facts, &diagnosis);
    let _: serde_json::Value = serde_json::from_str(&json::json(&facts, &diagnosis)).expect("JSON is JSON");
});

//! docs/doctor.schema.json is true of what `--json` writes, and misses none of its keys.
#![allow(clippy::unwrap_used)]

mod cases;

use cases::{TAIL, healthy, of_log};
use doctor::diagnose::diagnose;
use doctor::facts::Facts;
use serde_json::{Value, json};

/// As much of JSON Schema as ours uses. Keys that it does not know are mistakes here: the schema promises every key.
struct Schema(Value);

impl Schema {
    fn ours() -> Schema {
        Schema(serde_json::from_str(include_str!("../../../docs/doctor.schema.json")).unwrap())
    }

    fn wrong(&self, value: &Value) -> Vec<String> {
        let mut wrong = Vec::new();
        self.check(&self.0, value, "$", &mut wrong);
        wrong
    }

    fn check(&self, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
        if let Some(reference) = schema["$ref"].as_str() {
            let target = self.0.pointer(reference.trim_start_matches('#')).unwrap();
            return self.check(target, value, at, wrong);
        }
        if let Some(choices) = schema["anyOf"].as_array() {
            let fits = choices.iter().any(|choice| {
                let mut wrong = Vec::new();
                self.check(choice, value, at, &mut wrong);
                wrong.is_empty()
            });
            return if !fits {
                wrong.push(format!("{at}: none of the kinds it may be: {value}"))
            };
        }
        if schema["enum"].as_array().is_some_and(|known| !known.contains(value)) {
            wrong.push(format!("{at}: {value} is none of {}", schema["enum"]));
        }
        if !schema["type"].is_null() && !is_a(&schema["type"], value) {
            wrong.push(format!("{at}: {value} is no {}", schema["type"]));
        }
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            self.check(&schema["items"], item, &format!("{at}[{index}]"), wrong);
        }
        if schema["properties"].is_object() {
            self.check_object(schema, value, at, wrong);
        }
    }

    fn check_object(&self, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if value.get(name).is_none() {
                wrong.push(format!("{at}: no {name}"));
            }
        }
        // What the traffic is made of is no part of the promise.
        let promised = value.as_object().into_iter().flatten().filter(|(name, _)| *name != "mix");
        for (name, inside) in promised {
            match schema["properties"].get(name) {
                Some(known) => self.check(known, inside, &format!("{at}.{name}"), wrong),
                None => wrong.push(format!("{at}: {name} is not in the schema")),
            }
        }
    }
}

fn is_a(kind: &Value, value: &Value) -> bool {
    if let Some(kinds) = kind.as_array() {
        return kinds.iter().any(|kind| is_a(kind, value));
    }
    match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64(),
        "null" => value.is_null(),
        other => panic!("{other} is not known here"),
    }
}

fn report(facts: &Facts) -> Value {
    serde_json::from_str(&doctor::report::json::json(facts, &diagnose(facts))).unwrap()
}

fn incidents() -> Vec<Facts> {
    let slots =
        format!("[alert] 7#7: *9 768 worker_connections are not enough while connecting to upstream{TAIL}");
    let mut full = Facts { events: of_log(&[&slots]).events, ..healthy() };
    full.queues[0].waiting = 511;
    vec![Facts::default(), healthy(), of_log(&[&slots]), full]
}

#[test]
fn reports_are_as_the_schema_says() {
    for facts in incidents() {
        assert_eq!(Schema::ours().wrong(&report(&facts)), Vec::<String>::new());
    }
}

#[test]
fn the_schema_sees_what_is_wrong() {
    let good = report(&incidents()[3]);
    let changes = [
        ("/exit", json!(7)),
        ("/binding", json!(1)),
        ("/findings/0/severity", json!("terrible")),
        ("/findings/0/requests", json!("many")),
        ("/findings/0/link", json!("rope")),
        ("/findings/0/changes/0", json!({"setting": "x"})),
        ("/chain/links/0", json!({})),
        ("/facts", json!([])),
    ];
    for (place, value) in changes {
        let mut bad = good.clone();
        *bad.pointer_mut(place).unwrap() = value;
        assert!(!Schema::ours().wrong(&bad).is_empty(), "{place}");
    }
}

/// The guide's table names the same keys.
#[test]
fn the_page_names_every_key() {
    let page = include_str!("../../../docs/doctor.md");
    let (_, table) = page.split_once("## For programs").unwrap();
    let schema = Schema::ours().0;
    for place in
        ["/properties", "/$defs/link/properties", "/$defs/finding/properties", "/$defs/change/properties"]
    {
        for name in schema.pointer(place).unwrap().as_object().unwrap().keys() {
            assert!(table.contains(&format!("`{name}")) || table.contains(&format!(".{name}")), "{name}");
        }
    }
}

//! `budget`: what one request may cost, in instructions, allocations and system calls. These do not depend on the
//! machine's speed or load, so a change that makes the server slower fails here, and no other one does.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use testkit::Binary;

use crate::bench::{cases, count, with_plimsoll, worst};
use crate::run::{has, root};

/// The limits of one case in `budgets.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Budget {
    instructions: f64,
    allocations: f64,
    system_calls: f64,
}

/// Measures every case in `budgets.toml`.
pub fn budget() -> Result<()> {
    if let Some(missing) = ["valgrind", "strace", "nginx"].iter().find(|program| !has(program)) {
        eprintln!("SKIPPED: budget: {missing} is not installed (cargo xtask setup)");
        return Ok(());
    }
    let text = fs::read_to_string(root().join("xtask/budgets.toml")).context("xtask/budgets.toml")?;
    let budgets: BTreeMap<String, Budget> = toml::from_str(&text).context("xtask/budgets.toml")?;
    with_plimsoll("budget", &[], || {
        eprintln!("==> budget");
        let mut over = Vec::new();
        for (name, budget) in &budgets {
            over.extend(check(name, budget)?);
        }
        over.extend(worst::over()?);
        if !over.is_empty() {
            bail!("over budget: {}", over.join(", "));
        }
        Ok(())
    })
}

/// What of the case is over its budget.
fn check(name: &str, budget: &Budget) -> Result<Vec<String>> {
    let case = cases::named(name).with_context(|| format!("budgets.toml: no case {name:?}"))?;
    let origin = Binary::Nginx.serve(cases::origin());
    let address = format!("127.0.0.1:{}", origin.port());
    let work = count::work(Binary::Plimsoll, case, &address)?;
    let calls = count::system_calls(Binary::Plimsoll, case, &address)?;
    let mut over = Vec::new();
    for (what, spent, limit) in [
        ("instructions", work.instructions, budget.instructions),
        ("allocations", work.allocations, budget.allocations),
        ("system calls", calls, budget.system_calls),
    ] {
        let verdict = if spent > limit { "OVER" } else { "ok" };
        eprintln!("    {name:<16} {what:<13} {spent:>9.2} of {limit:>9.2} {verdict}");
        if spent > limit {
            over.push(format!("{name}: {spent:.2} {what}"));
        }
    }
    Ok(over)
}

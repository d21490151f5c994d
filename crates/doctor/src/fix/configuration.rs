//! What the findings change in nginx.conf.

use capacity::{Finding, Place};

use super::patch::Patch;
use crate::facts::Facts;
use crate::probe::address::listen_address;
use crate::probe::config::{Config, Group};

/// All of it as a unified diff. What cannot be written without knowing more is in the README only.
pub(super) fn diff(facts: &Facts, findings: &[Finding]) -> String {
    let Some(config) = &facts.config else { return String::new() };
    let mut patch = Patch::default();
    slots(&mut patch, config, findings);
    descriptors(&mut patch, config, findings);
    workers(&mut patch, config, findings);
    backlogs(&mut patch, config, findings);
    if findings.iter().any(|found| found.code == "ports_exhausted") {
        config
            .groups
            .iter()
            .filter(|group| group.keepalive.is_none())
            .for_each(|group| keepalive(&mut patch, config, group));
    }
    if let Some(place) = &config.fixed_port {
        let without = |words: &str| Some(words.rsplit_once(':')?.0.to_owned());
        patch.statement(place, "proxy_bind", without);
    }
    loops(&mut patch, config, findings);
    patch.diff()
}

/// What is passed on says so, and is not passed on again. Headers that are set around the location would no longer hold
/// in it, and an `if` cannot stand in another: there it is in the README only.
fn loops(patch: &mut Patch, config: &Config, findings: &[Finding]) {
    const OTHERS: [&str; 3] = ["proxy_set_header", "if ", "limit_except"];
    let changes = findings.iter().filter(|found| found.code == "proxy_loop").flat_map(|found| &found.changes);
    for change in changes.filter(|change| change.setting.starts_with("if (")) {
        let pass = config.passes.iter().find(|pass| pass.place.words() == change.place);
        let Some(pass) = pass.filter(|pass| pass.directive == "proxy_pass") else { continue };
        let text = patch.says(&pass.place.file);
        if !OTHERS.iter().any(|other| text.contains(other)) {
            patch.after(&pass.place, "proxy_pass", &pass.to, &change.setting);
        }
    }
}

/// The values that changes give a directive: `worker_connections 2048;`.
fn wanted<'a>(findings: &'a [Finding], name: &'a str) -> impl Iterator<Item = (&'a Finding, u64)> {
    findings.iter().flat_map(|found| found.changes.iter().map(move |change| (found, change))).filter_map(
        move |(found, change)| {
            let value = change.setting.strip_prefix(name)?.strip_suffix(';')?.trim();
            Some((found, value.parse().ok()?))
        },
    )
}

fn slots(patch: &mut Patch, config: &Config, findings: &[Finding]) {
    const NAME: &str = "worker_connections";
    let Some(most) = wanted(findings, NAME).map(|(_, value)| value).max() else { return };
    match &config.connections {
        Some((had, place)) if most > *had => {
            patch.statement(place, NAME, |_| Some(format!(" {most}")));
        }
        Some(_) => {}
        None => {
            patch.in_block(&anywhere(config), "events", &format!("{NAME} {most};"));
        }
    }
}

fn descriptors(patch: &mut Patch, config: &Config, findings: &[Finding]) {
    const NAME: &str = "worker_rlimit_nofile";
    let most = wanted(findings, NAME).map(|(_, value)| value).max();
    // One that nobody may have has to become less.
    let less =
        wanted(findings, NAME).find(|(found, _)| found.code == "rlimit_over_nr_open").map(|(_, value)| value);
    let Some(value) = less.or(most) else { return };
    match &config.rlimit_nofile {
        Some((had, place)) if less.is_some() || value > *had => {
            patch.statement(place, NAME, |_| Some(format!(" {value}")));
        }
        Some(_) => {}
        None => {
            patch.at_top(&config.path, &format!("{NAME} {value};"));
        }
    }
}

fn workers(patch: &mut Patch, config: &Config, findings: &[Finding]) {
    const NAME: &str = "worker_processes";
    let auto = || {
        findings
            .iter()
            .any(|found| found.changes.iter().any(|change| change.setting == "worker_processes auto;"))
    };
    let number = wanted(findings, NAME).map(|(_, value)| value.to_string()).next();
    let Some(value) = number.or_else(|| auto().then(|| "auto".to_owned())) else { return };
    let lines = 1..=patch.says(&config.path).lines().count() as u64;
    let mut places = lines.map(|line| Place { file: config.path.clone(), line });
    if !places.any(|place| patch.statement(&place, NAME, |_| Some(format!(" {value}"))))
        && config.processes.is_none()
    {
        patch.at_top(&config.path, &format!("{NAME} {value};"));
    }
}

/// `listen ADDRESS backlog=N;`
fn backlogs(patch: &mut Patch, config: &Config, findings: &[Finding]) {
    for change in findings.iter().flat_map(|found| &found.changes) {
        let words = change.setting.strip_prefix("listen ").and_then(|words| words.strip_suffix(';'));
        let Some((address, backlog)) = words.and_then(|words| words.split_once(" backlog=")) else {
            continue;
        };
        let Some(listen) = config.listens.iter().find(|listen| listen.address == address) else { continue };
        patch.statement(&listen.place, "listen", |words| {
            let own = listen_address(words.split_whitespace().next()?)? == address;
            let is_old = |word: &&str| word.starts_with("backlog=");
            // An address has it once, and here it may be with another server.
            let fits =
                own && (listen.backlog.is_none() || words.split_whitespace().any(|word| is_old(&word)));
            let others: Vec<&str> = words.split_whitespace().filter(|word| !is_old(word)).collect();
            fits.then(|| format!(" {} backlog={backlog}", others.join(" ")))
        });
    }
}

/// Idle connections of a group are kept. Before 1.29.7 nginx asks to close each, unless it is told not to.
fn keepalive(patch: &mut Patch, config: &Config, group: &Group) {
    // A method after it would take its place.
    const METHODS: [&str; 4] = ["least_", "hash ", "ip_hash", "random"];
    let text = patch.says(&group.place.file);
    if METHODS.iter().any(|method| text.contains(method)) {
        return;
    }
    if !patch.in_block(&group.place, &format!("upstream {}", group.name), "keepalive 64;") {
        return;
    }
    let passes: Vec<_> =
        config.passes.iter().filter(|pass| pass.to == group.name && pass.directive == "proxy_pass").collect();
    let says: String = passes.iter().map(|pass| patch.says(&pass.place.file)).collect();
    let has = |name: &str| says.contains(name);
    // A header of its own would take away those that are set around it.
    let header = if has("proxy_set_header") { "" } else { " proxy_set_header Connection \"\";" };
    for pass in passes.iter().filter(|_| !has("proxy_http_version")) {
        patch.after(&pass.place, "proxy_pass", &group.name, &format!("proxy_http_version 1.1;{header}"));
    }
}

/// The main file, wherever in it.
fn anywhere(config: &Config) -> Place {
    Place { file: config.path.clone(), line: 0 }
}

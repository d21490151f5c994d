//! What each finding means: the pages of docs/findings.

/// Each code with its page.
macro_rules! pages {
    ($($code:literal,)*) => {
        &[$(($code, include_str!(concat!("../../../docs/findings/", $code, ".md")))),*]
    };
}

/// All of them, link by link.
const PAGES: &[(&str, &str)] = pages![
    "accept_queue_full",
    "accept_queue_overflows",
    "accept_queue_overflowed",
    "machine_overflows",
    "queue_shorter",
    "backlog_clamped",
    "slots_full",
    "slots_low",
    "slots_for_listeners",
    "peak_near_ceiling",
    "idle_clients",
    "idle_upstream",
    "proxy_loop",
    "descriptors_full",
    "descriptors_short",
    "descriptors_master",
    "descriptors_machine",
    "limit_not_landed",
    "limit_of_shell",
    "rlimit_refused",
    "rlimit_over_nr_open",
    "event_loop_busy",
    "quota_used_up",
    "processors_taken",
    "uneven_workers",
    "workers_over_quota",
    "upstream_queue_full",
    "application_busy",
    "upstream_slow",
    "upstream_down",
    "clients_gave_up",
    "no_live_upstreams",
    "ports_exhausted",
    "ports_short",
    "fixed_port",
    "memory_full",
    "memory_short",
    "kernel_memory",
    "worker_killed",
    "old_workers",
    "configuration_broken",
    "limited",
];

/// The page of a finding's code.
pub fn explain(code: &str) -> Result<String, String> {
    let found = PAGES.iter().find(|(known, _)| *known == code);
    let missing =
        || format!("no finding \"{code}\"; there are:\n  {}", codes().collect::<Vec<_>>().join("\n  "));
    found.map(|(_, page)| (*page).to_owned()).ok_or_else(missing)
}

/// The command of a finding's page that shows whether a change took effect.
pub(crate) fn verify(code: &str) -> Option<&'static str> {
    let (_, page) = PAGES.iter().find(|(known, _)| *known == code)?;
    let (_, after) = page.split_once("## Verify")?;
    after.lines().find_map(|line| line.strip_prefix("    "))
}

/// All codes that are explained.
pub fn codes() -> impl Iterator<Item = &'static str> {
    PAGES.iter().map(|(code, _)| *code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_explained() {
        assert!(explain("slots_full").is_ok_and(|text| text.contains("worker_connections")));
        assert!(explain("nothing").is_err_and(|error| error.contains("slots_full")));
    }

    /// Every page is whole, fits a terminal and stands in the index.
    #[test]
    fn pages_are_alike() {
        const INDEX: &str = include_str!("../../../docs/doctor.md");
        for (code, page) in PAGES {
            assert!(page.starts_with(&format!("# {code}\n")), "{code}");
            let headings: Vec<&str> = page.lines().filter(|line| line.starts_with("## ")).collect();
            assert_eq!(headings, ["## Seen", "## Change", "## Verify", "## Not this"], "{code}");
            assert!(page.lines().all(|line| line.chars().count() <= 80), "{code}");
            assert!(INDEX.contains(&format!("[`{code}`](findings/{code}.md)")), "{code} is not in the index");
        }
        assert_eq!(INDEX.matches("](findings/").count(), PAGES.len());
    }

    /// Every code that the sources give to a finding, here and in `capacity`.
    #[test]
    fn no_code_lacks_its_page() {
        let sources = [
            include_str!("diagnose/live.rs"),
            include_str!("diagnose/events.rs"),
            include_str!("diagnose/upstreams.rs"),
            include_str!("diagnose/processors.rs"),
            include_str!("diagnose/traffic.rs"),
            include_str!("../../capacity/src/rules.rs"),
        ];
        let known: Vec<&str> = codes().collect();
        for words in sources.iter().flat_map(|source| source.split("Severity::").skip(1)) {
            let literal = words.split('"').nth(1).unwrap_or_default();
            let near = words.find('"').is_some_and(|at| at < 40);
            let is_code =
                near && literal.contains('_') && literal.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            assert!(!is_code || known.contains(&literal), "docs/findings has no page for {literal}");
        }
    }
}

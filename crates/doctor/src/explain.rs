//! What each finding means: the pages of docs/doctor.md.

/// The page of documentation that has a section for each finding.
const PAGE: &str = include_str!("../../../docs/doctor.md");

/// The section of a finding's code.
pub fn explain(code: &str) -> Result<String, String> {
    let heading = format!("### `{code}`");
    let start = PAGE.find(&format!("{heading}\n"));
    let Some(section) = start.and_then(|start| PAGE.get(start + heading.len()..)) else {
        return Err(format!("no finding \"{code}\"; there are: {}", codes().collect::<Vec<_>>().join(", ")));
    };
    let end = section.find("\n#").unwrap_or(section.len());
    Ok(format!("{code}\n{}\n", section[..end].trim_end()))
}

/// All codes that are explained.
pub fn codes() -> impl Iterator<Item = &'static str> {
    PAGE.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_explained() {
        assert!(explain("slots_full").is_ok_and(|text| text.contains("worker_connections")));
        assert!(explain("nothing").is_err_and(|error| error.contains("slots_full")));
    }

    /// Every code that the sources give to a finding, here and in `capacity`.
    #[test]
    fn no_code_lacks_its_section() {
        let sources = [
            include_str!("diagnose/live.rs"),
            include_str!("diagnose/events.rs"),
            include_str!("diagnose/processors.rs"),
            include_str!("../../capacity/src/rules.rs"),
        ];
        let known: Vec<&str> = codes().collect();
        for words in sources.iter().flat_map(|source| source.split("Severity::").skip(1)) {
            let literal = words.split('"').nth(1).unwrap_or_default();
            let near = words.find('"').is_some_and(|at| at < 40);
            let is_code =
                near && literal.contains('_') && literal.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            assert!(!is_code || known.contains(&literal), "docs/doctor.md has no section for {literal}");
        }
    }
}

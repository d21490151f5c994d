//! Files of a configuration with some of their lines changed, and the unified diff of that.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;

use capacity::Place;

use crate::input;

/// Lines around a change that a diff shows.
const CONTEXT: usize = 3;

/// How a diff says that a file's last line has no end.
const NO_END: &str = "\n\\ No newline at end of file";

/// Changed files, by name.
#[derive(Default)]
pub struct Patch {
    files: BTreeMap<String, Option<Text>>,
}

/// A file: its lines, and what became of each.
struct Text {
    old: Vec<String>,
    new: Vec<Vec<String>>,
    /// The last line has no end.
    endless: bool,
}

impl Text {
    fn read(file: &str) -> Option<Text> {
        Some(Text::of(&String::from_utf8(input::read(file.as_ref()).ok()?).ok()?))
    }

    fn of(text: &str) -> Text {
        let (whole, endless) = text.strip_suffix('\n').map_or((text, true), |whole| (whole, false));
        // A carriage return stays with its line: `patch` looks at it, too.
        let lines = whole.split('\n').map(str::to_owned);
        let old: Vec<String> = if text.is_empty() { Vec::new() } else { lines.collect() };
        let new = old.iter().map(|line| vec![line.clone()]).collect();
        Text { old, new, endless }
    }

    fn is_changed(&self, index: usize) -> bool {
        match (self.old.get(index), self.new.get(index)) {
            (Some(old), Some(new)) => new.as_slice() != std::slice::from_ref(old),
            _ => false,
        }
    }
}

impl Patch {
    /// Of a file of this name with this text; others are read.
    pub fn of(file: &str, text: &str) -> Patch {
        Patch { files: BTreeMap::from([(file.to_owned(), Some(Text::of(text)))]) }
    }

    fn text(&mut self, file: &str) -> Option<&mut Text> {
        self.files.entry(file.to_owned()).or_insert_with(|| Text::read(file)).as_mut()
    }

    /// What a file says now, without what is changed; empty if it cannot be read.
    pub fn says(&mut self, file: &str) -> String {
        self.text(file).map(|text| text.old.join("\n")).unwrap_or_default()
    }

    /// Changes a line, if `change` knows how. Whether it did.
    fn line(&mut self, place: &Place, change: impl Fn(&str) -> Option<String>) -> bool {
        let index = usize::try_from(place.line).ok().and_then(|line| line.checked_sub(1));
        let lines = index.and_then(|index| self.text(&place.file)?.new.get_mut(index));
        let Some(lines) = lines else { return false };
        for line in lines {
            if let Some(changed) = change(line) {
                *line = changed;
                return true;
            }
        }
        false
    }

    /// Writes the statement of this name on this line anew. `change` is given its words, and gives others.
    pub fn statement(&mut self, place: &Place, name: &str, change: impl Fn(&str) -> Option<String>) -> bool {
        self.line(place, |line| {
            statements(line, name).find_map(|words| {
                let changed = change(line.get(words.clone())?)?;
                Some(format!("{}{changed}{}", line.get(..words.start)?, line.get(words.end..)?))
            })
        })
    }

    /// Writes another statement after the one on this line that has this name and, among others, this word.
    pub fn after(&mut self, place: &Place, name: &str, word: &str, statement: &str) -> bool {
        let more = statement.trim_end_matches(';');
        self.statement(place, name, |words| words.contains(word).then(|| format!("{words}; {more}")))
    }

    /// Writes a statement at the beginning of a file.
    pub fn at_top(&mut self, file: &str, statement: &str) -> bool {
        let lines = self.text(file).and_then(|text| text.new.first_mut());
        lines.is_some_and(|lines| {
            lines.insert(0, statement.to_owned());
            true
        })
    }

    /// Writes a statement into the block that opens with these words on this line, or on any: at its beginning.
    pub fn in_block(&mut self, place: &Place, opening: &str, statement: &str) -> bool {
        let last = self.text(&place.file).map_or(0, |text| text.old.len() as u64);
        let lines = if place.line == 0 { 1..=last } else { place.line..=place.line };
        lines.into_iter().any(|line| {
            let place = Place { file: place.file.clone(), line };
            self.line(&place, |line| {
                let code = line.get(..code(line))?;
                let start = boundaries(code, opening).next()?;
                let brace = start + code.get(start..)?.find('{')?;
                let between = code.get(start + opening.len()..brace)?;
                between
                    .trim()
                    .is_empty()
                    .then(|| format!("{} {statement}{}", &line[..=brace], &line[brace + 1..]))
            })
        })
    }

    /// All changes; empty if there are none.
    pub fn diff(&self) -> String {
        let mut out = String::new();
        for (file, text) in &self.files {
            let Some(text) = text else { continue };
            let hunks = hunks(text);
            if !hunks.is_empty() {
                let name = file.trim_start_matches('/');
                let _ = writeln!(out, "--- a/{name}\n+++ b/{name}");
            }
            let mut grown = 0;
            for lines in hunks {
                hunk(&mut out, text, lines, &mut grown);
            }
        }
        out
    }
}

/// Ranges of lines that are shown: each change with what is around it.
fn hunks(text: &Text) -> Vec<Range<usize>> {
    let mut all: Vec<Range<usize>> = Vec::new();
    for index in (0..text.old.len()).filter(|index| text.is_changed(*index)) {
        let around = index.saturating_sub(CONTEXT)..(index + CONTEXT + 1).min(text.old.len());
        match all.last_mut() {
            Some(last) if last.end >= around.start => last.end = around.end,
            _ => all.push(around),
        }
    }
    all
}

/// One of them. `grown`: how many lines those before it added.
fn hunk(out: &mut String, text: &Text, lines: Range<usize>, grown: &mut usize) {
    let had = lines.len();
    let has: usize = text.new.get(lines.clone()).unwrap_or_default().iter().map(Vec::len).sum();
    let _ = writeln!(out, "@@ -{},{had} +{},{has} @@", lines.start + 1, lines.start + 1 + *grown);
    *grown += has.saturating_sub(had);
    for index in lines {
        let (Some(old), Some(new)) = (text.old.get(index), text.new.get(index)) else { continue };
        let end = if text.endless && index + 1 == text.old.len() { NO_END } else { "" };
        // One that is written anew may be the same as the one that was there.
        let kept = new.iter().rposition(|line| line == old);
        if kept.is_none() {
            let _ = writeln!(out, "-{old}{end}");
        }
        for (nth, line) in new.iter().enumerate() {
            let sign = if kept == Some(nth) { ' ' } else { '+' };
            let end = if nth + 1 == new.len() { end } else { "" };
            let _ = writeln!(out, "{sign}{line}{end}");
        }
    }
}

/// Where a line's comment begins, or where it ends.
fn code(line: &str) -> usize {
    let comment =
        line.match_indices('#').find(|(at, _)| line[..*at].ends_with([' ', '\t', ';', '{', '}']) || *at == 0);
    comment.map_or(line.len(), |(at, _)| at)
}

/// Where these words begin, as words of their own.
fn boundaries<'a>(code: &'a str, words: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(words).map(|(at, _)| at).filter(move |at| {
        let before = code[..*at].chars().next_back();
        let after = code[at + words.len()..].chars().next();
        before.is_none_or(|c| c.is_whitespace() || ";{}".contains(c))
            && after.is_none_or(|c| c.is_whitespace() || c == '{')
    })
}

/// Where the words after a statement's name are, for each of this name that ends on the line.
fn statements<'a>(line: &'a str, name: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
    let code = &line[..code(line)];
    boundaries(code, name).filter_map(move |at| {
        let start = at + name.len();
        let end = code[start..].find(';')?;
        Some(start..start + end)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::process::Command;

    /// What `patch` makes of it, if the machine has one.
    fn applied(text: &str, change: impl Fn(&mut Patch, &str)) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nginx.conf").display().to_string();
        fs::write(&file, text).unwrap();
        let mut patch = Patch::default();
        change(&mut patch, &file);
        let diff = folder.path().join("diff");
        fs::write(&diff, patch.diff()).unwrap();
        let output = Command::new("patch").args(["-p1", "-d", "/", "-i"]).arg(&diff).output().ok()?;
        assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stdout), patch.diff());
        Some(fs::read_to_string(&file).unwrap())
    }

    fn place(file: &str, line: u64) -> Place {
        Place { file: file.to_owned(), line }
    }

    #[test]
    fn lines_change_and_come_in_between() {
        let text = "user www;\nevents {\n}\n# listen 80;\n\n\n\n\n\nhttp { server { listen 80; listen 81 reuseport; } }\n";
        let Some(after) = applied(text, |patch, file| {
            assert!(patch.at_top(file, "worker_rlimit_nofile 4096;"));
            assert!(patch.in_block(&place(file, 0), "events", "worker_connections 1024;"));
            let more = |words: &str| words.contains("81").then(|| format!("{words} backlog=9"));
            assert!(patch.statement(&place(file, 10), "listen", more));
            assert!(patch.after(&place(file, 10), "listen", "80", "server_name x;"));
            assert!(!patch.statement(&place(file, 4), "listen", more), "a comment");
            assert!(!patch.statement(&place(file, 99), "listen", more), "no such line");
        }) else {
            return;
        };
        let wanted = "worker_rlimit_nofile 4096;\nuser www;\nevents { worker_connections 1024;\n}\n# listen 80;\n\n\n\n\n\n\
                      http { server { listen 80; server_name x; listen 81 reuseport backlog=9; } }\n";
        assert_eq!(after, wanted);
    }

    #[test]
    fn the_last_line_may_have_no_end() {
        let change = |patch: &mut Patch, file: &str| {
            patch.at_top(file, "a;");
            patch.in_block(&place(file, 0), "http", "b;");
        };
        let Some(after) = applied("http{}", change) else { return };
        assert_eq!(after, "a;\nhttp{ b;}");
    }

    #[test]
    fn line_ends_of_another_system_stay() {
        let change = |patch: &mut Patch, file: &str| {
            patch.at_top(file, "a;");
            patch.in_block(&place(file, 0), "http", "b;");
        };
        let Some(after) = applied("user www;\r\nhttp {\r\n}\r\n", change) else { return };
        assert_eq!(after, "a;\nuser www;\r\nhttp { b;\r\n}\r\n");
    }

    #[test]
    fn a_line_may_come_before_its_like() {
        let change = |patch: &mut Patch, file: &str| _ = patch.at_top(file, "user www;");
        let Some(after) = applied("user www;\nevents { }\n", change) else { return };
        assert_eq!(after, "user www;\nuser www;\nevents { }\n");
    }

    #[test]
    fn a_file_that_is_not_there_is_left_alone() {
        let mut patch = Patch::default();
        assert!(!patch.at_top("/nowhere/nginx.conf", "x;"));
        assert_eq!(patch.diff(), "");
    }

    proptest! {
        #[test]
        fn no_line_is_too_odd(line in ".{0,60}", name in "[a-z]{1,3}") {
            statements(&line, &name).for_each(|words| assert!(line.get(words).is_some()));
        }
    }
}

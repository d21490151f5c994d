//! A tree back to text, and the dump of `-T`.

use std::fmt::Write as _;

use crate::{Statement, Tree, Word};

impl Tree {
    /// What `-T` prints: every file as it was read, under its name.
    pub fn dump(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for file in &self.files {
            text.extend_from_slice(format!("# configuration file {}:\n", file.path.display()).as_bytes());
            text.extend_from_slice(&file.text);
            text.push(b'\n');
        }
        text
    }

    /// The statements as one configuration, includes in their places. Reads back as the same tree.
    pub fn print(&self) -> Vec<u8> {
        let mut text = Vec::new();
        print(&self.statements, 0, &mut text);
        text
    }
}

fn print(statements: &[Statement], depth: usize, to: &mut Vec<u8>) {
    for statement in statements {
        to.resize(to.len() + depth * 4, b' ');
        word(&statement.name, to);
        for arg in &statement.args {
            to.push(b' ');
            word(arg, to);
        }
        let Some(block) = &statement.body else {
            to.extend_from_slice(b";\n");
            continue;
        };
        to.extend_from_slice(b" {\n");
        print(&block.statements, depth + 1, to);
        to.resize(to.len() + depth * 4, b' ');
        to.extend_from_slice(b"}\n");
    }
}

fn word(word: &Word, to: &mut Vec<u8>) {
    if !word.quoted() && !word.bytes().is_empty() && word.bytes().iter().all(|b| plain(*b)) {
        return to.extend_from_slice(word.bytes());
    }
    to.push(b'"');
    for &byte in word.bytes() {
        if matches!(byte, b'"' | b'\\') {
            to.push(b'\\');
        }
        to.push(byte);
    }
    to.push(b'"');
}

fn plain(byte: u8) -> bool {
    byte > b' ' && !matches!(byte, b';' | b'{' | b'}' | b'"' | b'\'' | b'\\' | b'#')
}

/// Writes `words` as a list for people: `a, b, c`.
pub(crate) fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for word in words {
        let _ = write!(text, "{}{word}", if text.is_empty() { "" } else { ", " });
    }
    text
}

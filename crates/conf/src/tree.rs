//! The configuration as written: statements and blocks, includes expanded, names not yet judged.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::reader::Reader;
use crate::{Error, Inputs, Position, Relative, Tables, Word};

/// What to read.
pub struct Source<'a> {
    /// The main file, by its full name.
    pub file: &'a Path,
    /// nginx's prefix (`-p`), against which modules complete the names of other files.
    pub prefix: &'a Path,
    /// Directives of the `-g` option.
    pub globals: &'a str,
    /// If given, reading stops at the first name that [`read`](crate::read()) would refuse anyway; a hostile file then
    /// costs no more than it has good directives.
    pub tables: Option<&'a Tables>,
}

/// A file that was read.
#[derive(Clone, Debug)]
pub struct File {
    /// Its full name.
    pub path: Arc<Path>,
    /// Its contents.
    pub text: Arc<[u8]>,
}

/// A line of one of the tree's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Index into [`Tree::files`], or [`Mark::OPTION`].
    pub file: u32,
    /// From 1.
    pub line: u32,
}

impl Mark {
    /// The "file" of what stands in the `-g` option.
    pub const OPTION: u32 = u32::MAX;
}

/// A directive with its arguments and, if it has one, its block.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The directive's name.
    pub name: Word,
    /// What follows it.
    pub args: Box<[Word]>,
    /// Present if it ended with `{` rather than `;`.
    pub body: Option<Box<Block>>,
    /// Where its `;` or `{` stands.
    pub at: Mark,
}

/// What stands between braces.
#[derive(Clone, Debug)]
pub struct Block {
    /// In order.
    pub statements: Vec<Statement>,
    /// False if reading stopped inside it.
    pub closed: bool,
    /// Where its `}` stands, or where reading stopped.
    pub end: Mark,
}

impl Statement {
    /// The statements of its block; none if it has no block.
    pub fn statements(&self) -> &[Statement] {
        self.body.as_ref().map_or(&[], |block| &block.statements)
    }
}

/// A configuration as written.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The files read, the main file first, each once.
    pub files: Vec<File>,
    /// The directives of `-g`, then those of the main file.
    pub statements: Vec<Statement>,
    /// The first mistake in the text, where reading stopped. What stands before it is in `statements`.
    pub error: Option<Error>,
    /// The prefix it was read with.
    pub prefix: PathBuf,
    /// The main file's folder: `include` and certificates are named from there.
    pub conf_prefix: PathBuf,
}

impl Tree {
    /// Reads a configuration with everything it includes. Never fails: see [`Tree::error`].
    pub fn read(inputs: &dyn Inputs, source: &Source<'_>) -> Tree {
        let tree = Tree::empty(source.prefix, folder(source.file));
        let mut reader = Reader::new(inputs, source.tables, tree);
        let done = reader.globals(source.globals).and_then(|()| reader.main(source.file));
        reader.finish(done.err())
    }

    /// Reads a text as if it were a file at `path`; for tests, and for a configuration that is in the program.
    pub fn of_text(inputs: &dyn Inputs, path: &Path, text: &str, tables: Option<&Tables>) -> Tree {
        let tree = Tree::empty(folder(path), folder(path));
        let mut reader = Reader::new(inputs, tables, tree);
        let done = reader.text(path, text.as_bytes().into());
        reader.finish(done.err())
    }

    fn empty(prefix: &Path, conf_prefix: &Path) -> Tree {
        Tree {
            files: Vec::new(),
            statements: Vec::new(),
            error: None,
            prefix: prefix.to_path_buf(),
            conf_prefix: conf_prefix.to_path_buf(),
        }
    }

    /// The place of a mark, for people.
    pub fn position(&self, mark: Mark) -> Position {
        let file = self.files.get(mark.file as usize).map(|file| file.path.clone());
        Position { file, line: mark.line }
    }

    /// The full name of a file that the configuration names `name`.
    pub fn full_name(&self, name: &str, relative: Relative) -> PathBuf {
        match relative {
            Relative::Prefix => self.prefix.join(name),
            Relative::Conf => self.conf_prefix.join(name),
        }
    }
}

fn folder(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new("/"))
}

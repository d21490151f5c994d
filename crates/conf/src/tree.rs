//! The configuration as written: statements and blocks, includes expanded, names not yet judged.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::reader::{Reader, Sink};
use crate::{Error, Inputs, Position, Relative, Result, Word, Words};

/// What to read.
pub struct Source<'a> {
    /// The main file, by its full name.
    pub file: &'a Path,
    /// nginx's prefix (`-p`), against which modules complete the names of other files.
    pub prefix: &'a Path,
    /// Directives of the `-g` option.
    pub globals: &'a str,
    /// The main file's contents, if they are not to be read from there: the configuration that is in the program.
    pub text: Option<&'a str>,
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
    pub args: Words,
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
        let mut reader = Reader::new(inputs, Tree::empty(source), Builder::default());
        let error = reader.read(source).err();
        let (mut tree, builder, stopped) = reader.finish();
        tree.statements = builder.finish(stopped);
        tree.error = error;
        tree
    }

    /// Nothing read yet.
    pub(crate) fn empty(source: &Source<'_>) -> Tree {
        Tree {
            files: Vec::new(),
            statements: Vec::new(),
            error: None,
            prefix: source.prefix.to_path_buf(),
            conf_prefix: source.file.parent().unwrap_or(Path::new("/")).to_path_buf(),
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

/// Puts statements into each other.
#[derive(Default)]
struct Builder {
    top: Vec<Statement>,
    open: Vec<(Statement, Vec<Statement>)>,
}

impl Builder {
    fn push(&mut self, statement: Statement) {
        self.open.last_mut().map_or(&mut self.top, |(_, inside)| inside).push(statement);
    }

    fn pop(&mut self, end: Mark, closed: bool) {
        let Some((mut head, statements)) = self.open.pop() else { return };
        head.body = Some(Box::new(Block { statements, closed, end }));
        self.push(head);
    }

    /// The statements, blocks that were left open included.
    fn finish(mut self, stopped: Mark) -> Vec<Statement> {
        while !self.open.is_empty() {
            self.pop(stopped, false);
        }
        self.top
    }
}

impl Sink for Builder {
    fn statement(&mut self, _: &Tree, statement: Statement) -> Result<()> {
        self.push(statement);
        Ok(())
    }
    fn open(&mut self, _: &Tree, head: Statement) -> Result<()> {
        self.open.push((head, Vec::new()));
        Ok(())
    }
    fn close(&mut self, _: &Tree, end: Mark) -> Result<()> {
        self.pop(end, true);
        Ok(())
    }
}

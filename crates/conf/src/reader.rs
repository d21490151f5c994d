//! From files to a tree: blocks, `include`, and the limits that hostile files run into.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::lexer::{Flaw, Lexer, Stop};
use crate::tree::{File, Mark, Source, Statement, Tree};
use crate::{Error, Inputs, Relative, Word, os_error};

/// Blocks in blocks, at most. nginx stops where its stack does; real files stay below ten.
const DEEPEST: usize = 200;
/// Files that include each other, at most.
const DEEPEST_INCLUDE: usize = 64;
/// What files that are included again may add up to, in bytes: enough for snippets in each of ten thousand servers,
/// little enough to give up in time on files that multiply.
const MOST_REPEATED: usize = 128 << 20;
/// What including a file costs even if it is empty, in bytes of the above.
const INCLUDE: usize = 256;

/// A file being read, and those of the same `include` that come after it.
struct Open {
    lexer: Lexer,
    file: u32,
    /// How many blocks were open when it began; it may close no more than it opens.
    depth: usize,
    rest: std::vec::IntoIter<PathBuf>,
    /// The `include` that asked for it.
    asked: Option<Mark>,
}

/// What becomes of the statements.
pub(crate) trait Sink {
    /// A statement that ended with `;`.
    fn statement(&mut self, tree: &Tree, statement: Statement) -> Result<(), Error>;
    /// One that ended with `{`; what comes next is in its block.
    fn open(&mut self, tree: &Tree, head: Statement) -> Result<(), Error>;
    /// The innermost block ended here.
    fn close(&mut self, tree: &Tree, end: Mark) -> Result<(), Error>;
}

/// Reads files, statement by statement.
pub(crate) struct Reader<'a, S> {
    inputs: &'a dyn Inputs,
    sink: S,
    /// The files so far; statements go to the sink.
    tree: Tree,
    by_path: HashMap<PathBuf, u32>,
    open: Vec<Open>,
    /// The blocks that are open: name, and where they begin.
    blocks: Vec<(Word, Mark)>,
    words: Vec<Word>,
    repeated: usize,
}

type Done = Result<(), Error>;

impl<'a, S: Sink> Reader<'a, S> {
    pub(crate) fn new(inputs: &'a dyn Inputs, tree: Tree, sink: S) -> Reader<'a, S> {
        Reader {
            inputs,
            sink,
            tree,
            by_path: HashMap::new(),
            open: Vec::new(),
            blocks: Vec::new(),
            words: Vec::new(),
            repeated: 0,
        }
    }

    /// Reads it all.
    pub(crate) fn read(&mut self, source: &Source<'_>) -> Done {
        self.globals(source.globals)?;
        match source.text {
            Some(text) => self.text(source.file, text.as_bytes().into()),
            None => self.main(source.file),
        }
    }

    /// The files read, and what the sink made of them. Where reading stopped, if it did, is given back too.
    pub(crate) fn finish(self) -> (Tree, S, Mark) {
        let stopped = self.mark();
        (self.tree, self.sink, stopped)
    }

    fn globals(&mut self, text: &str) -> Done {
        if text.is_empty() {
            return Ok(());
        }
        self.start(Lexer::new(text.as_bytes().into(), true), Mark::OPTION);
        self.run()
    }

    fn main(&mut self, path: &Path) -> Done {
        let file = self.file(path, None)?;
        self.start_file(file);
        self.run()
    }

    fn text(&mut self, path: &Path, text: Arc<[u8]>) -> Done {
        let file = self.remember(path, text);
        self.start_file(file);
        self.run()
    }

    fn start(&mut self, lexer: Lexer, file: u32) {
        let depth = self.blocks.len();
        self.open.push(Open { lexer, file, depth, rest: Vec::new().into_iter(), asked: None });
    }

    fn start_file(&mut self, file: u32) {
        let text = self.tree.files[file as usize].text.clone();
        self.start(Lexer::new(text, false), file);
    }

    fn run(&mut self) -> Done {
        let mut words = std::mem::take(&mut self.words);
        while let Some(open) = self.open.last_mut() {
            let stop = open.lexer.next(&mut words).map_err(|flaw| self.flaw(flaw))?;
            match stop {
                Stop::End => self.end_of_file()?,
                Stop::Close => self.close()?,
                Stop::Semicolon | Stop::Open if words[0] == "include" => self.include(stop, &words)?,
                Stop::Semicolon => self.statement(&mut words)?,
                Stop::Open => self.block(&mut words)?,
            }
        }
        self.words = words;
        Ok(())
    }

    fn mark(&self) -> Mark {
        match self.open.last() {
            Some(open) => Mark { file: open.file, line: open.lexer.line },
            None => Mark { file: Mark::OPTION, line: 0 },
        }
    }

    fn error(&self, message: impl Into<String>) -> Error {
        Error::emerg(message).at(self.tree.position(self.mark()))
    }

    fn flaw(&self, flaw: Flaw) -> Error {
        let mark = Mark { line: flaw.line, ..self.mark() };
        let error = Error::emerg(flaw.message).at(self.tree.position(mark));
        match flaw.help {
            Some(help) => error.help(help),
            None => error,
        }
    }

    fn end_of_file(&mut self) -> Done {
        let Some(open) = self.open.last_mut() else { return Ok(()) };
        if self.blocks.len() > open.depth {
            return Err(self.unclosed());
        }
        let (next, asked) = (open.rest.next(), open.asked);
        let Some(path) = next else {
            self.open.pop();
            return Ok(());
        };
        let file = self.included(&path, asked)?;
        let text = self.tree.files[file as usize].text.clone();
        if let Some(open) = self.open.last_mut() {
            (open.file, open.lexer) = (file, Lexer::new(text, false));
        }
        Ok(())
    }

    fn unclosed(&self) -> Error {
        let error = self.error("unexpected end of file, expecting \"}\"");
        match self.blocks.last() {
            Some((name, at)) => {
                error.help(format!("\"{name}\" in {} is not closed", self.tree.position(*at)))
            }
            None => error,
        }
    }

    fn statement(&mut self, words: &mut Vec<Word>) -> Done {
        let statement = taken(words, self.mark());
        self.sink.statement(&self.tree, statement)
    }

    fn block(&mut self, words: &mut Vec<Word>) -> Done {
        let at = self.mark();
        if at.file == Mark::OPTION {
            return Err(self.error("block directives are not supported in -g option"));
        }
        if self.blocks.len() == DEEPEST {
            return Err(self.error(format!("blocks are nested more than {DEEPEST} deep")));
        }
        self.blocks.push((words[0].clone(), at));
        self.sink.open(&self.tree, taken(words, at))
    }

    fn close(&mut self) -> Done {
        if self.open.last().is_none_or(|open| self.blocks.len() == open.depth) {
            return Err(self.error("unexpected \"}\""));
        }
        self.blocks.pop();
        self.sink.close(&self.tree, self.mark())
    }

    fn include(&mut self, stop: Stop, words: &[Word]) -> Done {
        if stop == Stop::Open {
            return Err(self.error("directive \"include\" is not terminated by \";\""));
        }
        let [_, name] = words else {
            return Err(self.error("invalid number of arguments in \"include\" directive"));
        };
        let Some(name) = name.text() else {
            return Err(self.error(format!("file name \"{name}\" is not UTF-8")));
        };
        let full = self.tree.full_name(name, Relative::Conf);
        let asked = self.mark();
        let files = match name.contains(['*', '?', '[']) {
            true => self.inputs.glob(&full.to_string_lossy()).map_err(|error| {
                self.error(format!("glob() \"{}\" failed ({})", full.display(), os_error(&error)))
            })?,
            false => vec![full],
        };
        let mut rest = files.into_iter();
        let Some(first) = rest.next() else { return Ok(()) };
        if self.open.len() == DEEPEST_INCLUDE {
            return Err(self.error(format!("files include each other more than {DEEPEST_INCLUDE} deep")));
        }
        let file = self.included(&first, Some(asked))?;
        self.start_file(file);
        if let Some(open) = self.open.last_mut() {
            (open.rest, open.asked) = (rest, Some(asked));
        }
        Ok(())
    }

    /// The file an `include` asks for, if it may be read (again).
    fn included(&mut self, path: &Path, asked: Option<Mark>) -> Result<u32, Error> {
        let place = |reader: &Self, text: String| match asked {
            Some(asked) => Error::emerg(text).at(reader.tree.position(asked)),
            None => Error::emerg(text),
        };
        let before = self.by_path.get(path).copied();
        // The last open file is over if this one comes after it in the same `include`.
        let over = usize::from(self.open.last().is_some_and(|open| asked.is_some() && open.asked == asked));
        let being_read = &self.open[..self.open.len() - over];
        if before.is_some_and(|file| being_read.iter().any(|open| open.file == file)) {
            return Err(place(self, format!("file \"{}\" includes itself", path.display())));
        }
        let file = self.file(path, asked)?;
        if before.is_some() {
            self.repeated += self.tree.files[file as usize].text.len() + INCLUDE;
        }
        if self.repeated > MOST_REPEATED {
            let text = format!("files included again and again add up to more than {MOST_REPEATED} bytes");
            return Err(place(self, text));
        }
        Ok(file)
    }

    /// A file's index; each is read once.
    fn file(&mut self, path: &Path, asked: Option<Mark>) -> Result<u32, Error> {
        if let Some(file) = self.by_path.get(path) {
            return Ok(*file);
        }
        match self.inputs.read(path) {
            Ok(text) => Ok(self.remember(path, text)),
            Err(error) => {
                let call = if error.kind() == io::ErrorKind::IsADirectory { "pread" } else { "open" };
                let text = format!("{call}() \"{}\" failed ({})", path.display(), os_error(&error));
                let error = Error::emerg(text);
                Err(match asked {
                    Some(asked) => error.at(self.tree.position(asked)),
                    None => error,
                })
            }
        }
    }

    fn remember(&mut self, path: &Path, text: Arc<[u8]>) -> u32 {
        let file = self.tree.files.len() as u32;
        self.tree.files.push(File { path: path.into(), text });
        self.by_path.insert(path.to_path_buf(), file);
        file
    }
}

fn taken(words: &mut Vec<Word>, at: Mark) -> Statement {
    let mut words = words.drain(..);
    let name = words.next().unwrap_or_else(|| Word::new(b"", false));
    Statement { name, args: words.collect(), body: None, at }
}

//! A directive's arguments, read as what they should be, with nginx's words where they are not.

use std::path::PathBuf;

use crate::{Error, Inputs, Position, Result, Scope, Setting, Statement, Tree, Word, value};

/// What every statement of one configuration has in common.
pub(crate) struct Cx<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) inputs: &'a dyn Inputs,
}

/// What a file name that is not absolute is relative to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relative {
    /// nginx's prefix: logs, `root`, temp folders.
    Prefix,
    /// The folder of the main file: `include`, certificates, `auth_basic_user_file`.
    Conf,
}

/// The words after a directive's name, and what is needed to make sense of them.
///
/// Arguments count from 0. The row's arity says how many there are; asking for more is an empty word.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    /// The directive's name. For an entry of a free block, its first word.
    pub directive: &'a str,
    /// The words.
    pub words: &'a [Word],
    statement: &'a Statement,
    cx: &'a Cx<'a>,
}

impl<'a> Args<'a> {
    pub(crate) fn new(directive: &'a str, statement: &'a Statement, cx: &'a Cx<'a>) -> Args<'a> {
        Args { directive, words: &statement.args, statement, cx }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// One as text; empty if it is missing (or not UTF-8, in a directive that takes any bytes).
    pub fn str(&self, i: usize) -> &'a str {
        self.opt(i).unwrap_or_default()
    }

    /// One as text, if it is there.
    pub fn opt(&self, i: usize) -> Option<&'a str> {
        self.words.get(i).and_then(Word::text)
    }

    /// One as it is.
    pub fn bytes(&self, i: usize) -> &'a [u8] {
        self.words.get(i).map_or(&[], Word::bytes)
    }

    /// All as text.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &'a str> + use<'a> {
        self.words.iter().map(|word| word.text().unwrap_or_default())
    }

    /// The name as bytes; for entries of a free block that takes any bytes.
    pub fn name_bytes(&self) -> &'a [u8] {
        self.statement.name.bytes()
    }

    /// A number, as `"x" directive invalid number` has it. What is counted in 32 bits here, and in 64 by nginx, is
    /// without a limit beyond them.
    pub fn number<T: TryFrom<u64>>(&self, i: usize) -> Result<T> {
        let number = value::number(self.bytes(i));
        let number = number.and_then(|n| T::try_from(n).or_else(|_| T::try_from(u32::MAX.into())).ok());
        number.ok_or_else(|| self.complete("invalid number"))
    }

    /// A number within bounds, else nginx's `value must be between ..`.
    pub fn number_within(&self, i: usize, least: u64, most: u64) -> Result<u64> {
        let number = self.number(i)?;
        match () {
            () if most == u64::MAX && number < least => {
                Err(self.error(format!("value must be equal to or greater than {least}")))
            }
            () if number < least || number > most => {
                Err(self.error(format!("value must be between {least} and {most}")))
            }
            () => Ok(number),
        }
    }

    /// Bytes: `8k`, `1m`.
    pub fn size(&self, i: usize) -> Result<u64> {
        value::size(self.bytes(i)).ok_or_else(|| self.invalid())
    }

    /// A number and a size of buffers: two words, neither of them zero.
    pub fn buffers(&self) -> Result<(u64, u64)> {
        let (number, size) = (value::number(self.bytes(0)), value::size(self.bytes(1)));
        let both = number.zip(size).filter(|(number, size)| *number > 0 && *size > 0);
        both.ok_or_else(|| self.invalid())
    }

    /// Bytes where `g` is allowed too.
    pub fn offset(&self, i: usize) -> Result<u64> {
        value::offset(self.bytes(i)).ok_or_else(|| self.invalid())
    }

    /// Milliseconds: `1h30m`, `500ms`, `60`.
    pub fn msec(&self, i: usize) -> Result<u64> {
        value::msec(self.bytes(i)).ok_or_else(|| self.invalid())
    }

    /// Seconds, up to years: `1y`, `30d`, `60`.
    pub fn sec(&self, i: usize) -> Result<u64> {
        value::sec(self.bytes(i)).ok_or_else(|| self.invalid())
    }

    /// `on` or `off`, in any case.
    pub fn flag(&self, i: usize) -> Result<bool> {
        match self.str(i) {
            text if text.eq_ignore_ascii_case("on") => Ok(true),
            text if text.eq_ignore_ascii_case("off") => Ok(false),
            text => Err(self.error(format!(
                "invalid value \"{text}\" in \"{}\" directive, it must be \"on\" or \"off\"",
                self.directive
            ))),
        }
    }

    /// One of several words, in any case.
    pub fn one_of<T: Clone>(&self, i: usize, choices: &[(&str, T)]) -> Result<T> {
        let text = self.str(i);
        let found = choices.iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone()).ok_or_else(|| {
            let names = crate::print::list(choices.iter().map(|(name, _)| *name));
            self.error(format!("invalid value \"{text}\"")).help(format!("it must be one of: {names}"))
        })
    }

    /// The bits of all words, in any case, added to those written before in the block: such directives may be repeated.
    pub fn bits(
        &self,
        at: &mut Scope,
        names: &[(&str, u32)],
        of: impl Fn(&mut Scope) -> &mut Setting<u32>,
    ) -> Result<()> {
        let mut bits = of(at).written().copied().unwrap_or_default();
        for text in self.iter() {
            let found = names.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
            let (_, bit) = found.ok_or_else(|| self.error(format!("invalid value \"{text}\"")))?;
            if bits & bit != 0 {
                at.warn(self.warning(format!("duplicate value \"{text}\"")));
            }
            bits |= bit;
        }
        of(at).put(bits);
        Ok(())
    }

    /// The statements of a free block, each with its own name, words and place.
    pub fn entries(&self) -> Entries<'a> {
        Entries { statements: self.statement.statements().iter(), cx: self.cx }
    }

    /// The statements of a free block, as read.
    pub fn body(&self) -> &'a [Statement] {
        self.statement.statements()
    }

    /// Where the directive stands.
    pub fn at(&self) -> Position {
        self.cx.tree.position(self.statement.at)
    }

    /// Where its block ends.
    pub fn end(&self) -> Position {
        let end = self.statement.body.as_ref().map_or(self.statement.at, |block| block.end);
        self.cx.tree.position(end)
    }

    /// The system, for what a directive has to look up.
    pub fn inputs(&self) -> &'a dyn Inputs {
        self.cx.inputs
    }

    /// The full name of a file.
    pub fn full_name(&self, name: &str, relative: Relative) -> PathBuf {
        self.cx.tree.full_name(name, relative)
    }

    /// The full name of a file below the prefix.
    pub fn prefix_path(&self, name: &str) -> String {
        self.full_name(name, Relative::Prefix).to_string_lossy().into_owned()
    }

    /// The full name of a file in the main file's folder.
    pub fn conf_path(&self, name: &str) -> String {
        self.full_name(name, Relative::Conf).to_string_lossy().into_owned()
    }

    /// An `[emerg]` here, in these words.
    pub fn error(&self, text: impl Into<String>) -> Error {
        Error::emerg(text).at(self.at())
    }

    /// A `[warn]` here, for [`Scope::warn`](crate::Scope::warn).
    pub fn warning(&self, text: impl Into<String>) -> Error {
        Error::warn(text).at(self.at())
    }

    /// A `[notice]` here, for [`Scope::warn`](crate::Scope::warn).
    pub fn notice(&self, text: impl Into<String>) -> Error {
        Error::notice(text).at(self.at())
    }

    /// nginx's `"x" directive invalid value`.
    pub fn invalid(&self) -> Error {
        self.complete("invalid value")
    }

    /// nginx's `invalid parameter "y"`.
    pub fn invalid_parameter(&self, i: usize) -> Error {
        self.error(format!("invalid parameter \"{}\"", self.str(i)))
    }

    fn complete(&self, what: &str) -> Error {
        Error::directive(what).complete(self.directive, || self.at())
    }
}

/// The statements of a free block; none of them has a block itself.
pub struct Entries<'a> {
    statements: std::slice::Iter<'a, Statement>,
    cx: &'a Cx<'a>,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Args<'a>;
    fn next(&mut self) -> Option<Args<'a>> {
        let statement = self.statements.next()?;
        Some(Args::new(statement.name.text().unwrap_or_default(), statement, self.cx))
    }
}

//! Arguments.
use std::path::Path;
use crate::*;
pub struct Args<'a> { pub directive: &'a str, pub words: &'a [Word], pub(crate) statement: &'a Statement, pub inputs: &'a dyn Inputs, pub(crate) prefix: &'a Path, pub(crate) folder: &'a Path }
impl<'a> Args<'a> {
    pub fn str(&self, i: usize) -> &'a str { self.words[i].text().unwrap_or("") }
    pub fn bytes(&self, i: usize) -> &'a [u8] { self.words[i].bytes() }
    pub fn body(&self) -> &'a [Statement] { self.statement.body.as_deref().unwrap_or(&[]) }
    pub fn at(&self) -> Position { self.statement.at.clone() }
    pub fn number<T: TryFrom<u64>>(&self, i: usize) -> Result<T> { self.str(i).parse::<u64>().ok().and_then(|n| T::try_from(n).ok()).ok_or_else(|| Error::directive("invalid number").at(self.at())) }
    pub fn size(&self, i: usize) -> Result<u64> { size(self.bytes(i)).ok_or_else(|| Error::directive("invalid value").at(self.at())) }
    pub fn offset(&self, i: usize) -> Result<u64> { offset(self.bytes(i)).ok_or_else(|| Error::directive("invalid value").at(self.at())) }
    pub fn msec(&self, i: usize) -> Result<u64> { msec(self.bytes(i)).ok_or_else(|| Error::directive("invalid value").at(self.at())) }
    pub fn sec(&self, i: usize) -> Result<u64> { sec(self.bytes(i)).ok_or_else(|| Error::directive("invalid value").at(self.at())) }
    pub fn flag(&self, i: usize) -> Result<bool> { match self.str(i).to_ascii_lowercase().as_str() { "on" => Ok(true), "off" => Ok(false), v => Err(self.fault(format!("invalid value \"{v}\" in \"{}\" directive, it must be \"on\" or \"off\"", self.directive))) } }
    pub fn one_of<T: Copy>(&self, i: usize, all: &[(&str, T)]) -> Result<T> { all.iter().find(|a| a.0 == self.str(i)).map(|a| a.1).ok_or_else(|| self.fault(format!("invalid value \"{}\"", self.str(i)))) }
    pub fn fault(&self, message: String) -> Error { Error::emerg(message).at(self.at()) }
    pub fn error(&self, message: String) -> Error { self.fault(format!("{message} in \"{}\" directive", self.directive)) }
    pub fn prefix_path(&self, p: &str) -> String { self.prefix.join(p).to_string_lossy().into_owned() }
    pub fn conf_path(&self, p: &str) -> String { self.folder.join(p).to_string_lossy().into_owned() }
}

//! Settings.
use crate::{Error, Result};
#[derive(Clone, Copy, Debug)]
pub struct Setting<T>(Option<T>);
impl<T> Default for Setting<T> { fn default() -> Self { Setting(None) } }
impl<T: Clone> Setting<T> {
    pub fn set(&mut self, value: T) -> Result<()> { match self.0.replace(value) { Some(_) => Err(Error::directive("is duplicate")), None => Ok(()) } }
    pub fn inherit(&mut self, outer: &Self) { if self.0.is_none() { self.0.clone_from(&outer.0); } }
    pub fn or(&self, default: T) -> T { self.0.clone().unwrap_or(default) }
    pub fn written(&self) -> Option<&T> { self.0.as_ref() }
}

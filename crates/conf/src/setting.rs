//! Values that are written in a block, or taken from the block around it.

use crate::{Error, Result};

/// A value written at most once per block, and inherited where it is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting<T>(Option<T>);

impl<T> Default for Setting<T> {
    fn default() -> Self {
        Setting(None)
    }
}

impl<T> Setting<T> {
    /// Writes it; a second time is nginx's `"x" directive is duplicate`.
    pub fn set(&mut self, value: T) -> Result<()> {
        match self.0.replace(value) {
            Some(_) => Err(Error::directive("is duplicate")),
            None => Ok(()),
        }
    }
    /// Writes it, whatever was written before: for values that several directives make together.
    pub fn put(&mut self, value: T) {
        self.0 = Some(value);
    }
    /// What was written here or, once inherited, in a block around.
    pub fn written(&self) -> Option<&T> {
        self.0.as_ref()
    }
    /// Whether anything was written.
    pub fn is_written(&self) -> bool {
        self.0.is_some()
    }
}

impl<T: Clone> Setting<T> {
    /// Takes over the outer block's value where none was written here.
    pub fn inherit(&mut self, outer: &Self) {
        if self.0.is_none() {
            self.0.clone_from(&outer.0);
        }
    }
    /// The value, or nginx's default.
    pub fn or(&self, default: T) -> T {
        self.0.clone().unwrap_or(default)
    }
}

/// Values of a directive that may be written many times (`add_header`); inherited only where none is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T>(Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        List(Vec::new())
    }
}

impl<T> List<T> {
    /// Adds one.
    pub fn push(&mut self, value: T) {
        self.0.push(value);
    }
    /// In the order written.
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }
    /// Whether nothing is written.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// One after the other.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }
}

impl<T: Clone> List<T> {
    /// Takes over the outer block's values where none was written here.
    pub fn inherit(&mut self, outer: &Self) {
        if self.0.is_empty() {
            self.0.clone_from(&outer.0);
        }
    }
}

impl<'a, T> IntoIterator for &'a List<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

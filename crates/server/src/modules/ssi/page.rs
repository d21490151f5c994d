//! What the pages of one client's request share: those included see and change it, too.

use std::cell::RefCell;
use std::rc::Rc;

use crate::http::request::Request;

/// This much may be kept for later: blocks, and the values of variables.
const MOST: usize = 16 * 1024 * 1024;

/// See the module.
#[derive(Default)]
pub struct Page {
    variables: Vec<(Vec<u8>, Vec<u8>)>,
    /// Of the last regular expression that matched.
    pub captures: Vec<Vec<u8>>,
    blocks: Vec<(Vec<u8>, Vec<u8>)>,
    /// How many answers were included.
    pub includes: u32,
    held: usize,
}

impl Page {
    /// A variable, or a group of the last match.
    pub fn value(&self, name: &[u8]) -> Option<&[u8]> {
        if let [digit @ b'0'..=b'9'] = name
            && let Some(group) = self.captures.get(usize::from(digit - b'0'))
        {
            return Some(group);
        }
        let variable = self.variables.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(&variable.1)
    }
    /// Sets a variable.
    pub fn set(&mut self, name: &[u8], value: Vec<u8>) {
        self.held += value.len();
        match self.variables.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some(variable) => {
                self.held -= variable.1.len();
                variable.1 = value;
            }
            None => self.variables.push((name.to_vec(), value)),
        }
    }
    /// What follows is a block of this name.
    pub fn begin_block(&mut self, name: &[u8]) {
        self.blocks.push((name.to_vec(), Vec::new()));
    }
    /// Adds to the block that was begun last.
    pub fn add_to_block(&mut self, text: &[u8]) {
        if let Some((_, block)) = self.blocks.last_mut() {
            self.held += text.len();
            block.extend_from_slice(text);
        }
    }
    /// The first block of this name.
    pub fn block(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.blocks.iter().find(|(known, _)| known == name).map(|(_, text)| text.clone())
    }
    /// Whether more is kept than there is room for.
    pub fn is_full(&self) -> bool {
        self.held > MOST
    }
}

/// What a request's pages share.
pub fn of(request: &mut Request) -> Rc<RefCell<Page>> {
    if let Some(page) = request.kept::<Rc<RefCell<Page>>>() {
        return page.clone();
    }
    let page = Rc::new(RefCell::new(Page::default()));
    request.keep(page.clone());
    page
}

/// A variable of the pages, if they have it.
pub fn value(request: &Request, name: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(page) = request.kept::<Rc<RefCell<Page>>>() else { return false };
    let page = page.borrow();
    let value = page.value(name);
    out.extend_from_slice(value.unwrap_or_default());
    value.is_some()
}

//! What a thread keeps for its next requests: buffers, and requests themselves.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;

use super::{BLOCK, Thread};
use crate::http::request::Request;

/// Buffers larger than this are not kept for reuse.
const LARGEST_KEPT: usize = 256 * 1024;
/// So many buffers and requests are kept.
const KEPT: usize = 64;
/// So many of the size of a block or more.
const KEPT_BLOCKS: usize = 16;

/// What was used before and is free.
pub(super) struct Pools {
    // Boxed: a request is large, and changes hands.
    #[expect(clippy::vec_box)]
    requests: RefCell<Vec<Box<Request>>>,
    buffers: RefCell<Vec<Vec<u8>>>,
    blocks: RefCell<Vec<Vec<u8>>>,
    scratch: RefCell<Vec<u8>>,
}

impl Pools {
    pub(super) fn new() -> Pools {
        Pools {
            requests: RefCell::default(),
            buffers: RefCell::default(),
            blocks: RefCell::default(),
            scratch: RefCell::new(vec![0; BLOCK]),
        }
    }
    /// Kept for reuse, requests would keep their generation, too; and what busier times left behind ends here.
    pub(super) fn clear(&self) {
        self.requests.borrow_mut().clear();
        self.buffers.borrow_mut().clear();
        self.blocks.borrow_mut().clear();
    }
}

impl Thread {
    /// The buffer that reads go to; never kept over a wait.
    pub fn scratch(&self) -> RefMut<'_, Vec<u8>> {
        self.pools.scratch.borrow_mut()
    }
    /// An empty buffer, with capacity from its last use.
    pub fn buffer(&self) -> Vec<u8> {
        self.pools.buffers.borrow_mut().pop().unwrap_or_default()
    }
    /// An empty buffer with room for [`BLOCK`] bytes, to read a body into. Nobody holds one while waiting for bytes.
    pub fn block(&self) -> Vec<u8> {
        self.pools.blocks.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(BLOCK))
    }
    /// Takes a buffer back, or a block.
    pub fn give_buffer(&self, mut buffer: Vec<u8>) {
        let (pool, most) = match buffer.capacity() < BLOCK {
            true => (&self.pools.buffers, KEPT),
            false => (&self.pools.blocks, KEPT_BLOCKS),
        };
        let mut buffers = pool.borrow_mut();
        if buffers.len() < most && (1..=LARGEST_KEPT).contains(&buffer.capacity()) {
            buffer.clear();
            buffers.push(buffer);
        }
    }
    /// A request to fill.
    pub fn request(self: &Rc<Self>) -> Box<Request> {
        self.served.set(self.served.get() + 1);
        self.pools.requests.borrow_mut().pop().unwrap_or_else(|| Box::new(Request::new(self)))
    }
    /// Takes a request back.
    pub fn give_request(&self, mut request: Box<Request>) {
        self.served.set(self.served.get() - 1);
        let current = Rc::ptr_eq(&request.generation, &self.generation.borrow());
        if !current || request.buffer.capacity() > LARGEST_KEPT {
            return;
        }
        // With its body go the requests within it, which come here, too.
        request.rest();
        let mut requests = self.pools.requests.borrow_mut();
        if requests.len() < KEPT {
            requests.push(request);
        }
    }
}

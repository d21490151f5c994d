//! The sockets that a thread accepts from.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use reactor::Peer;

use super::Thread;
use crate::worker::admission;

impl Thread {
    /// Listens on these sockets and no others; a socket that stays is not touched.
    pub(super) fn listen(self: &Rc<Self>, wanted: Vec<(u32, Arc<OwnedFd>)>) {
        let mut before = self.listeners.take();
        let mut next = Vec::with_capacity(wanted.len());
        for (tag, fd) in wanted {
            if let Some(i) = before.iter().position(|(old_tag, _, old)| *old_tag == tag && same(old, &fd)) {
                next.push(before.swap_remove(i));
                continue;
            }
            match self.handle.listen(fd.clone(), tag) {
                Ok(listener) => next.push((tag, listener, fd)),
                Err(error) => {
                    self.log_alert(format_args!("epoll_ctl() failed ({})", crate::log::Errno(&error)))
                }
            }
        }
        self.listeners.replace(next);
        for (tag, listener, fd) in before {
            self.handle.unlisten(listener);
            self.accept_rest(tag, &fd);
        }
    }
    /// Who waits at a socket that is about to close has been promised an answer.
    fn accept_rest(self: &Rc<Self>, tag: u32, fd: &OwnedFd) {
        while let Ok((connection, peer)) = sys::net::accept(fd) {
            self.process.accepted.fetch_add(1, Relaxed);
            admission::arrived(self, tag, connection, peer);
        }
    }
    /// Leaves who comes in the accept queues, but for listeners with a reserve of their own.
    pub fn pause_listeners(&self) {
        for (tag, listener, _) in self.listeners.borrow().iter().filter(|(tag, ..)| !self.has_reserve(*tag)) {
            let _ = tag;
            self.handle.pause(*listener);
        }
    }
    /// The reverse of [`Thread::pause_listeners`].
    pub fn resume_listeners(&self) {
        self.listeners.borrow().iter().for_each(|(_, listener, _)| self.handle.resume(*listener));
    }
    fn has_reserve(&self, tag: u32) -> bool {
        self.generation_at(tag).is_some_and(|g| g.shared.find_listener(tag).is_some_and(|l| l.reserve))
    }
    /// A connection from one of the accept queues: from the same as before, unless that is empty or it is the next one's
    /// turn.
    pub fn accept_one(&self, next: bool) -> Option<(u32, OwnedFd, Peer)> {
        let mut listeners = self.listeners.borrow_mut();
        let count = listeners.len();
        if next && count > 1 {
            listeners.rotate_left(1);
        }
        for _ in 0..count {
            let (tag, _, fd) = listeners.first()?;
            if let Ok((connection, peer)) = sys::net::accept(&**fd) {
                return Some((*tag, connection, peer));
            }
            listeners.rotate_left(1);
        }
        None
    }
    /// `overload_wait` of a listener.
    pub fn overload_wait(&self, tag: u32) -> Duration {
        let generation = self.generation_at(tag);
        let found = generation.as_ref().filter(|g| g.shared.find_listener(tag).is_some());
        found.map_or(Duration::ZERO, |g| g.shared.default_plan(tag).core.overload_wait)
    }
}

/// Whether two descriptors are of the same socket.
fn same(a: &OwnedFd, b: &OwnedFd) -> bool {
    sys::file::identity(a).ok() == sys::file::identity(b).ok()
}

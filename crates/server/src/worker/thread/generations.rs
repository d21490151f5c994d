//! Which configuration is in force on a thread: the newest, and for connections of listeners that are no more the last one
//! that had them.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::{Thread, with_current};
use crate::connection::Handle;
use crate::worker::generation::Generation;
use crate::worker::local::LocalGeneration;
use crate::worker::over;

/// How long connections of a listener that was removed are served as it was: nginx's `keepalive_timeout`.
const RETIRED: Duration = Duration::from_secs(75);

/// Puts a generation in force on the loop's thread: its sockets first, then the old ones leave.
pub fn install(_: &Handle, generation: Arc<Generation>, sockets: Vec<(u32, Arc<OwnedFd>)>) {
    with_current(|thread| {
        crate::upstream::follow(thread, &generation, &thread.generation().shared);
        let number = thread.generation().number.wrapping_add(1);
        let old = thread.generation.replace(Rc::new(LocalGeneration::new(generation, number)));
        thread.retire(&old);
        thread.pools.clear();
        thread.listen(sockets);
        thread.forget_unused();
        thread.forget_in_time(old.number);
        thread.inform();
        thread.watched.set(thread.generation().shared.watched);
        if thread.number == 0 && thread.generation().shared.watched && !thread.sampling.replace(true) {
            thread.handle.spawn(crate::chain::sample(thread.clone()));
        }
    });
}

/// A connection that came through this listener of the calling thread is closed.
pub fn closed(listener: u32) {
    with_current(|thread| {
        let mut connections = thread.connections.borrow_mut();
        if let Some(count) = connections.get_mut(listener as usize) {
            *count -= 1;
        }
        drop(connections);
        if !thread.retired.borrow().is_empty() {
            thread.forget_unused();
        }
    });
}

/// Gives a retired generation up for a listener, in the end.
async fn forget(thread: Rc<Thread>, listener: u32, generation: u32) {
    thread.handle.sleep(RETIRED).await;
    let mut retired = thread.retired.borrow_mut();
    if retired.get(&listener).is_some_and(|kept| kept.number == generation) {
        retired.remove(&listener);
    }
}

impl Thread {
    /// The newest configuration.
    pub fn generation(&self) -> Rc<LocalGeneration> {
        self.generation.borrow().clone()
    }
    /// The configuration in force for connections of a listener: the newest, or the last that listened there; `None` when
    /// that is too long ago.
    pub fn generation_at(&self, listener: u32) -> Option<Rc<LocalGeneration>> {
        let newest = self.generation.borrow();
        match newest.shared.find_listener(listener) {
            Some(_) => Some(newest.clone()),
            None => self.retired.borrow().get(&listener).cloned(),
        }
    }
    /// Whether connections of a listener are to end with the response at hand.
    pub fn is_leaving(&self, listener: u32) -> bool {
        self.draining() || self.retired.borrow().contains_key(&listener)
    }
    /// A connection came through a listener.
    pub fn opened(&self, listener: u32) {
        let mut connections = self.connections.borrow_mut();
        let listener = listener as usize;
        if connections.len() <= listener {
            connections.resize(listener + 1, 0);
        }
        connections[listener] += 1;
    }
    /// Gives up what was retired for listeners without connections.
    fn forget_unused(&self) {
        let connections = self.connections.borrow();
        let used = |listener: u32| connections.get(listener as usize).is_some_and(|count| *count > 0);
        self.retired.borrow_mut().retain(|listener, _| used(*listener));
    }
    /// Nobody is served with a generation any more.
    pub fn forget_retired(&self, number: u32) {
        self.retired.borrow_mut().retain(|_, generation| generation.number != number);
    }
    /// What `old` listened to and the newest does not keeps `old`, for as long as an idle connection usually may last.
    fn retire(self: &Rc<Self>, old: &Rc<LocalGeneration>) {
        let newest = self.generation();
        let mut retired = self.retired.borrow_mut();
        retired.retain(|number, _| newest.shared.find_listener(*number).is_none());
        let gone = old.shared.listener_numbers().filter(|n| newest.shared.find_listener(*n).is_none());
        for number in gone {
            retired.insert(number, old.clone());
        }
        if let Some(timeout) = old.shared.shutdown_timeout {
            self.handle.spawn(over::end_one(self.clone(), old.number, timeout));
        }
    }
    /// What is still kept of a generation, connections of whose listeners are there, goes in the end.
    fn forget_in_time(self: &Rc<Self>, generation: u32) {
        let retired = self.retired.borrow();
        for (listener, _) in retired.iter().filter(|(_, kept)| kept.number == generation) {
            self.handle.spawn(forget(self.clone(), *listener, generation));
        }
    }
}

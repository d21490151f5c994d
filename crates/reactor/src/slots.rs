//! Pooled places for futures of one type: a future is put into a place that is already there, polled, and its place
//! given to the next. In the steady state nothing is allocated.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::wake::{BACKGROUND, Doorbell, TaskId, TaskWaker};

/// How many empty places are kept beyond as many as are in use.
const SPARE: usize = 64;

/// The payload of a caught panic.
pub(crate) type Payload = Box<dyn Any + Send>;

struct Slot<F> {
    /// The place; `None` when it was given back to the allocator.
    place: Option<Pin<Box<Option<F>>>>,
    task: Arc<TaskWaker>,
    waker: Waker,
}

/// The futures of one kind on one loop.
pub(crate) struct Slots<F> {
    slots: Vec<Slot<F>>,
    free: Vec<u32>,
    kind: TaskId,
    doorbell: Arc<Doorbell>,
}

impl<F: Future<Output = ()>> Slots<F> {
    /// `kind` is the bit in the ids of these tasks: 0 or [`BACKGROUND`].
    pub(crate) fn new(kind: TaskId, doorbell: Arc<Doorbell>) -> Self {
        Slots { slots: Vec::new(), free: Vec::new(), kind, doorbell }
    }

    /// How many futures have not ended.
    pub(crate) fn busy(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Makes a future in a free place and polls it.
    pub(crate) fn start(&mut self, make: impl FnOnce() -> F) -> Result<(), Payload> {
        let number = self.free.pop().unwrap_or_else(|| self.grow());
        let place = self.slots[number as usize].place.get_or_insert_with(|| Box::pin(None)).as_mut();
        let made = catch_unwind(AssertUnwindSafe(|| {
            let mut place = place;
            place.set(Some(make()));
        }));
        match made {
            Ok(()) => self.poll(number),
            Err(payload) => self.end(number).and(Err(payload)),
        }
    }

    /// Polls a task that was woken. One that has ended in the meantime is left alone.
    pub(crate) fn poll(&mut self, task: TaskId) -> Result<(), Payload> {
        let number = task & !BACKGROUND;
        let Some(slot) = self.slots.get_mut(number as usize) else { return Ok(()) };
        slot.task.taken();
        let Some(future) = slot.place.as_mut().and_then(|place| place.as_mut().as_pin_mut()) else {
            return Ok(());
        };
        let mut context = Context::from_waker(&slot.waker);
        match catch_unwind(AssertUnwindSafe(|| future.poll(&mut context))) {
            Ok(Poll::Pending) => Ok(()),
            Ok(Poll::Ready(())) => self.end(number),
            Err(payload) => self.end(number).and(Err(payload)),
        }
    }

    fn grow(&mut self) -> u32 {
        let number = self.slots.len() as u32;
        let task = Arc::new(TaskWaker::new(number | self.kind, self.doorbell.clone()));
        let waker = Waker::from(task.clone());
        self.slots.push(Slot { place: None, task, waker });
        number
    }

    /// Drops the future in a slot and frees the slot.
    fn end(&mut self, number: u32) -> Result<(), Payload> {
        let crowded = self.free.len() > SPARE + self.busy();
        let slot = &mut self.slots[number as usize];
        let mut surplus = if crowded { slot.place.take() } else { None };
        let place = surplus.as_mut().or(slot.place.as_mut()).map(Pin::as_mut);
        let dropped = catch_unwind(AssertUnwindSafe(|| {
            if let Some(mut place) = place {
                place.set(None);
            }
        }));
        // A clone that outlives the future (two are ours) must not wake the next one in this slot.
        if Arc::strong_count(&slot.task) > 2 {
            slot.task.retire();
            slot.task = Arc::new(TaskWaker::new(number | self.kind, self.doorbell.clone()));
            slot.waker = Waker::from(slot.task.clone());
        }
        self.free.push(number);
        dropped
    }
}

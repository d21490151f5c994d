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

    /// Wakes every task.
    pub(crate) fn wake_all(&self) {
        let busy = self.slots.iter().filter(|slot| slot.place.as_ref().is_some_and(|place| place.is_some()));
        busy.for_each(|slot| slot.waker.wake_by_ref());
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::wake::{Running, next_ready};
    use std::cell::{Cell, RefCell};
    use std::future::poll_fn;
    use std::rc::Rc;

    fn slots<F: Future<Output = ()>>() -> (Slots<F>, Running) {
        let doorbell = Arc::new(Doorbell::new().unwrap());
        let running = Running::enter(&doorbell);
        (Slots::new(0, doorbell), running)
    }

    fn places<F>(slots: &Slots<F>) -> usize {
        slots.slots.iter().filter(|s| s.place.is_some()).count()
    }

    #[test]
    fn one_place_serves_all_that_come_one_after_the_other() {
        let (mut slots, _running) = slots();
        let at_once = || poll_fn(|_| Poll::Ready(()));
        slots.start(at_once).unwrap();
        let first = Arc::as_ptr(&slots.slots[0].task);
        for _ in 0..1000 {
            slots.start(at_once).unwrap();
        }
        assert_eq!((slots.slots.len(), places(&slots), slots.busy()), (1, 1, 0));
        assert_eq!(Arc::as_ptr(&slots.slots[0].task), first, "the waker is the same too");
    }

    #[test]
    fn places_of_a_burst_are_given_back() {
        let (mut slots, _running) = slots();
        let gate = Rc::new(Cell::new(false));
        for _ in 0..1000 {
            let gate = gate.clone();
            slots
                .start(|| poll_fn(move |_| if gate.get() { Poll::Ready(()) } else { Poll::Pending }))
                .unwrap();
        }
        assert_eq!((places(&slots), slots.busy()), (1000, 1000));
        gate.set(true);
        (0..1000).for_each(|task| slots.poll(task).unwrap());
        assert_eq!(slots.busy(), 0);
        assert!(places(&slots) <= 600, "{} places are kept", places(&slots));
        for _ in 0..1000 {
            slots.start(|| unreachable_future(gate.clone())).unwrap_err();
        }
        assert_eq!(slots.slots.len(), 1000);
    }

    fn unreachable_future<F>(_: Rc<Cell<bool>>) -> F {
        panic!("making it fails")
    }

    #[test]
    fn a_stale_waker_wakes_nobody() {
        let (mut slots, _running) = slots();
        let kept = Rc::new(RefCell::new(None));
        let polls = Rc::new(Cell::new(0));
        let future = |ends: bool| {
            let (kept, polls) = (kept.clone(), polls.clone());
            poll_fn(move |cx| {
                polls.set(polls.get() + 1);
                kept.borrow_mut().get_or_insert_with(|| cx.waker().clone());
                if ends { Poll::Ready(()) } else { Poll::Pending }
            })
        };
        slots.start(|| future(true)).unwrap();
        slots.start(|| future(false)).unwrap();
        assert_eq!((slots.slots.len(), polls.get()), (1, 2));
        let stale: Waker = kept.borrow_mut().take().unwrap();
        stale.wake_by_ref();
        std::thread::spawn(move || stale.wake()).join().unwrap();
        slots.doorbell.collect();
        assert_eq!(next_ready(), None);
    }

    #[test]
    fn a_wake_is_queued_once_and_again_after_the_poll() {
        let (mut slots, _running) = slots();
        let waker = Rc::new(RefCell::new(None));
        let theirs = waker.clone();
        let future = poll_fn(move |cx| {
            theirs.replace(Some(cx.waker().clone()));
            Poll::<()>::Pending
        });
        slots.start(|| future).unwrap();
        let wake = || waker.borrow().as_ref().map(Waker::wake_by_ref).unwrap();
        wake();
        wake();
        assert_eq!((next_ready(), next_ready()), (Some(0), None));
        slots.poll(0).unwrap();
        wake();
        assert_eq!((next_ready(), next_ready()), (Some(0), None));
    }

    /// Panics when dropped, unless a panic is under way.
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(std::thread::panicking(), "dropped");
        }
    }

    #[test]
    fn panics_cost_one_future_each() {
        let (mut slots, _running) = slots::<std::pin::Pin<Box<dyn Future<Output = ()>>>>();
        let text = |payload: Payload| *payload.downcast_ref::<&str>().unwrap();
        assert_eq!(slots.start(|| Box::pin(async { panic!("polled") })).map_err(text), Err("polled"));
        assert_eq!(slots.start(|| panic!("made")).map_err(text), Err("made"));
        let bomb = Bomb;
        let dropped = slots.start(|| {
            Box::pin(poll_fn(move |_| {
                let _ = &bomb;
                Poll::Ready(())
            }))
        });
        assert_eq!(dropped.map_err(text), Err("dropped"));
        slots.start(|| Box::pin(async {})).unwrap();
        assert_eq!((slots.slots.len(), slots.busy()), (1, 0));
    }
}

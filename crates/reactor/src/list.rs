//! Doubly linked lists through the entries of a slab, so that an entry can be in a list without an allocation and
//! leave it in constant time.

/// No entry.
pub(crate) const NONE: u32 = u32::MAX;

/// One entry's neighbours in one list. `NONE` at both sides also for an entry that is alone in, or outside of, the list.
#[derive(Clone, Copy)]
pub(crate) struct Link {
    prev: u32,
    next: u32,
}

impl Link {
    pub(crate) const OUT: Link = Link { prev: NONE, next: NONE };

    /// The entry behind this one.
    pub(crate) fn next(self) -> Option<u32> {
        (self.next != NONE).then_some(self.next)
    }
}

/// Finds the link an entry has for one kind of list.
pub(crate) trait Links {
    fn link(&mut self, index: u32) -> &mut Link;
}

/// First and last entry of a list.
#[derive(Clone, Copy)]
pub(crate) struct List {
    head: u32,
    tail: u32,
}

impl List {
    pub(crate) const EMPTY: List = List { head: NONE, tail: NONE };

    pub(crate) fn is_empty(&self) -> bool {
        self.head == NONE
    }

    /// The longest in the list.
    pub(crate) fn first(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    /// Appends an entry that is in no list of this kind.
    pub(crate) fn push_back(&mut self, links: &mut impl Links, index: u32) {
        *links.link(index) = Link { prev: self.tail, next: NONE };
        match self.tail {
            NONE => self.head = index,
            tail => links.link(tail).next = index,
        }
        self.tail = index;
    }

    /// Takes out an entry of this list.
    pub(crate) fn remove(&mut self, links: &mut impl Links, index: u32) {
        let Link { prev, next } = std::mem::replace(links.link(index), Link::OUT);
        match prev {
            NONE => self.head = next,
            prev => links.link(prev).next = next,
        }
        match next {
            NONE => self.tail = prev,
            next => links.link(next).prev = prev,
        }
    }

    /// Takes out the first entry.
    pub(crate) fn pop_front(&mut self, links: &mut impl Links) -> Option<u32> {
        let index = self.first()?;
        self.remove(links, index);
        Some(index)
    }
}

//! What modules attach to a request: things of any type, found by their type.

use std::any::Any;

/// Notes, and the emptied places of earlier ones: requests are pooled, so that one that is like those before it attaches what
/// it needs without allocating.
#[derive(Default)]
pub struct Notes {
    places: Vec<Box<dyn Place>>,
    used: usize,
}

/// An `Option` of some type.
trait Place: Any {
    fn clear(&mut self);
}
impl<T: Any> Place for Option<T> {
    fn clear(&mut self) {
        *self = None;
    }
}

fn of<T: Any>(place: &dyn Place) -> Option<&Option<T>> {
    (place as &dyn Any).downcast_ref()
}
fn of_mut<T: Any>(place: &mut dyn Place) -> Option<&mut Option<T>> {
    (place as &mut dyn Any).downcast_mut()
}

impl Notes {
    /// Attaches one more.
    pub fn keep<T: Any>(&mut self, note: T) {
        self.used += 1;
        let mut places = self.places.iter_mut().filter_map(|place| of_mut::<T>(&mut **place));
        match places.find(|place| place.is_none()) {
            Some(place) => *place = Some(note),
            None => self.places.push(Box::new(Some(note))),
        }
    }
    /// The first of this type.
    pub fn kept<T: Any>(&self) -> Option<&T> {
        if self.used == 0 {
            return None;
        }
        self.places.iter().find_map(|place| of::<T>(&**place)?.as_ref())
    }
    /// As [`Notes::kept`], to change it.
    pub fn kept_mut<T: Any>(&mut self) -> Option<&mut T> {
        self.places.iter_mut().find_map(|place| of_mut::<T>(&mut **place)?.as_mut())
    }
    /// Drops all of this type.
    pub fn forget<T: Any>(&mut self) {
        for place in self.places.iter_mut().filter_map(|place| of_mut::<T>(&mut **place)) {
            self.used -= usize::from(place.take().is_some());
        }
    }
    /// Drops all.
    #[inline]
    pub fn clear(&mut self) {
        if self.used > 0 {
            self.used = 0;
            self.places.iter_mut().for_each(|place| place.clear());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    #[test]
    fn places_are_used_again() {
        let (mut notes, held) = (Notes::default(), Rc::new(()));
        for round in 0..3u32 {
            assert!(notes.kept::<u32>().is_none());
            notes.keep(round);
            notes.keep(held.clone());
            notes.keep(round + 10);
            assert_eq!((notes.kept::<u32>(), notes.kept::<u64>()), (Some(&round), None));
            notes.kept_mut::<u32>().into_iter().for_each(|note| *note += 5);
            assert_eq!(notes.kept::<u32>(), Some(&(round + 5)));
            assert_eq!((Rc::strong_count(&held), notes.places.len()), (2, 3));
            notes.clear();
            assert_eq!(Rc::strong_count(&held), 1);
        }
    }

    #[test]
    fn what_is_forgotten_leaves_the_others() {
        let mut notes = Notes::default();
        notes.keep(1u8);
        notes.keep("text");
        notes.keep(2u8);
        notes.forget::<u8>();
        assert_eq!((notes.kept::<u8>(), notes.kept(), notes.used), (None, Some(&"text"), 1));
        notes.forget::<&str>();
        assert_eq!(notes.used, 0);
        notes.keep(3u8);
        assert_eq!((notes.kept(), notes.places.len()), (Some(&3u8), 3));
    }
}

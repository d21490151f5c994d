//! Which servers of a group a request has tried already.

/// A set of places. The first few cost no allocation, nor does one that is far down a long list.
#[derive(Clone, Debug, Default)]
pub(super) struct Tried {
    /// A bit each for the first 64 places.
    near: u64,
    /// One behind these: most requests try no other.
    far: Option<usize>,
    /// A bit each for any others behind the first 64.
    many: Vec<u64>,
    count: usize,
}

impl Tried {
    pub(super) fn has(&self, place: usize) -> bool {
        match place.checked_sub(64) {
            None => self.near & (1 << place) != 0,
            Some(i) => {
                let bit = |word: &u64| word & (1 << (i % 64)) != 0;
                self.far == Some(place) || self.many.get(i / 64).is_some_and(bit)
            }
        }
    }
    pub(super) fn add(&mut self, place: usize) {
        if self.has(place) {
            return;
        }
        self.count += 1;
        match place.checked_sub(64) {
            None => self.near |= 1 << place,
            Some(_) if self.far.is_none() => self.far = Some(place),
            Some(i) => {
                if self.many.len() <= i / 64 {
                    self.many.resize(i / 64 + 1, 0);
                }
                self.many[i / 64] |= 1 << (i % 64);
            }
        }
    }
    pub(super) fn remove(&mut self, place: usize) {
        if !self.has(place) {
            return;
        }
        self.count -= 1;
        match place.checked_sub(64) {
            None => self.near &= !(1 << place),
            Some(_) if self.far == Some(place) => self.far = None,
            Some(i) => self.many[i / 64] &= !(1 << (i % 64)),
        }
    }
    pub(super) fn clear(&mut self) {
        *self = Tried { many: std::mem::take(&mut self.many), ..Tried::default() };
        self.many.clear();
    }
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }
    /// All of them, in no order.
    pub(super) fn places(&self) -> impl Iterator<Item = usize> {
        let words = std::iter::once(self.near).chain(self.many.iter().copied());
        words.enumerate().flat_map(|(i, word)| bits(word).map(move |bit| i * 64 + bit)).chain(self.far)
    }
}

fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros();
        word &= word.wrapping_sub(1);
        (bit < 64).then_some(bit as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::Tried;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_is_a_set(changes in proptest::collection::vec((any::<bool>(), 0usize..300), 0..60)) {
            let (mut tried, mut model) = (Tried::default(), BTreeSet::new());
            for (add, place) in changes {
                if add {
                    tried.add(place);
                    model.insert(place);
                } else {
                    tried.remove(place);
                    model.remove(&place);
                }
                prop_assert_eq!(tried.len(), model.len());
                prop_assert_eq!(&tried.places().collect::<BTreeSet<_>>(), &model);
                prop_assert!((0..300).all(|i| tried.has(i) == model.contains(&i)));
            }
            tried.clear();
            prop_assert_eq!(tried.places().count() + tried.len(), 0);
        }
    }
}

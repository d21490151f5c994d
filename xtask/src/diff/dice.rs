//! Chance with a seed: one seed is one case, on every machine.

/// A source of choices.
pub struct Dice(fastrand::Rng);

impl Dice {
    /// The choices that belong to this seed.
    pub fn new(seed: u64) -> Dice {
        Dice(fastrand::Rng::with_seed(seed))
    }
    /// A number below `n`; 0 if there is none.
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { self.0.usize(..n) }
    }
    /// True once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
    /// One of these.
    pub fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
    /// Up to `most` of these, each once, in their order.
    pub fn some<'a>(&mut self, most: usize, of: &[&'a str]) -> Vec<&'a str> {
        let wanted = self.below(most + 1);
        let mut taken: Vec<usize> = (0..wanted).map(|_| self.below(of.len())).collect();
        taken.sort_unstable();
        taken.dedup();
        taken.into_iter().map(|i| of[i]).collect()
    }
}

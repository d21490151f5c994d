//! Random numbers for names that nobody should guess, without a system call for each.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

thread_local! {
    /// The standard library's hash is a keyed pseudo-random function; its key comes from the kernel.
    static KEYS: (RandomState, RandomState) = (RandomState::new(), RandomState::new());
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

/// 128 random bits.
pub fn bits() -> [u8; 16] {
    let n = NEXT.replace(NEXT.get().wrapping_add(1));
    let (high, low) = KEYS.with(|(high, low)| (high.hash_one(n), low.hash_one(n)));
    (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
}

/// 32 random bits.
pub fn number() -> u32 {
    let [a, b, c, d, ..] = bits();
    u32::from_be_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_alike() {
        let here: std::collections::HashSet<_> = (0..1000).map(|_| bits()).collect();
        let there = std::thread::spawn(|| (0..1000).map(|_| bits()).collect::<Vec<_>>()).join();
        assert_eq!(here.len(), 1000);
        assert!(there.is_ok_and(|all| all.iter().all(|bits| !here.contains(bits))));
    }
}

//! Whatever stands in a file of the cache, it is an answer or refused; and one that is read is written the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::cached::Cached;

fuzz_target!(|input: &[u8]| {
    if let Ok(cached) = Cached::decode(input) {
        assert_eq!(cached.encode(), &input[..cached.length()]);
    }
});

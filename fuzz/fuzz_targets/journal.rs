//! An exported journal becomes lines; each line has one message, and there is no more of it than there was.
#![no_main]

use std::io::Read;

use doctor::logs::journal::Journal;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut text = Vec::new();
    Journal::new(data).read_to_end(&mut text).expect("memory can be read");
    assert!(text.is_empty() || text.ends_with(b"\n"));
    assert!(text.len() <= data.len().saturating_mul(500));
});

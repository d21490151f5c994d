//! The head of an upstream's response.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::{Method, Progress, ResponseHead, ResponseParser};

fuzz_target!(|bytes: &[u8]| {
    let mut head = ResponseHead::default();
    if ResponseParser::new().parse(bytes, &mut head, 4096) == Ok(Progress::Done) {
        assert!(head.length <= bytes.len());
        if let Ok(framing) = head.framing(Method::Get, bytes) {
            let _ = head.keep_alive(framing, bytes);
        }
    }
});

//! A response's head reads the same however it is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::{Method, Progress, ResponseHead, ResponseParser};

const LIMIT: usize = 256;

fuzz_target!(|input: &[u8]| {
    let mut head = ResponseHead::default();
    let whole = ResponseParser::new().parse(input, &mut head, LIMIT);

    let mut pieces = ResponseHead::default();
    let mut parser = ResponseParser::new();
    let mut cut = Ok(Progress::Partial);
    for end in 0..=input.len() {
        cut = parser.parse(&input[..end], &mut pieces, LIMIT);
        if cut != Ok(Progress::Partial) {
            break;
        }
    }
    // A line that comes in pieces may be refused later than one that is there at once, never accepted.
    let done = Ok(Progress::Done);
    assert_eq!(whole == done, cut == done, "whole: {whole:?}, cut: {cut:?}");
    if whole == done {
        assert_eq!(head.status, pieces.status);
        assert_eq!(head.framing(Method::Get, input), pieces.framing(Method::Get, input));
    }
});

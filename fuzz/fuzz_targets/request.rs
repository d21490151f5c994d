//! A request's head reads the same however it is cut, and nothing in it breaks what looks at it later.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::{Limits, Progress, RequestHead, RequestParser};

fuzz_target!(|input: &[u8]| {
    let limits = Limits { first_buffer: 64, large_buffers: (2, 128), ..Limits::default() };
    let mut head = RequestHead::default();
    let whole = RequestParser::new().parse(input, &mut head, &limits);

    let mut pieces = RequestHead::default();
    let mut parser = RequestParser::new();
    let mut cut = Ok(Progress::Partial);
    for end in 0..=input.len() {
        cut = parser.parse(&input[..end], &mut pieces, &limits);
        if cut != Ok(Progress::Partial) {
            break;
        }
    }
    // A line that comes in pieces may be refused later than one that is there at once, never accepted.
    let done = Ok(Progress::Done);
    assert_eq!(whole == done, cut == done, "whole: {whole:?}, cut: {cut:?}");
    if whole != done {
        return;
    }
    assert_eq!(head.framing(input), pieces.framing(input));
    let _ = head.keep_alive(input);
    let _ = head.expects_continue(input);
});

//! A request's head, and what is made of it before it is served.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::{Limits, Progress, RequestHead, RequestParser};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default();
    let mut whole = RequestHead::default();
    let result = RequestParser::new().parse(bytes, &mut whole, &limits);
    // In two pieces it is the same request.
    let mut parser = RequestParser::new();
    let mut head = RequestHead::default();
    let first = parser.parse(&bytes[..bytes.len() / 2], &mut head, &limits);
    if first == Ok(Progress::Partial) && result == Ok(Progress::Done) {
        assert_eq!(parser.parse(bytes, &mut head, &limits), Ok(Progress::Done));
        assert_eq!((head.length, head.target), (whole.length, whole.target));
    }
    if result != Ok(Progress::Done) {
        return;
    }
    let (mut uri, mut host) = (Vec::new(), Vec::new());
    let _ = wire::uri::normalize(whole.path.of(bytes), true, &mut uri);
    assert!(!uri.windows(4).any(|part| part == b"/../"), "a path climbs");
    let _ = whole.host_name(bytes, &mut host);
    let _ = whole.framing(bytes);
    let _ = (whole.keep_alive(bytes), whole.expects_continue(bytes));
});

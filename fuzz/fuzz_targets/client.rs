//! What a server says over HTTP/2, cut anywhere: nothing grows beyond its bounds, and what is said back are frames.
#![no_main]

use std::task::{Context, Poll, Waker};

use frames::{Client, FrameHead};
use libfuzzer_sys::fuzz_target;

const HEAD: [u8; 3] = [0x82, 0x86, 0x84];
const MOST_BODY: usize = 256 * 1024;

fuzz_target!(|input: &[u8]| {
    let cx = Context::from_waker(Waker::noop());
    let mut client = Client::default();
    let greeting = client.output().len();
    client.note_sent(greeting);
    let ids: Vec<u32> =
        [true, false, true].iter().filter_map(|ends| client.begin(&HEAD, *ends, 1000)).collect();
    let mut said = Vec::new();
    let mut rest = input;
    while let Some((cut, behind)) = rest.split_first() {
        let (part, behind) = behind.split_at((usize::from(*cut) * 4).min(behind.len()));
        rest = behind;
        client.take(part);
        let id = ids[usize::from(*cut) % ids.len()];
        if cut % 4 == 1 {
            let (mut text, mut body, mut trailers) = (Vec::new(), Vec::new(), Vec::new());
            let _ = client.poll_head(id, &cx, &mut text);
            let _ = client.poll_body(id, &cx, &mut body, &mut trailers);
            assert!(body.len() <= MOST_BODY && trailers.len() <= 5000);
        }
        if cut % 4 == 2
            && let Poll::Ready(room) = client.poll_room(id, &cx, 100)
        {
            client.send(id, &vec![0; room], false);
        }
        if cut % 16 == 3 {
            client.forget(id);
        }
        said.extend_from_slice(client.output());
        client.note_sent(client.output().len());
    }
    let mut rest = &said[..];
    while let Some(head) = FrameHead::read(rest) {
        rest = rest.get(9 + head.length..).expect("a whole frame");
    }
    assert!(rest.is_empty());
});

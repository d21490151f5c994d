//! Chunk framing: in any pieces the same body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::chunked::{Decoder, Step};

fn decode(decoder: &mut Decoder, mut bytes: &[u8], body: &mut Vec<u8>) -> Option<bool> {
    loop {
        match decoder.decode(bytes) {
            Ok(Step::Data(data)) => {
                body.extend_from_slice(&bytes[data.clone()]);
                bytes = &bytes[data.end..];
            }
            Ok(Step::More { .. }) => return Some(false),
            Ok(Step::Done { .. }) => return Some(true),
            Err(_) => return None,
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut whole = Vec::new();
    let done = decode(&mut Decoder::new(), bytes, &mut whole);
    let (mut parts, mut decoder) = (Vec::new(), Decoder::new());
    let mut last = Some(false);
    for piece in bytes.chunks(3) {
        last = decode(&mut decoder, piece, &mut parts);
        if last != Some(false) {
            break;
        }
    }
    assert_eq!(done, last);
    if done == Some(true) {
        assert_eq!(whole, parts);
    }
});

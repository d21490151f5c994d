//! A chunked body decodes to the same bytes, or is refused at the same place, however it is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::chunked::{BadChunk, Decoder, Step};

fuzz_target!(|input: &[u8]| {
    let whole = decode(input, input.len().max(1));
    assert_eq!(whole, decode(input, 1));
    assert_eq!(whole, decode(input, 3));
});

/// The body, where it ends in the input, or why it does not; fed in pieces of this size.
fn decode(input: &[u8], piece: usize) -> Result<(Vec<u8>, Option<usize>), BadChunk> {
    let mut decoder = Decoder::with_trailers(64);
    let (mut body, mut at) = (Vec::new(), 0);
    while at < input.len() {
        let part = &input[at..input.len().min(at + piece)];
        match decoder.decode(part)? {
            Step::Data(range) => {
                body.extend_from_slice(&part[range.clone()]);
                at += range.end;
            }
            Step::More { consumed } => at += consumed,
            Step::Done { consumed } => return Ok((body, Some(at + consumed))),
        }
    }
    Ok((body, None))
}

//! Compressed heads and texts of HTTP/2: read or refused, and what was read can be said again.
#![no_main]

use frames::{Decoder, FrameHead, huffman, put_field, unpadded};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut text = Vec::new();
    if huffman::decode(input, &mut text).is_some() {
        let mut packed = Vec::new();
        huffman::encode(&text, &mut packed);
        assert_eq!(packed, input);
    }
    if let Some(head) = FrameHead::read(input) {
        let _ = unpadded(&input[9..], head.flags);
    }
    let mut fields = Vec::new();
    let mut decoder = Decoder::default();
    let read = decoder.decode(input, 4096, &mut text, |name, value| {
        fields.push((name.to_ascii_lowercase(), value.to_vec()));
        fields.len() < 1000
    });
    if read.is_err() {
        return;
    }
    let mut block = Vec::new();
    fields.iter().for_each(|(name, value)| put_field(name, value, &mut block));
    let mut again = Vec::new();
    let read = Decoder::default().decode(&block, usize::MAX, &mut text, |name, value| {
        again.push((name.to_vec(), value.to_vec()));
        true
    });
    assert!(read.is_ok() && again == fields);
});

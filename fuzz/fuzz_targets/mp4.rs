//! No film makes the one who cuts it panic, and what is cut out of it lies within it.
#![no_main]

use formats::mp4::{Cut, Limits, Span, cut};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, u16, bool, &[u8])| {
    let (start, length, key_frame, film) = input;
    let span = Span { start: start.into(), length: length.into(), key_frame };
    let read = |at: u64, into: &mut [u8]| {
        let from = usize::try_from(at).ok().and_then(|at| film.get(at..)?.get(..into.len()));
        into.copy_from_slice(from.ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    };
    let size = film.len() as u64;
    if let Ok(Cut::Part { head, data }) = cut(&read, size, span, &Limits { moov: 1 << 20 }) {
        assert!(data.start <= data.end && data.end <= size);
        assert!(head.len() <= 2 * film.len() + 1024);
    }
});

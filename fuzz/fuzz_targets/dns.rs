//! Whatever a name server sends is an answer, or none; reading it ends.
#![no_main]

use dns::{Kind, MOST_ALIASES, Over, Question, Reply};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let [first, rest @ ..] = bytes else { return };
    let kind = [Kind::A, Kind::Aaaa, Kind::Srv][usize::from(first % 3)];
    let Some(question) = Question::new(0x0102, "a.test", kind) else { return };
    // As it is, and behind a head that fits the question.
    let _ = question.read(rest, Over::Tcp, &mut |_| {});
    let mut like = question.bytes();
    like[2] |= 0x80;
    let counts = rest.len().min(6);
    like[6..6 + counts].copy_from_slice(&rest[..counts]);
    like.extend_from_slice(&rest[counts..]);
    if let Some(Reply::Found(found)) = question.read(&like, Over::Udp, &mut |_| {}) {
        assert_eq!(found.addresses.is_empty(), kind == Kind::Srv);
        assert_ne!(found.services.is_empty(), kind == Kind::Srv);
        assert!(found.addresses.len() + found.services.len() <= 65_535 && MOST_ALIASES > 0);
    }
});

//! `Authorization`, the lines of a user file, and what is stored there: nothing panics, and nobody comes in by chance.
#![no_main]

use formats::password::{credentials, is_slow, stored, verify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &[u8])| {
    let (authorization, file) = input;
    let Some((user, password)) = credentials(authorization) else { return };
    assert!(!user.is_empty() && !user.contains(&b':'));
    let Some(stored) = stored(file, &user) else { return };
    assert!(!stored.contains(&b'\n'));
    // What takes long on purpose is left to its own tests.
    if !is_slow(stored) && verify(&password, stored) == Some(true) {
        assert!(stored.starts_with(b"{PLAIN}") || stored.len() > 20);
    }
});

//! Arguments and cookies are found within what was sent, and by no other name than their own.
#![no_main]

use formats::pairs::{argument, basic_user, cookie};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &[u8])| {
    let (text, name) = input;
    if let Some(value) = argument(text, name) {
        let pair = [name, b"=", value].concat();
        assert!(!value.contains(&b'&'));
        assert!(text.split(|byte| *byte == b'&').any(|part| part.eq_ignore_ascii_case(&pair)));
    }
    if let Some(value) = cookie(text, name) {
        assert!(!value.contains(&b';') && text.len() > name.len() + value.len());
        assert!(text.windows(value.len().max(1)).any(|part| part == value) || value.is_empty());
    }
    let mut user = Vec::new();
    assert_eq!(basic_user(text, &mut user), !user.is_empty());
    assert!(user.len() < text.len().max(1));
});

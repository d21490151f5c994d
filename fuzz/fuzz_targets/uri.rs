//! A normalised path is normal: it begins with a slash, never climbs out, and normalising what it escapes to
//! gives it again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::uri::{escape_uri, normalize};

fuzz_target!(|input: &[u8]| {
    let mut path = Vec::new();
    // Others never get this far: the request line is refused.
    let refused = input.first() != Some(&b'/') || input.contains(&0);
    if refused || normalize(input, true, &mut path).is_err() {
        return;
    }
    assert_eq!(path.first(), Some(&b'/'));
    let mut escaped = Vec::new();
    escape_uri(&path, &mut escaped);
    let mut again = Vec::new();
    normalize(&escaped, false, &mut again).expect("what was normal is a path");
    assert!(!again.windows(4).any(|w| w == b"/../") && !again.ends_with(b"/.."));
    assert_eq!(again, path);
});

//! A configuration: read, printed and read again it is the same.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let inputs = conf::Recorded::default();
    let read = |text: &str| {
        let source =
            conf::Source { file: Path::new("/f/nginx.conf"), prefix: Path::new("/f"), globals: "", text: Some(text) };
        conf::Tree::read(&inputs, &source)
    };
    let tree = read(text);
    if tree.error.is_none() {
        let printed = tree.print();
        let again = read(&printed);
        // A word near nginx's limit may be too long once its quotes are escaped.
        if again.error.is_none() {
            assert_eq!(again.print(), printed);
        }
    }
});

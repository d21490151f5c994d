//! What the documents say is what the tables say.
#![forbid(unsafe_code)]

use std::path::Path;

/// `PLIMSOLL_WRITE_DOCS=1 cargo test -p plimsoll --test documents` writes the page anew.
#[test]
fn the_directive_reference_is_true() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/directives.md");
    let made = server::reference::directives();
    if std::env::var_os("PLIMSOLL_WRITE_DOCS").is_some() {
        std::fs::write(&page, &made).expect("docs/directives.md can be written");
    }
    let written = std::fs::read_to_string(&page).expect("docs/directives.md is there");
    assert!(
        written == made,
        "docs/directives.md is not what the modules' tables say: see this test's comment"
    );
}

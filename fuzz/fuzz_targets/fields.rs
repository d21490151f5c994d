//! The values of headers that mean something to us, and paths.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut out = Vec::new();
    let mut ranges = Vec::new();
    wire::range::parse(bytes, 1000, 100, &mut ranges);
    assert!(ranges.iter().all(|range| range.start < range.end && range.end <= 1000));
    let _ = wire::date::parse(bytes);
    let _ = wire::encoding::accepts(bytes, b"gzip");
    let _ = wire::conditional::etag_matches(bytes, b"\"a\"", true);
    let _ = wire::uri::arg(bytes, b"a");
    wire::uri::unescape(bytes, &mut out);
    out.clear();
    wire::uri::escape_uri(bytes, &mut out);
    let mut back = Vec::new();
    wire::uri::unescape(&out, &mut back);
    let mut host = Vec::new();
    let _ = wire::validate_host(bytes, &mut host);
    let mut headers = wire::Headers::default();
    let _ = wire::parse_fields(bytes, &mut headers);
});

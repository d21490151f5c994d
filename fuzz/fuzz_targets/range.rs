//! `Range` and `Content-Range`: what is stored lies within the content.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::range::{ContentRange, Ranges, begins, parse};

fuzz_target!(|input: (u64, u8, &[u8])| {
    let (length, most, value) = input;
    let length = length >> 1;
    let mut ranges = Vec::new();
    let found = parse(value, length, most.into(), &mut ranges);
    assert_eq!(found == Ranges::Partial, !ranges.is_empty());
    assert!(ranges.len() <= most.into());
    assert!(ranges.iter().all(|range| range.start < range.end && range.end <= length));
    if let [one] = &ranges[..]
        && !value.contains(&b',')
        && !value[6..].trim_ascii_start().starts_with(b"-")
    {
        assert_eq!(one.start, begins(value));
    }
    if let Some(range) = ContentRange::parse(value) {
        assert!(range.part.end > 0);
    }
});

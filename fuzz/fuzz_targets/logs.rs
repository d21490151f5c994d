//! Whatever stands in an error log, a time or a status page is survived, and every line is counted.
#![no_main]

use doctor::logs::error::{Scanner, Window};
use doctor::logs::{Blocks, moment};
use doctor::probe::page::Page;
use doctor::probe::status;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut scanner = Scanner::new(Window::default());
    scanner.read("log", &mut Blocks::new(data)).expect("memory can be read");
    let read = scanner.finish();
    let lines = data.split_inclusive(|byte| *byte == b'\n').count() as u64;
    assert_eq!(read.lines, lines);
    assert!(read.events.iter().map(|event| event.count).sum::<u64>() <= lines);

    let text = String::from_utf8_lossy(data);
    let _ = (moment::of_time_local(data), moment::of_iso8601(data), moment::millis(data));
    let _ = (moment::of_line(data), moment::of_journal(&text));
    let _ = (status::parse(&text), status::parse_own(&text), Page::of_url(&text));
});

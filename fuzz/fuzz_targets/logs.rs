//! Whatever stands in a log, a format or a status page is survived, and every line is counted.
#![no_main]

use doctor::logs::access::Reader;
use doctor::logs::error::{Scanner, Window};
use doctor::logs::{Blocks, moment};
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
    let (format, log) = text.split_once('\n').unwrap_or((&text, ""));
    let mut reader = Reader::new(format);
    reader.read(&mut Blocks::new(log.as_bytes())).expect("memory can be read");
    let access = reader.finish();
    assert!(access.proxied <= access.requests);

    let _ = (moment::of_time_local(data), moment::of_iso8601(data), moment::millis(data));
    let _ = (status::parse(&text), status::split(&text));
});

//! Any log_format and any access log: survived, and every line is counted once.
#![no_main]

use doctor::logs::Blocks;
use doctor::logs::access::Reader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (format, log) = match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (String::from_utf8_lossy(&data[..end]), &data[end + 1..]),
        None => (String::from_utf8_lossy(data), &[][..]),
    };
    let lines = log.split_inclusive(|byte| *byte == b'\n').count() as u64;
    for mut reader in [Reader::new(&format), Reader::guess()] {
        reader.read(&mut Blocks::new(log)).expect("memory can be read");
        let access = reader.finish();
        assert_eq!(access.requests + access.unread, lines);
        assert!(access.proxied <= access.requests);
        assert!(access.concurrency.is_none_or(|found| found.peak <= access.requests));
    }
});

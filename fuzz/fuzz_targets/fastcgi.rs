//! An application's records say the same however they are cut, and use no byte twice.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::fastcgi::{BadRecord, Records, Step};

fuzz_target!(|input: &[u8]| {
    let whole = read(input, input.len().max(1));
    assert_eq!(whole, read(input, 1));
    assert_eq!(whole, read(input, 7));
});

/// Standard output, standard error, and the steps between, as they come in pieces of this size.
type Said = (Vec<u8>, Vec<u8>, Vec<Step>);

fn read(input: &[u8], piece: usize) -> Result<Said, BadRecord> {
    let (mut records, mut said) = (Records::default(), Said::default());
    for part in input.chunks(piece) {
        let mut at = 0;
        loop {
            let (step, used) = records.read(&part[at..])?;
            match step {
                Step::Stdout(range) => said.0.extend_from_slice(&part[at..][range]),
                Step::Stderr(range) => said.1.extend_from_slice(&part[at..][range]),
                Step::More => break,
                step => said.2.push(step),
            }
            at += used;
        }
    }
    Ok(said)
}

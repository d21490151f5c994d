//! A page says the same however it is cut, and none of its bytes is lost before a command.
#![no_main]

use formats::ssi::{Command, Found, OPENING, Parser};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|page: &[u8]| {
    let whole = read(page, page.len().max(1));
    assert_eq!(whole, read(page, 1));
    assert_eq!(whole, read(page, 5));
});

/// The text outside commands, the commands, and how many were broken.
fn read(page: &[u8], piece: usize) -> (Vec<u8>, Vec<Command>, usize) {
    let (mut parser, mut text, mut commands, mut broken) = (Parser::new(64), Vec::new(), Vec::new(), 0);
    for part in page.chunks(piece) {
        let mut at = 0;
        loop {
            match parser.next(&part[at..]) {
                Found::Opening(n) => text.extend_from_slice(&OPENING[..n]),
                Found::Text(n) => {
                    text.extend_from_slice(&part[at..at + n]);
                    at += n;
                }
                Found::Command(n, command) => {
                    at += n;
                    commands.push(command);
                }
                Found::Broken(n, _) => {
                    at += n;
                    broken += 1;
                }
                Found::More => break,
            }
        }
    }
    text.extend_from_slice(&OPENING[..parser.end()]);
    (text, commands, broken)
}

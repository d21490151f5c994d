//! Messages are text, but what they tell of may be no UTF-8: names of files, what clients and upstreams sent. The log has
//! it byte for byte all the same: in a message such a byte is a character that stands for it, and the line that is
//! written has the byte.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Bytes are the last 256 characters of all, which nobody has given a meaning.
const FIRST: u32 = 0x10_FF00;
/// What the UTF-8 of these characters begins with.
const LEAD: u8 = 0xf4;

/// Bytes as text of a message.
pub fn shown(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes)
        && memchr::memchr(LEAD, bytes).is_none()
    {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(bytes.len() + 3);
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match stands_for(character).is_some() {
                true => push(character.encode_utf8(&mut [0; 4]).as_bytes(), &mut shown),
                false => shown.push(character),
            }
        }
        push(chunk.invalid(), &mut shown);
    }
    Cow::Owned(shown)
}
fn push(bytes: &[u8], text: &mut String) {
    text.extend(bytes.iter().filter_map(|byte| char::from_u32(FIRST + u32::from(*byte))));
}

/// A path as text of a message.
pub fn shown_path(path: &Path) -> Cow<'_, str> {
    shown(path.as_os_str().as_bytes())
}

/// As [`shown`], of somebody who may write several lines in one message: an application's account of what went wrong.
pub fn shown_lines(bytes: &[u8]) -> String {
    let mut shown_line = String::new();
    for (i, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if i > 0 {
            push(b"\n", &mut shown_line);
        }
        shown_line.push_str(&shown(line));
    }
    shown_line
}

/// The byte that a character stands for.
pub(super) fn stands_for(character: char) -> Option<u8> {
    u8::try_from(u32::from(character).checked_sub(FIRST)?).ok()
}

/// Puts the bytes where the characters stand for them, from a place of the line on.
pub fn put_back(line: &mut Vec<u8>, start: usize) {
    let Some(first) = memchr::memchr(LEAD, &line[start..]) else { return };
    let mut to = start + first;
    let mut from = to;
    while from < line.len() {
        line[to] = match line[from..] {
            // The lowest two bits of the third byte and the low six of the fourth are those of the byte.
            [0xf4, 0x8f, third @ 0xbc..=0xbf, fourth, ..] => {
                from += 3;
                (third & 3) << 6 | fourth & 0x3f
            }
            [byte, ..] => byte,
            [] => break,
        };
        to += 1;
        from += 1;
    }
    line.truncate(to);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0xf4), Just(0x8f), 0xb0u8..0xc0], 0..40)) {
            let mut line = format!("open() \"{}\"", shown(&bytes)).into_bytes();
            put_back(&mut line, 0);
            prop_assert_eq!(line, [b"open() \"", &bytes[..], b"\""].concat());
            let mut lines = shown_lines(&bytes).into_bytes();
            prop_assert!(!lines.contains(&b'\n'));
            put_back(&mut lines, 0);
            prop_assert_eq!(lines, bytes);
        }
    }

    #[test]
    fn all_bytes_that_are_no_text() {
        let bytes: Vec<u8> = (0x80..=0xff).collect();
        let mut line = shown(&bytes).into_owned().into_bytes();
        assert!(line.len() == 4 * bytes.len() && shown(&bytes).chars().all(|c| stands_for(c).is_some()));
        put_back(&mut line, 0);
        assert_eq!(line, bytes);
        // Also where they make such a character.
        let mut line = shown("\u{10ff80}\u{10fffd}".as_bytes()).into_owned().into_bytes();
        put_back(&mut line, 0);
        assert_eq!(line, "\u{10ff80}\u{10fffd}".as_bytes());
        assert!(matches!(shown("für".as_bytes()), Cow::Borrowed("für")));
    }
}

//! Byte classes, one table look-up each.

/// A set of bytes, as a bit in the table.
#[derive(Clone, Copy)]
pub(crate) struct Class(u8);

/// Not a byte of a method name: nginx takes capitals, `_` and `-`.
pub(crate) const NOT_METHOD: Class = Class(1);
/// Ends a request target: a control, space or DEL.
pub(crate) const TARGET_END: Class = Class(2);
/// What a path is read by: its end, a slash, and what may need normalisation.
pub(crate) const PATH_MARK: Class = Class(4);
/// What arguments are read by: their end, or a fragment.
pub(crate) const ARGS_END: Class = Class(8);
/// Not a byte of a header name nginx holds valid: those are letters, digits and `-`.
pub(crate) const NOT_NAME: Class = Class(16);
/// Cannot be in a header name at all: control, space, DEL, or the colon after it.
pub(crate) const NAME_END: Class = Class(32);
/// May be in a host name (RFC 3986: unreserved, sub-delims).
pub(crate) const HOST: Class = Class(64);
/// Not one of the bytes common in host names that stay as they are: `a-z`, `0-9`, `-`.
pub(crate) const NOT_PLAIN_HOST: Class = Class(128);

static TABLE: [u8; 256] = table();

const fn table() -> [u8; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        table[at] = classes(at as u8);
        at += 1;
    }
    table
}

const fn classes(byte: u8) -> u8 {
    let end = byte <= b' ' || byte == 0x7f;
    let plain = byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let name = plain || byte.is_ascii_uppercase();
    let method = byte.is_ascii_uppercase() || matches!(byte, b'_' | b'-');
    flag(!method, NOT_METHOD)
        | flag(end, TARGET_END)
        | flag(end || matches!(byte, b'%' | b'#' | b'?' | b'/'), PATH_MARK)
        | flag(end || byte == b'#', ARGS_END)
        | flag(!name, NOT_NAME)
        | flag(end || byte == b':', NAME_END)
        | flag(name || is_delimiter(byte), HOST)
        | flag(!plain, NOT_PLAIN_HOST)
}

const fn is_delimiter(byte: u8) -> bool {
    matches!(
        byte,
        b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
    )
}

const fn flag(is: bool, class: Class) -> u8 {
    if is { class.0 } else { 0 }
}

impl Class {
    /// Whether `byte` is in the set.
    #[inline]
    pub(crate) fn has(self, byte: u8) -> bool {
        TABLE[byte as usize] & self.0 != 0
    }

    /// The offset of the first byte from `at` on that is in the set.
    #[inline(always)]
    pub(crate) fn find(self, buf: &[u8], at: usize) -> Option<usize> {
        let rest = buf.get(at..)?;
        Some(at + rest.iter().position(|&byte| self.has(byte))?)
    }
}

/// The offset of the first byte from `at` on that is a colon, a control byte or a space. Names are short: eight
/// bytes at a time cost less here than a call of `memchr` does.
#[inline(always)]
pub(crate) fn colon(buf: &[u8], mut at: usize) -> Option<usize> {
    while let Some(chunk) = buf.get(at..).and_then(<[u8]>::first_chunk) {
        let chunk = u64::from_le_bytes(*chunk);
        let colon = chunk ^ (ONES * b':' as u64);
        // The lowest bit set is right; a borrow can only disturb those above it.
        let found = (below(colon, 1) | below(chunk, b' ' + 1)) & HIGH;
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = buf.get(at..)?;
    Some(at + rest.iter().position(|&byte| byte <= b' ' || byte == b':')?)
}

/// Sets the high bit of each byte below `bound`, up to the first one; other bits are arbitrary.
#[inline(always)]
fn below(bytes: u64, bound: u8) -> u64 {
    bytes.wrapping_sub(ONES * bound as u64) & !bytes
}

/// The offset of the first byte from `at` on that a header value may not hold, or that ends its line: NUL, LF
/// or CR. Values are short: eight bytes at a time cost less here than the call of `memchr3` does.
#[inline(always)]
pub(crate) fn value_end(buf: &[u8], mut at: usize) -> Option<usize> {
    while let Some(chunk) = buf.get(at..).and_then(<[u8]>::first_chunk) {
        let found = below(u64::from_le_bytes(*chunk), b'\r' + 1) & HIGH;
        if found == 0 {
            at += 8;
            continue;
        }
        at += found.trailing_zeros() as usize / 8;
        if matches!(buf[at], 0 | b'\n' | b'\r') {
            return Some(at);
        }
        // Another control byte, a tab mostly.
        at += 1;
    }
    let rest = buf.get(at..)?;
    Some(at + rest.iter().position(|&byte| matches!(byte, 0 | b'\n' | b'\r'))?)
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGH: u64 = ONES << 7;

/// The value of a hexadecimal digit.
#[inline]
pub(crate) fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Where `needle` (lower case) first occurs in `hay`, letters compared without case.
pub(crate) fn find_ignore_case(hay: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    hay.windows(needle.len())
        .position(|window| window[0].eq_ignore_ascii_case(&first) && window.eq_ignore_ascii_case(needle))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bytes_at_a_time_is_one_byte_eight_times() {
        for byte in 0..=255u8 {
            for place in 0..10 {
                let mut buf = *b"Az-09aZbcd:x";
                buf[place] = byte;
                assert_eq!(
                    colon(&buf, 0),
                    buf.iter().position(|&byte| byte <= b' ' || byte == b':'),
                    "{byte} at {place}"
                );
            }
        }
        for byte in 0..=255u8 {
            for place in 0..10 {
                let mut buf = *b"a\tb \x80\xffabcdef";
                buf[place] = byte;
                assert_eq!(
                    value_end(&buf, 0),
                    buf.iter().position(|byte| b"\0\r\n".contains(byte)),
                    "{byte} at {place}"
                );
            }
        }
        assert_eq!((colon(b"abc", 0), colon(b"abcdefgh", 0), colon(b":", 5)), (None, None, None));
    }
}

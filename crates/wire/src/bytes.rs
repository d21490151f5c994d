//! Byte classes, one table look-up each.

/// Byte of a method name: nginx takes capitals, `_` and `-`.
const METHOD: u8 = 1;
/// Byte that ends the plain run of a request target: a control, space or DEL.
const TARGET_STOP: u8 = 2;
/// Byte of a target after which its path may need normalisation (`%`, `#`), or that ends the path (`?`).
const TARGET_MARK: u8 = 4;
/// Byte of a header name nginx holds valid: letter, digit, `-`.
const NAME: u8 = 8;
/// Byte that cannot be in a header name at all: control, space, DEL, or the colon after it.
const NAME_STOP: u8 = 16;
/// Byte that may be in a host name (RFC 3986: unreserved, sub-delims).
const HOST: u8 = 32;

const CLASS: [u8; 256] = table();

const fn table() -> [u8; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        table[at] = class(at as u8);
        at += 1;
    }
    table
}

const fn class(byte: u8) -> u8 {
    let mut class = 0;
    if byte.is_ascii_uppercase() || byte == b'_' || byte == b'-' {
        class |= METHOD;
    }
    if byte <= b' ' || byte == 0x7f {
        class |= TARGET_STOP | NAME_STOP;
    }
    if matches!(byte, b'%' | b'#' | b'?' | b'/') {
        class |= TARGET_MARK;
    }
    if byte.is_ascii_alphanumeric() || byte == b'-' {
        class |= NAME;
    }
    if byte == b':' {
        class |= NAME_STOP;
    }
    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&') {
        class |= HOST;
    }
    if matches!(byte, b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=') {
        class |= HOST;
    }
    class
}

#[inline]
fn is(byte: u8, class: u8) -> bool {
    CLASS[byte as usize] & class != 0
}

#[inline]
pub(crate) fn is_method(byte: u8) -> bool {
    is(byte, METHOD)
}

#[inline]
pub(crate) fn is_target_stop(byte: u8) -> bool {
    is(byte, TARGET_STOP)
}

/// Whether a byte of a path may start something to normalise, or ends the path.
#[inline]
pub(crate) fn is_target_special(byte: u8) -> bool {
    is(byte, TARGET_STOP | TARGET_MARK)
}

#[inline]
pub(crate) fn is_name(byte: u8) -> bool {
    is(byte, NAME)
}

#[inline]
pub(crate) fn is_name_stop(byte: u8) -> bool {
    is(byte, NAME_STOP)
}

#[inline]
pub(crate) fn is_host(byte: u8) -> bool {
    is(byte, HOST)
}

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
    hay.windows(needle.len()).position(|window| window.eq_ignore_ascii_case(needle))
}

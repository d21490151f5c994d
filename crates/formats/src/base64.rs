//! Base64 (RFC 4648, 4 and 5), padded or not.

/// Appends what is decoded; `false` if it is none.
pub fn decode(text: &[u8], out: &mut Vec<u8>) -> bool {
    decode_with(text, [b'+', b'/'], out)
}
/// As [`decode`], with the alphabet for URLs.
pub fn decode_url(text: &[u8], out: &mut Vec<u8>) -> bool {
    decode_with(text, [b'-', b'_'], out)
}

fn decode_with(text: &[u8], last: [u8; 2], out: &mut Vec<u8>) -> bool {
    let end = memchr::memchr(b'=', text).unwrap_or(text.len());
    let text = &text[..end];
    if text.len() % 4 == 1 {
        return false;
    }
    for group in text.chunks(4) {
        let mut bits = 0u32;
        for byte in group {
            let Some(value) = value(*byte, last) else { return false };
            bits = bits << 6 | value;
        }
        bits <<= 6 * (4 - group.len());
        let bytes = [(bits >> 16) as u8, (bits >> 8) as u8, bits as u8];
        out.extend_from_slice(&bytes[..group.len() - 1]);
    }
    true
}

fn value(byte: u8, last: [u8; 2]) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        _ if byte == last[0] => 62,
        _ if byte == last[1] => 63,
        _ => return None,
    }))
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Appends the data encoded, padded.
pub fn encode(data: &[u8], out: &mut Vec<u8>) {
    for group in data.chunks(3) {
        let bits = (0..3).fold(0, |bits, i| bits << 8 | u32::from(*group.get(i).unwrap_or(&0)));
        let digits = [18, 12, 6, 0].map(|shift| DIGITS[(bits >> shift & 63) as usize]);
        out.extend_from_slice(&digits[..=group.len()]);
        out.extend(std::iter::repeat_n(b'=', 3 - group.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(data: Vec<u8>) {
            let (mut text, mut out) = (Vec::new(), Vec::new());
            encode(&data, &mut text);
            prop_assert_eq!(text.len() % 4, 0);
            prop_assert!(decode(&text, &mut out));
            prop_assert_eq!(&out, &data);
            let url: Vec<u8> = text.iter().map(|b| match b { b'+' => b'-', b'/' => b'_', b => *b }).collect();
            out.clear();
            prop_assert!(decode_url(&url, &mut out));
            prop_assert_eq!(out, data);
        }
        #[test]
        fn never_panics(text: Vec<u8>) {
            decode(&text, &mut Vec::new());
            decode_url(&text, &mut Vec::new());
        }
    }

    #[test]
    fn known_texts() {
        let mut out = Vec::new();
        encode(b"light w", &mut out);
        assert_eq!(out, b"bGlnaHQgdw==");
        assert!(!decode(b"a", &mut Vec::new()) && !decode(b"a_bc", &mut Vec::new()));
    }
}

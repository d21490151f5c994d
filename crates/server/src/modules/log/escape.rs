//! `log_format .. escape=`: how the values of variables are kept from breaking a line.

/// How values are escaped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Escape {
    /// `\xXX` for `"`, `\` and what is not printable ASCII; `-` for no value.
    #[default]
    Default,
    /// As JSON strings need it; nothing for no value.
    Json,
    /// As it is; nothing for no value.
    None,
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

impl Escape {
    /// What stands for a variable that has no value.
    pub fn missing(self) -> &'static [u8] {
        match self {
            Escape::Default => b"-",
            Escape::Json | Escape::None => b"",
        }
    }
    fn must(self, byte: u8) -> bool {
        match self {
            Escape::Default => !(32..127).contains(&byte) || byte == b'"' || byte == b'\\',
            Escape::Json => byte < 32 || byte == b'"' || byte == b'\\',
            Escape::None => false,
        }
    }
    /// Escapes `line[start..]` in place.
    pub fn tail(self, line: &mut Vec<u8>, start: usize) {
        // Nearly every value is fine as it is: one look, no copy.
        let Some(first) = line[start..].iter().position(|byte| self.must(*byte)) else { return };
        let value = line.split_off(start + first);
        for byte in value {
            match self {
                _ if !self.must(byte) => line.push(byte),
                Escape::Json => json(line, byte),
                _ => line.extend_from_slice(&[
                    b'\\',
                    b'x',
                    HEX[usize::from(byte >> 4)],
                    HEX[usize::from(byte & 15)],
                ]),
            }
        }
    }
}

fn json(line: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        8 => b'b',
        12 => b'f',
        b'"' | b'\\' => byte,
        _ => {
            let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            line.extend_from_slice(b"\\u00");
            return line.extend_from_slice(&digits);
        }
    };
    line.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn escaped(escape: Escape, value: &[u8]) -> Vec<u8> {
        let mut line = b"\"before: ".to_vec();
        let start = line.len();
        line.extend_from_slice(value);
        escape.tail(&mut line, start);
        line.split_off(start)
    }

    #[test]
    fn as_nginx() {
        assert_eq!(
            escaped(Escape::Default, b"XX\x01\"\\\x7f\xc3 \x1f~"),
            b"XX\\x01\\x22\\x5C\\x7F\\xC3 \\x1F~"
        );
        assert_eq!(
            escaped(Escape::Json, b"a\"\\\n\r\t\x08\x0c\x01\x1f\x7f\xc3/"),
            b"a\\\"\\\\\\n\\r\\t\\b\\f\\u0001\\u001F\x7f\xc3/"
        );
        assert_eq!(escaped(Escape::None, b"a\"\\\n"), b"a\"\\\n");
    }

    fn unescape_hex(mut text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some((&byte, rest)) = text.split_first() {
            text = rest;
            if byte != b'\\' {
                out.push(byte);
                continue;
            }
            assert_eq!(text[0], b'x');
            out.push(u8::from_str_radix(std::str::from_utf8(&text[1..3]).unwrap(), 16).unwrap());
            text = &text[3..];
        }
        out
    }

    fn unescape_json(text: &str) -> String {
        let mut out = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c != '\\' {
                out.push(c);
                continue;
            }
            match chars.next().unwrap() {
                'u' => {
                    let digits: String = chars.by_ref().take(4).collect();
                    out.push(char::from_u32(u32::from_str_radix(&digits, 16).unwrap()).unwrap());
                }
                'n' => out.push('\n'),
                'r' => out.push('\r'),
                't' => out.push('\t'),
                'b' => out.push('\x08'),
                'f' => out.push('\x0c'),
                same => out.push(same),
            }
        }
        out
    }

    proptest! {
        #[test]
        fn default_is_printable_and_reversible(value: Vec<u8>) {
            let text = escaped(Escape::Default, &value);
            prop_assert!(text.iter().all(|b| (32..127).contains(b) && *b != b'"'));
            prop_assert_eq!(unescape_hex(&text), value);
        }
        #[test]
        fn json_is_reversible(value: String) {
            let text = String::from_utf8(escaped(Escape::Json, value.as_bytes())).unwrap();
            prop_assert!(!text.contains(|c| c < ' '));
            prop_assert_eq!(unescape_json(&text), value);
        }
    }
}

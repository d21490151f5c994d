//! Distinguished names, in the two ways OpenSSL writes them.

use crate::der::{OID, Reader, SET};

/// A distinguished name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a>(pub(crate) &'a [u8]);

/// One attribute: its type as an OID, its value with the kind of string it is.
struct Attribute<'a> {
    oid: &'a [u8],
    tag: u8,
    value: &'a [u8],
    whole: &'a [u8],
}

const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const TELETEX: u8 = 0x14;
const IA5: u8 = 0x16;
const UNIVERSAL: u8 = 0x1c;
const BMP: u8 = 0x1e;

/// OpenSSL's short names of attributes.
const SHORT: &[(&[u8], &str)] = &[
    (&[85, 4, 3], "CN"),
    (&[85, 4, 4], "SN"),
    (&[85, 4, 5], "serialNumber"),
    (&[85, 4, 6], "C"),
    (&[85, 4, 7], "L"),
    (&[85, 4, 8], "ST"),
    (&[85, 4, 9], "street"),
    (&[85, 4, 10], "O"),
    (&[85, 4, 11], "OU"),
    (&[85, 4, 12], "title"),
    (&[85, 4, 13], "description"),
    (&[85, 4, 15], "businessCategory"),
    (&[85, 4, 17], "postalCode"),
    (&[85, 4, 41], "name"),
    (&[85, 4, 42], "GN"),
    (&[85, 4, 43], "initials"),
    (&[85, 4, 44], "generationQualifier"),
    (&[85, 4, 46], "dnQualifier"),
    (&[85, 4, 65], "pseudonym"),
    (&[85, 4, 97], "organizationIdentifier"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], "emailAddress"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
];

impl<'a> Name<'a> {
    /// The parts of the name, each of one attribute or several.
    fn parts(self) -> Vec<Vec<Attribute<'a>>> {
        let mut parts = Vec::new();
        let mut reader = Reader(self.0);
        while let Some(set) = reader.next(SET) {
            let mut set = Reader(set);
            let mut part = Vec::new();
            while let Some(mut attribute) = set.sequence() {
                let (Some(oid), Some(value)) = (attribute.next(OID), attribute.any()) else { break };
                part.push(Attribute { oid, tag: value.tag, value: value.content, whole: value.whole });
            }
            parts.push(part);
        }
        parts
    }
    /// Its common names.
    pub(crate) fn common(self) -> Vec<String> {
        const COMMON: &[u8] = &[85, 4, 3];
        self.parts().iter().flatten().filter(|it| it.oid == COMMON).filter_map(Attribute::text).collect()
    }
    /// As RFC 2253 has it: `CN=name,O=organisation`, the last part first.
    pub fn push_rfc2253(self, out: &mut Vec<u8>) {
        for (i, part) in self.parts().iter().rev().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            // Of several attributes, too, the last comes first.
            for (i, attribute) in part.iter().rev().enumerate() {
                if i > 0 {
                    out.push(b'+');
                }
                attribute.push_rfc2253(out);
            }
        }
    }
    /// As OpenSSL wrote it of old: `/O=organisation/CN=name`.
    pub fn push_oneline(self, out: &mut Vec<u8>) {
        for part in self.parts() {
            let mut separator = b'/';
            for attribute in part {
                out.push(separator);
                separator = b'+';
                push_type(attribute.oid, out);
                out.push(b'=');
                for byte in attribute.value {
                    match byte {
                        b' '..=b'~' => out.push(*byte),
                        _ => push_hex(b"\\x", *byte, out),
                    }
                }
            }
        }
    }
}

impl Attribute<'_> {
    fn push_rfc2253(&self, out: &mut Vec<u8>) {
        let known = push_type(self.oid, out);
        out.push(b'=');
        match self.text().filter(|_| known) {
            Some(text) => push_escaped(&text, out),
            None => {
                out.push(b'#');
                self.whole.iter().for_each(|byte| push_hex(b"", *byte, out));
            }
        }
    }
    /// The value as text; `None` where it is no string.
    fn text(&self) -> Option<String> {
        let wide = |size: usize| {
            let units = self.value.chunks(size);
            units
                .map(|unit| {
                    let code = unit.iter().fold(0u32, |code, byte| code << 8 | u32::from(*byte));
                    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
                })
                .collect()
        };
        match self.tag {
            UTF8 => Some(String::from_utf8_lossy(self.value).into_owned()),
            PRINTABLE | IA5 | TELETEX => Some(wide(1)),
            BMP => Some(wide(2)),
            UNIVERSAL => Some(wide(4)),
            _ => None,
        }
    }
}

fn push_escaped(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    for (i, byte) in bytes.iter().enumerate() {
        let first = i == 0 && matches!(byte, b'#' | b' ');
        let last = i + 1 == bytes.len() && *byte == b' ';
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => out.extend_from_slice(&[b'\\', *byte]),
            _ if first || last => out.extend_from_slice(&[b'\\', *byte]),
            b' '..=b'~' => out.push(*byte),
            _ => push_hex(b"\\", *byte, out),
        }
    }
}

fn push_hex(before: &[u8], byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(before);
    out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

/// Writes an attribute's type; `false`: it has no name, the numbers stand for it.
fn push_type(oid: &[u8], out: &mut Vec<u8>) -> bool {
    if let Some((_, name)) = SHORT.iter().find(|(known, _)| *known == oid) {
        out.extend_from_slice(name.as_bytes());
        return true;
    }
    let mut text = String::new();
    let mut arc = 0u64;
    for byte in oid {
        arc = arc << 7 & (u64::MAX >> 1) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            text += &match text.is_empty() {
                true => format!("{}.{}", (arc / 40).min(2), arc - (arc / 40).min(2) * 40),
                false => format!(".{arc}"),
            };
            arc = 0;
        }
    }
    out.extend_from_slice(text.as_bytes());
    false
}

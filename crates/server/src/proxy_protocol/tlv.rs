//! What a PROXY protocol header of version 2 says behind the addresses: values by type (2.2 of its specification).

/// The values, as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tlvs(Box<[u8]>);

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadTlv {
    /// What came is not values.
    Broken,
    /// No type has this name.
    Unknown,
    /// A number that is none.
    Invalid,
}

const TYPES: &[(&[u8], u32)] =
    &[(b"alpn", 0x01), (b"authority", 0x02), (b"unique_id", 0x05), (b"ssl", SSL), (b"netns", 0x30)];
const SSL: u32 = 0x20;
/// Inside the value of `ssl`, behind a byte of flags and the outcome of verification.
const SSL_TYPES: &[(&[u8], u32)] =
    &[(b"version", 0x21), (b"cn", 0x22), (b"cipher", 0x23), (b"sig_alg", 0x24), (b"key_alg", 0x25)];

impl Tlvs {
    /// The bytes behind the addresses.
    pub fn new(bytes: &[u8]) -> Tlvs {
        Tlvs(bytes.into())
    }
    /// Appends the value of a name as nginx has it; `false` if there is none of that type.
    ///
    /// # Errors
    /// For a name that is none, or values that are none.
    pub fn find(&self, name: &[u8], out: &mut Vec<u8>) -> Result<bool, BadTlv> {
        let Some(name) = name.strip_prefix(b"ssl_") else { return value(&self.0, name, TYPES, out) };
        let Some(ssl) = lookup(&self.0, SSL)? else { return Ok(false) };
        let [_, a, b, c, d, rest @ ..] = ssl else { return Err(BadTlv::Broken) };
        if name == b"verify" {
            wire::push_decimal(out, u32::from_be_bytes([*a, *b, *c, *d]).into());
            return Ok(true);
        }
        value(rest, name, SSL_TYPES, out)
    }
}

fn value(tlvs: &[u8], name: &[u8], types: &[(&[u8], u32)], out: &mut Vec<u8>) -> Result<bool, BadTlv> {
    let found = lookup(tlvs, number(name, types)?)?;
    out.extend_from_slice(found.unwrap_or_default());
    Ok(found.is_some())
}

fn number(name: &[u8], types: &[(&[u8], u32)]) -> Result<u32, BadTlv> {
    if let Some(digits) = name.strip_prefix(b"0x") {
        let text = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'));
        return text.and_then(|text| u32::from_str_radix(text, 16).ok()).ok_or(BadTlv::Invalid);
    }
    types.iter().find(|(known, _)| *known == name).map(|(_, number)| *number).ok_or(BadTlv::Unknown)
}

fn lookup(mut tlvs: &[u8], wanted: u32) -> Result<Option<&[u8]>, BadTlv> {
    while !tlvs.is_empty() {
        let [kind, high, low, rest @ ..] = tlvs else { return Err(BadTlv::Broken) };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, after) = rest.split_at_checked(length).ok_or(BadTlv::Broken)?;
        if u32::from(*kind) == wanted {
            return Ok(Some(value));
        }
        tlvs = after;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn find(tlvs: &[u8], name: &str) -> Result<Option<Vec<u8>>, BadTlv> {
        let mut out = Vec::new();
        let found = Tlvs::new(tlvs).find(name.as_bytes(), &mut out)?;
        Ok(found.then_some(out))
    }

    #[test]
    fn values_by_name_and_number() {
        let tlvs = b"\x01\x00\x02h2\x20\x00\x0b\x07\x00\x00\x01\x02\x22\x00\x03cat\xea\x00\x01x";
        assert_eq!(find(tlvs, "alpn"), Ok(Some(b"h2".to_vec())));
        assert_eq!(find(tlvs, "0x01"), Ok(Some(b"h2".to_vec())));
        assert_eq!(find(tlvs, "0xea"), Ok(Some(b"x".to_vec())));
        assert_eq!(find(tlvs, "ssl_verify"), Ok(Some(b"258".to_vec())));
        assert_eq!(find(tlvs, "ssl_cn"), Ok(Some(b"cat".to_vec())));
        assert_eq!(find(tlvs, "ssl_0x22"), Ok(Some(b"cat".to_vec())));
        assert_eq!((find(tlvs, "authority"), find(tlvs, "ssl_version")), (Ok(None), Ok(None)));
        assert_eq!((find(tlvs, "cn"), find(tlvs, "0xq")), (Err(BadTlv::Unknown), Err(BadTlv::Invalid)));
        assert_eq!(find(b"\x02\x00\x05abc", "alpn"), Err(BadTlv::Broken));
        assert_eq!(find(b"\x20\x00\x01a", "ssl_cn"), Err(BadTlv::Broken));
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, name in "(ssl_)?(0x[0-9a-f]{0,3}|alpn|cn|verify)") {
            let _ = find(&bytes, &name);
        }
    }
}

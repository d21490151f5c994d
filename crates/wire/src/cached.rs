//! The file of a cached answer: what stands before its body.
//!
//! ```text
//! magic | check | length of all this | times | sizes | key | vary | etag | head of the answer
//! ```
//! The check covers everything behind it, and the body's length is among the sizes: a file that was cut short or changed
//! is known as such and never served.

/// A file's first bytes; the last one is the format's version.
const MAGIC: [u8; 8] = *b"plimsol\x01";
/// Bytes with a fixed place.
const FIXED: usize = 8 + 8 + 8 + 6 * 8 + 16 + 4 * 4;
/// No header of ours is longer.
const LONGEST: usize = 1 << 20;

/// What is known of a cached answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cached {
    /// Fresh until then; seconds since 1970, as all times here.
    pub valid: u64,
    /// So many seconds longer it may be used while a new one is fetched.
    pub while_updating: u64,
    /// So many seconds longer it may be used when none can be had.
    pub if_error: u64,
    /// When it came, or was last found unchanged.
    pub date: u64,
    /// `Last-Modified`, if it had one.
    pub last_modified: Option<u64>,
    /// Length of the body.
    pub body: u64,
    /// The hash of the requests' headers that `vary` names.
    pub variant: [u8; 16],
    /// What it is the answer to.
    pub key: Vec<u8>,
    /// `Vary`; empty for none.
    pub vary: Vec<u8>,
    /// `ETag`; empty for none.
    pub etag: Vec<u8>,
    /// Status line and headers, as HTTP/1.1 has them.
    pub head: Vec<u8>,
}

/// Why a file is none of ours, or not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotCached {
    /// So many bytes are needed.
    Short(usize),
    /// It is something else, or broken.
    Broken,
}

impl Cached {
    /// Where the body begins.
    #[must_use]
    pub fn length(&self) -> usize {
        FIXED + self.key.len() + self.vary.len() + self.etag.len() + self.head.len()
    }

    /// The file's beginning.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.length());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; 8]);
        let modified = self.last_modified.unwrap_or(u64::MAX);
        let numbers = [self.valid, self.while_updating, self.if_error, self.date, modified, self.body];
        out.extend_from_slice(&(self.length() as u64).to_le_bytes());
        numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        out.extend_from_slice(&self.variant);
        let texts = [&self.key, &self.vary, &self.etag, &self.head];
        texts.iter().for_each(|text| out.extend_from_slice(&(text.len() as u32).to_le_bytes()));
        texts.iter().for_each(|text| out.extend_from_slice(text));
        let check = check(&out[16..]);
        out[8..16].copy_from_slice(&check.to_le_bytes());
        out
    }

    /// Reads a file's beginning.
    ///
    /// # Errors
    /// Where more bytes are needed, and where it is no such file.
    pub fn decode(bytes: &[u8]) -> Result<Cached, NotCached> {
        if !bytes.starts_with(&MAGIC[..bytes.len().min(MAGIC.len())]) {
            return Err(NotCached::Broken);
        }
        let Some(fixed) = bytes.get(..FIXED) else { return Err(NotCached::Short(FIXED)) };
        let mut fields = Fields(&fixed[8..]);
        let sum = fields.long();
        let length = usize::try_from(fields.long()).unwrap_or(usize::MAX);
        if !(FIXED..=LONGEST).contains(&length) {
            return Err(NotCached::Broken);
        }
        let Some(all) = bytes.get(..length) else { return Err(NotCached::Short(length)) };
        if check(&all[16..]) != sum {
            return Err(NotCached::Broken);
        }
        let mut cached = Cached {
            valid: fields.long(),
            while_updating: fields.long(),
            if_error: fields.long(),
            date: fields.long(),
            last_modified: Some(fields.long()).filter(|time| *time != u64::MAX),
            body: fields.long(),
            variant: fields.take(),
            ..Cached::default()
        };
        let sizes = [(); 4].map(|()| u32::from_le_bytes(fields.take()) as usize);
        let mut rest = &all[FIXED..];
        for (text, size) in
            [&mut cached.key, &mut cached.vary, &mut cached.etag, &mut cached.head].into_iter().zip(sizes)
        {
            let Some((own, others)) = rest.split_at_checked(size) else { return Err(NotCached::Broken) };
            *text = own.to_vec();
            rest = others;
        }
        if rest.is_empty() { Ok(cached) } else { Err(NotCached::Broken) }
    }
}

/// The fields with a fixed place, one after the other.
struct Fields<'a>(&'a [u8]);
impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let Some((field, rest)) = self.0.split_first_chunk() else { return [0; N] };
        self.0 = rest;
        *field
    }
    fn long(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

/// FNV-1a: against accidents, not against whoever can write to the folder.
fn check(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn text() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 0..40)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            times in any::<[u32; 6]>(), variant in any::<[u8; 16]>(),
            key in text(), vary in text(), etag in text(), head in text(), cut in any::<prop::sample::Index>(),
        ) {
            let [valid, while_updating, if_error, date, modified, body] = times.map(u64::from);
            let last_modified = (modified % 2 == 0).then_some(modified);
            let cached = Cached {
                valid, while_updating, if_error, date, last_modified, body, variant, key, vary, etag, head,
            };
            let mut bytes = cached.encode();
            prop_assert_eq!(bytes.len(), cached.length());
            bytes.extend_from_slice(b"body");
            prop_assert_eq!(Cached::decode(&bytes), Ok(cached.clone()));
            let cut = cut.index(cached.length());
            match Cached::decode(&bytes[..cut]) {
                Err(NotCached::Short(needed)) => prop_assert!(needed > cut && needed <= cached.length()),
                other => prop_assert!(false, "{:?}", other),
            }
        }

        #[test]
        fn a_changed_byte_is_noticed(at in any::<prop::sample::Index>(), bit in 0..8) {
            let cached = Cached { key: b"key".to_vec(), head: b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), ..Cached::default() };
            let mut bytes = cached.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= 1u8 << bit;
            prop_assert!(Cached::decode(&bytes).is_err());
        }

        #[test]
        fn anything_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Cached::decode(&bytes);
            let _ = Cached::decode(&[&MAGIC[..], &bytes].concat());
        }
    }
}

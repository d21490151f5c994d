//! Lines that are objects of JSON: of all their values only those that are asked for are kept.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Texts and numbers by their names, as texts; `None`: the line is no object.
pub(super) fn pick<'a, const N: usize>(
    line: &'a [u8],
    names: &[&str; N],
) -> Option<[Option<Cow<'a, str>>; N]> {
    let mut json = serde_json::Deserializer::from_slice(line);
    let found = json.deserialize_map(Names(names)).ok()?;
    json.end().ok().map(|()| found)
}

struct Names<'n, const N: usize>(&'n [&'n str; N]);

impl<'de, const N: usize> Visitor<'de> for Names<'_, N> {
    type Value = [Option<Cow<'de, str>>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [const { None }; N];
        while let Some(wanted) = map.next_key_seed(Index(self.0))? {
            match wanted {
                Some(index) => found[index] = map.next_value_seed(Word)?,
                None => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(found)
    }
}

/// Which of the names a key is.
struct Index<'n, const N: usize>(&'n [&'n str; N]);

impl<'de, const N: usize> DeserializeSeed<'de> for Index<'_, N> {
    type Value = Option<usize>;
    fn deserialize<D: Deserializer<'de>>(self, key: D) -> Result<Self::Value, D::Error> {
        key.deserialize_str(self)
    }
}

impl<const N: usize> Visitor<'_> for Index<'_, N> {
    type Value = Option<usize>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }
    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|name| *name == key && !key.is_empty()))
    }
}

/// A text or a number as text; anything else is none.
struct Word;

impl<'de> DeserializeSeed<'de> for Word {
    type Value = Option<Cow<'de, str>>;
    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Self::Value, D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Word {
    type Value = Option<Cow<'de, str>>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text)))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.to_owned())))
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(number.to_string())))
    }
    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(number.to_string())))
    }
    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(number.to_string())))
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
    /// The journal has a text as its bytes where it is no UTF-8.
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = list.next_element_seed(Byte)? {
            bytes.push(byte);
        }
        let bytes: Option<Vec<u8>> = bytes.into_iter().collect();
        Ok(bytes.map(|bytes| Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())))
    }
}

/// A number that is a byte.
struct Byte;

impl<'de> DeserializeSeed<'de> for Byte {
    type Value = Option<u8>;
    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Self::Value, D::Error> {
        Ok(Word.deserialize(value)?.and_then(|word| word.parse().ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn picked(line: &str) -> Option<[Option<String>; 2]> {
        pick(line.as_bytes(), &["a", "b"]).map(|found| found.map(|word| word.map(Cow::into_owned)))
    }

    #[test]
    fn words_of_an_object() {
        let two = |a: &str, b: &str| Some([Some(a.to_owned()), Some(b.to_owned())]);
        assert_eq!(picked("{\"a\":\"x\\n\",\"c\":[{}],\"b\":0.25}"), two("x\n", "0.25"));
        assert_eq!(picked("{\"a\":-7,\"a\":8,\"b\":[104,105]}"), two("8", "hi"));
        assert_eq!(picked("{\"a\":{\"a\":1},\"b\":null} "), Some([None, None]));
        assert_eq!(picked("{\"a\":[1,\"x\"],\"b\":true}"), Some([None, None]));
        assert_eq!((picked("[1]"), picked("{} x"), picked("{\"a\":1")), (None, None, None));
    }

    proptest! {
        #[test]
        fn any_line(line in "[{}\\[\\]\"ab:,1é\\\\u]{0,40}") {
            picked(&line);
            picked(&format!("{{\"a\":{line}}}"));
        }
    }
}

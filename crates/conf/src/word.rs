//! One word of the configuration: bytes, short ones without an allocation.

use std::fmt;
use std::ops::Deref;

const SHORT: usize = 21;

/// A word as written, quotes removed and escapes replaced. Any bytes, as in nginx.
#[derive(Clone)]
pub struct Word(Text);

#[derive(Clone)]
enum Text {
    Short { quoted: bool, len: u8, bytes: [u8; SHORT] },
    Long { quoted: bool, bytes: Box<[u8]> },
}

impl Word {
    /// A word of these bytes; `quoted` says whether it stood in quotes.
    pub fn new(text: &[u8], quoted: bool) -> Word {
        if text.len() > SHORT {
            return Word(Text::Long { quoted, bytes: text.into() });
        }
        let mut bytes = [0; SHORT];
        bytes[..text.len()].copy_from_slice(text);
        Word(Text::Short { quoted, len: text.len() as u8, bytes })
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Text::Short { len, bytes, .. } => &bytes[..usize::from(*len)],
            Text::Long { bytes, .. } => bytes,
        }
    }

    /// The text, unless it is not UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes()).ok()
    }

    /// Whether it stood in quotes.
    pub fn quoted(&self) -> bool {
        match &self.0 {
            Text::Short { quoted, .. } | Text::Long { quoted, .. } => *quoted,
        }
    }
}

/// Words in a row. Most directives have one, and large tables millions of them: it needs no memory of its own.
#[derive(Clone, Default)]
pub struct Words(Few);

#[derive(Clone, Default)]
enum Few {
    #[default]
    None,
    One(Word),
    Many(Box<[Word]>),
}

impl Deref for Words {
    type Target = [Word];
    fn deref(&self) -> &[Word] {
        match &self.0 {
            Few::None => &[],
            Few::One(word) => std::slice::from_ref(word),
            Few::Many(words) => words,
        }
    }
}
impl FromIterator<Word> for Words {
    fn from_iter<I: IntoIterator<Item = Word>>(words: I) -> Words {
        let mut words = words.into_iter();
        match (words.next(), words.next()) {
            (None, _) => Words::default(),
            (Some(word), None) => Words(Few::One(word)),
            (Some(first), Some(second)) => {
                Words(Few::Many([first, second].into_iter().chain(words).collect()))
            }
        }
    }
}
impl<'a> IntoIterator for &'a Words {
    type Item = &'a Word;
    type IntoIter = std::slice::Iter<'a, Word>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl PartialEq for Word {
    fn eq(&self, other: &Word) -> bool {
        self.bytes() == other.bytes()
    }
}
impl Eq for Word {}

impl PartialEq<str> for Word {
    fn eq(&self, other: &str) -> bool {
        self.bytes() == other.as_bytes()
    }
}
impl PartialEq<&str> for Word {
    fn eq(&self, other: &&str) -> bool {
        self.bytes() == other.as_bytes()
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.bytes()))
    }
}
impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_words_are_small() {
        assert_eq!(std::mem::size_of::<Word>(), 24);
        for len in [0, 1, SHORT, SHORT + 1, 4000] {
            let text = vec![b'x'; len];
            assert_eq!(Word::new(&text, true).bytes(), text);
            assert!(Word::new(&text, true).quoted() && !Word::new(&text, false).quoted());
        }
    }

    #[test]
    fn words_in_a_row_are_as_they_were_given() {
        // A large table is a statement for each line.
        assert_eq!(std::mem::size_of::<Words>(), 24);
        for count in 0..5 {
            let row: Vec<Word> = (0..count).map(|i| Word::new(&vec![b'x'; i * 20], false)).collect();
            let words: Words = row.iter().cloned().collect();
            assert_eq!(words[..], row[..]);
        }
    }
}

//! The types of answers that a filter is for: `gzip_types`, `sub_filter_types` ..

use conf::{Args, Error, Scope};

/// A list of types. It begins with `text/html`.
#[derive(Clone, Debug)]
pub struct Types {
    all: bool,
    /// In lower case.
    some: Vec<Box<[u8]>>,
}

impl Default for Types {
    fn default() -> Types {
        Types::of(&[b"text/html"])
    }
}

impl Types {
    /// These.
    pub fn of(kinds: &[&[u8]]) -> Types {
        Types { all: false, some: kinds.iter().map(|kind| (*kind).into()).collect() }
    }
    /// Reads a directive that adds to a list; `*` is all types.
    ///
    /// # Errors
    /// None: what is named twice is warned of.
    pub fn read(
        at: &mut Scope,
        a: &Args<'_>,
        of: impl Fn(&mut Scope) -> &mut Option<Types>,
    ) -> Result<(), Error> {
        let mut types = of(at).take().unwrap_or_default();
        for word in a.words {
            if types.all || word.bytes() == b"*" {
                types.all = true;
                break;
            }
            let kind = word.bytes().to_ascii_lowercase();
            if types.some.iter().any(|known| **known == *kind) {
                let kind = String::from_utf8_lossy(&kind);
                at.warn(a.warning(format!("duplicate MIME type \"{kind}\"")));
                continue;
            }
            types.some.push(kind.into());
        }
        *of(at) = Some(types);
        Ok(())
    }
    /// Whether an answer with this `Content-Type` is meant; its parameters do not count.
    pub fn include(&self, content_type: &[u8]) -> bool {
        if self.all {
            return true;
        }
        let end = content_type.iter().position(|b| matches!(b, b';' | b' ')).unwrap_or(content_type.len());
        let kind = &content_type[..end];
        !kind.is_empty() && self.some.iter().any(|known| kind.eq_ignore_ascii_case(known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_case_do_not_count() {
        let types = Types::of(&[b"text/html", b"text/css"]);
        for (kind, want) in [
            ("text/html", true),
            ("TEXT/CSS; charset=x", true),
            ("text/htm", false),
            ("", false),
            (";", false),
        ] {
            assert_eq!(types.include(kind.as_bytes()), want, "{kind}");
        }
        assert!(Types { all: true, ..types }.include(b""));
    }
}

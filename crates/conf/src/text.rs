//! Texts with variables: `"$scheme://${host}x$1"` in parts. Whether a variable exists is for others to say.

use crate::{Error, Result};

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As it is.
    Text(String),
    /// `$name` or `${name}`.
    Variable(String),
    /// `$1` to `$9`: what a regular expression captured.
    Capture(u8),
}

/// A text in parts; neighbouring texts are one part, no part is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    /// In order.
    pub parts: Vec<Part>,
}

impl Template {
    /// Takes a text apart.
    pub fn parse(text: &str) -> Result<Template> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            push_text(&mut parts, &rest[..dollar]);
            let (part, tail) = reference(&rest[dollar + 1..])?;
            parts.push(part);
            rest = tail;
        }
        push_text(&mut parts, rest);
        Ok(Template { parts })
    }

    /// The text, if it has no variables in it.
    pub fn constant(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The names of the variables in it, as often as they occur.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(name) => Some(name.as_str()),
            _ => None,
        })
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Text(text.to_owned()));
    }
}

/// What follows a dollar, and what follows that.
fn reference(text: &str) -> Result<(Part, &str)> {
    if let Some(digit @ b'1'..=b'9') = text.bytes().next() {
        return Ok((Part::Capture(digit - b'0'), &text[1..]));
    }
    let (braced, text) = match text.strip_prefix('{') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let end = text.bytes().position(|b| !(b.is_ascii_alphanumeric() || b == b'_')).unwrap_or(text.len());
    let (name, tail) = text.split_at(end);
    let tail = match braced {
        true => tail
            .strip_prefix('}')
            .ok_or_else(|| Error::emerg(format!("the closing bracket in \"{name}\" variable is missing"))),
        false => Ok(tail),
    };
    if name.is_empty() {
        return Err(Error::emerg("invalid variable name"));
    }
    Ok((Part::Variable(name.to_owned()), tail?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn parts(text: &str) -> Vec<Part> {
        Template::parse(text).unwrap().parts
    }
    fn text(text: &str) -> Part {
        Part::Text(text.into())
    }
    fn variable(name: &str) -> Part {
        Part::Variable(name.into())
    }

    #[test]
    fn a_text_comes_apart() {
        assert_eq!(
            parts("a$name${b}c$1"),
            [text("a"), variable("name"), variable("b"), text("c"), Part::Capture(1)]
        );
        assert_eq!(parts("$10$0"), [Part::Capture(1), text("0"), variable("0")]);
        assert_eq!(parts("${10}"), [variable("10")]);
        assert_eq!(parts("$a-$b.c"), [variable("a"), text("-"), variable("b"), text(".c")]);
        assert_eq!(parts("$aé"), [variable("a"), text("é")]);
        assert_eq!(parts(""), []);
    }

    #[test]
    fn constants_and_names() {
        assert_eq!(Template::parse("abc").unwrap().constant(), Some("abc"));
        assert_eq!(Template::parse("").unwrap().constant(), Some(""));
        let template = Template::parse("$a$1$b$a").unwrap();
        assert_eq!(template.constant(), None);
        assert_eq!(template.variables().collect::<Vec<_>>(), ["a", "b", "a"]);
    }

    proptest! {
        #[test]
        fn parts_join_to_the_text(text in "[ab1$]{0,12}") {
            let Ok(template) = Template::parse(&text) else { return Ok(()) };
            let joined: String = template.parts.iter().map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Variable(name) => format!("${name}"),
                Part::Capture(n) => format!("${n}"),
            }).collect();
            prop_assert_eq!(joined, text);
            prop_assert!(template.parts.iter().all(|part| *part != Part::Text(String::new())));
        }

        #[test]
        fn nothing_makes_it_panic(text in "[$\\{}a0é ]{0,20}") {
            let _ = Template::parse(&text);
        }
    }
}

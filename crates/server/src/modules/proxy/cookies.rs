//! `proxy_cookie_domain` and `proxy_cookie_path`: what an upstream's cookies are valid for becomes the client's view.

use super::redirect::{Rule, rewrite};
use crate::http::request::Request;

/// The rules of a location.
#[derive(Default)]
pub(super) struct Cookies {
    pub domains: Box<[Rule]>,
    pub paths: Box<[Rule]>,
}

impl Cookies {
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty() && self.paths.is_empty()
    }
    /// Appends a `Set-Cookie` value with its domain and path rewritten.
    pub fn rewrite(&self, request: &mut Request, value: &[u8], out: &mut Vec<u8>) {
        for (i, part) in value.split(|b| *b == b';').enumerate() {
            if i > 0 {
                out.push(b';');
            }
            match attribute(part).filter(|_| i > 0) {
                Some((name, start)) if name.eq_ignore_ascii_case(b"domain") => {
                    self.attribute(&self.domains, request, part, start, out);
                }
                Some((name, start)) if name.eq_ignore_ascii_case(b"path") => {
                    self.attribute(&self.paths, request, part, start, out);
                }
                _ => out.extend_from_slice(part),
            }
        }
    }
    fn attribute(&self, rules: &[Rule], request: &mut Request, part: &[u8], start: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&part[..start]);
        if !rewrite(rules, request, part[start..].trim_ascii(), out) {
            out.extend_from_slice(&part[start..]);
        }
    }
}

/// The name of an attribute and where its value starts.
fn attribute(part: &[u8]) -> Option<(&[u8], usize)> {
    let equals = part.iter().position(|b| *b == b'=')?;
    let spaces = part[equals + 1..].iter().take_while(|b| b.is_ascii_whitespace()).count();
    Some((part[..equals].trim_ascii(), equals + 1 + spaces))
}

#[cfg(test)]
mod tests {
    use super::attribute;

    #[test]
    fn attributes_have_names_and_values() {
        assert_eq!(attribute(b" Domain= x"), Some((&b"Domain"[..], 9)));
        assert_eq!(attribute(b"path=/"), Some((&b"path"[..], 5)));
        assert_eq!(attribute(b" secure"), None);
    }
}

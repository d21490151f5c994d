//! `proxy_cookie_domain`, `proxy_cookie_path` and `proxy_cookie_flags`: what an upstream's cookies are valid for becomes
//! the client's view.

use super::redirect::{Rule, rewrite};
use crate::http::regex::Regex;
use crate::http::request::Request;
use crate::http::variables::Template;

/// The rules of a location.
#[derive(Default)]
pub(super) struct Cookies {
    pub domains: Box<[Rule]>,
    pub paths: Box<[Rule]>,
    pub flags: Box<[Flags]>,
}

/// `proxy_cookie_flags cookie flag ..`
#[derive(Clone)]
pub(super) struct Flags {
    pub cookie: Which,
    pub flags: Box<[Template]>,
}
/// Which cookies.
#[derive(Clone)]
pub(super) enum Which {
    Named(Template),
    Matching(Regex),
}

/// One attribute of a cookie; the first is the cookie itself.
struct Attribute<'a> {
    key: &'a [u8],
    value: Option<Vec<u8>>,
}

impl Cookies {
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty() && self.paths.is_empty() && self.flags.is_empty()
    }
    /// Appends a `Set-Cookie` value with its attributes changed; `false`: no rule changes it, nothing is appended.
    pub fn rewrite(&self, request: &mut Request, value: &[u8], out: &mut Vec<u8>) -> bool {
        let mut attributes: Vec<Attribute<'_>> = value.split(|b| *b == b';').map(attribute).collect();
        if attributes[0].value.is_none() {
            return false;
        }
        let mut changed = false;
        for attribute in &mut attributes[1..] {
            let rules = match attribute.key {
                key if key.eq_ignore_ascii_case(b"domain") => &self.domains,
                key if key.eq_ignore_ascii_case(b"path") => &self.paths,
                _ => continue,
            };
            let Some(value) = &attribute.value else { continue };
            let mut new = Vec::new();
            if rewrite(rules, request, value, &mut new) {
                attribute.value = Some(new);
                changed = true;
            }
        }
        if let Some(wanted) = self.wanted(request, attributes[0].key) {
            wanted.apply(&mut attributes);
            changed = true;
        }
        if changed {
            put(&attributes, out);
        }
        changed
    }

    /// The flags of the first rule for this cookie, if they come to anything.
    fn wanted(&self, request: &mut Request, name: &[u8]) -> Option<Wanted> {
        let rule = self.flags.iter().find(|rule| match &rule.cookie {
            Which::Matching(regex) => regex.capture(name, request),
            Which::Named(template) => rendered(template, request).eq_ignore_ascii_case(name),
        })?;
        let mut wanted = Wanted::default();
        for flag in &rule.flags {
            let flag = rendered(flag, request).to_ascii_lowercase();
            match &flag[..] {
                b"secure" => wanted.secure = Some(true),
                b"nosecure" => wanted.secure = wanted.secure.or(Some(false)),
                b"httponly" => wanted.http_only = Some(true),
                b"nohttponly" => wanted.http_only = wanted.http_only.or(Some(false)),
                b"samesite=strict" => wanted.same_site = Some(Some("Strict")),
                b"samesite=lax" => wanted.same_site = Some(Some("Lax")),
                b"samesite=none" => wanted.same_site = Some(Some("None")),
                b"nosamesite" => wanted.same_site = wanted.same_site.or(Some(None)),
                _ => {}
            }
        }
        (wanted != Wanted::default()).then_some(wanted)
    }
}

fn rendered(template: &Template, request: &mut Request) -> Vec<u8> {
    let mut text = Vec::new();
    template.render(request, &mut text);
    text
}

/// What becomes of each flag; `None` leaves it as it is.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Wanted {
    secure: Option<bool>,
    http_only: Option<bool>,
    same_site: Option<Option<&'static str>>,
}
impl Wanted {
    fn apply(self, attributes: &mut Vec<Attribute<'_>>) {
        flag(attributes, b"Secure", self.secure);
        flag(attributes, b"HttpOnly", self.http_only);
        let Some(wanted) = self.same_site else { return };
        let here = |a: &Attribute<'_>| a.key.eq_ignore_ascii_case(b"samesite");
        match (attributes.iter().skip(1).position(here), wanted) {
            (Some(at), Some(wanted)) => {
                let old = &mut attributes[at + 1];
                let same = |value: &Vec<u8>| value.eq_ignore_ascii_case(wanted.as_bytes());
                if !old.value.as_ref().is_some_and(same) {
                    *old = Attribute { key: b"SameSite", value: Some(wanted.into()) };
                }
            }
            (None, Some(wanted)) => {
                attributes.push(Attribute { key: b"SameSite", value: Some(wanted.into()) })
            }
            (_, None) => drop_all(attributes, here),
        }
    }
}

fn flag(attributes: &mut Vec<Attribute<'_>>, name: &'static [u8], wanted: Option<bool>) {
    let here = |a: &Attribute<'_>| a.key.eq_ignore_ascii_case(name);
    match wanted {
        Some(true) if !attributes.iter().skip(1).any(here) => {
            attributes.push(Attribute { key: name, value: None })
        }
        Some(false) => drop_all(attributes, here),
        _ => {}
    }
}

fn drop_all(attributes: &mut Vec<Attribute<'_>>, which: impl Fn(&Attribute<'_>) -> bool) {
    let mut first = true;
    attributes.retain(|a| std::mem::take(&mut first) || !which(a));
}

fn attribute(part: &[u8]) -> Attribute<'_> {
    match part.iter().position(|b| *b == b'=') {
        Some(at) => Attribute { key: spaceless(&part[..at]), value: Some(spaceless(&part[at + 1..]).into()) },
        None => Attribute { key: spaceless(part), value: None },
    }
}
fn spaceless(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

fn put(attributes: &[Attribute<'_>], out: &mut Vec<u8>) {
    for (i, attribute) in attributes.iter().enumerate() {
        if i > 0 {
            out.extend_from_slice(b"; ");
        }
        out.extend_from_slice(attribute.key);
        if let Some(value) = &attribute.value {
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(cookie: &str, wanted: Wanted) -> String {
        let mut attributes: Vec<_> = cookie.as_bytes().split(|b| *b == b';').map(attribute).collect();
        wanted.apply(&mut attributes);
        let mut out = Vec::new();
        put(&attributes, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn flags_come_and_go() {
        let on = Wanted { secure: Some(true), http_only: Some(true), same_site: Some(Some("Lax")) };
        assert_eq!(with("secure=1; path=/", on), "secure=1; path=/; Secure; HttpOnly; SameSite=Lax");
        assert_eq!(with("a=1;SECURE; samesite = lax", on), "a=1; SECURE; samesite=lax; HttpOnly");
        let off = Wanted { secure: Some(false), http_only: Some(false), same_site: Some(None) };
        assert_eq!(with("a=1; Secure; httponly; SameSite=None; path=/", off), "a=1; path=/");
        let strict = Wanted { same_site: Some(Some("Strict")), ..Wanted::default() };
        assert_eq!(with("a=1; samesite=lax", strict), "a=1; SameSite=Strict");
    }
}

//! Texts within commands: variables, backslashes, conditions.

use super::page;
use crate::http::regex;
use crate::http::request::Request;

/// How long a text may become by its variables.
const LONGEST: usize = 1024 * 1024;

/// A command went wrong; the text for the log.
pub type Result<T> = std::result::Result<T, String>;

/// The text with its variables filled in, and without the backslashes before quotes, `$` and backslashes.
pub fn evaluate(request: &mut Request, text: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match (byte, text.get(at + 1)) {
            (b'\\', Some(&escaped)) => {
                if !matches!(escaped, b'\\' | b'\'' | b'"' | b'$') {
                    out.push(b'\\');
                }
                out.push(escaped);
                at += 2;
            }
            (b'\\', None) => break,
            (b'$', _) => {
                let (name, length) = name(&text[at + 1..], text)?;
                value(request, name, &mut out);
                at += 1 + length;
                if out.len() > LONGEST {
                    return Err(format!("too long value of \"{}\"", crate::log::shown(text)));
                }
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Ok(out)
}

/// The name behind a `$`, and how much of the text it takes.
fn name<'a>(rest: &'a [u8], text: &[u8]) -> Result<(&'a [u8], usize)> {
    let (start, bracket) = (usize::from(rest.first() == Some(&b'{')), rest.first() == Some(&b'{'));
    let inside = &rest[start..];
    let length = inside.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
    let name = &inside[..length];
    if bracket && !inside.is_empty() && inside.get(length) != Some(&b'}') {
        let name = crate::log::shown(name);
        return Err(format!("the closing bracket in \"{name}\" variable is missing"));
    }
    match name.is_empty() {
        true => Err(format!("invalid variable name in \"{}\"", crate::log::shown(text))),
        false => Ok((name, length + 2 * start)),
    }
}

/// Appends a variable: a capture's, the page's own, or the server's; `false` if there is none.
pub fn value(request: &mut Request, name: &[u8], out: &mut Vec<u8>) -> bool {
    page::value(request, name, out) || request.variable_named(name, out)
}

/// Whether the condition of an `if` holds.
pub fn holds(request: &mut Request, expression: &[u8]) -> Result<bool> {
    let invalid = || format!("invalid expression in \"{}\"", crate::log::shown(expression));
    let is_left = |b: &&u8| b.is_ascii_alphanumeric() || b"${}_\"'".contains(b);
    let length = expression.iter().take_while(is_left).count();
    let left = evaluate(request, &expression[..length].to_ascii_lowercase())?;
    let rest = without_spaces(&expression[length..]);
    if rest.is_empty() {
        return Ok(!left.is_empty());
    }
    let (rest, wanted) = match (rest.strip_prefix(b"="), rest.strip_prefix(b"!=")) {
        (Some(rest), _) => (rest, true),
        (_, Some(rest)) => (rest, false),
        _ => return Err(invalid()),
    };
    let right = without_spaces(rest);
    let equal = match right {
        [b'/', pattern @ .., b'/'] => matches(request, pattern, &left)?,
        [b'/', _, ..] => return Err(invalid()),
        [b'\\', right @ ..] if right.starts_with(b"/") => left == evaluate(request, right)?,
        right => left == evaluate(request, right)?,
    };
    Ok(equal == wanted)
}

fn without_spaces(text: &[u8]) -> &[u8] {
    &text[text.iter().take_while(|b| **b == b' ').count()..]
}

/// Whether a regular expression matches; its groups become the page's.
fn matches(request: &mut Request, pattern: &[u8], text: &[u8]) -> Result<bool> {
    let pattern = evaluate(request, pattern)?;
    let pattern = String::from_utf8_lossy(&pattern);
    let Some(found) = regex::match_once(&pattern, text)? else { return Ok(false) };
    let page = page::of(request);
    let mut page = page.borrow_mut();
    page.captures = found.groups;
    for (name, value) in found.named {
        page.set(&name, value);
    }
    Ok(true)
}

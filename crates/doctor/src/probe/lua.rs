//! `.._by_lua_block { .. }`: what stands in it is Lua, with braces and quotes of its own. It is emptied before the
//! configuration is read; lines keep their numbers.

use std::borrow::Cow;

use memchr::{memchr, memmem, memrchr};

const NAME: &[u8] = b"_by_lua_block";

/// The text without the code in its blocks.
pub(super) fn without_lua(text: &[u8]) -> Cow<'_, [u8]> {
    let mut out = Vec::new();
    let mut from = 0;
    for at in memmem::find_iter(text, NAME) {
        let Some(open) = opening(text, at).filter(|open| *open >= from) else { continue };
        let close = closing(text, open);
        out.extend_from_slice(&text[from..open]);
        out.extend(text[open..close].iter().filter(|byte| **byte == b'\n'));
        from = close;
    }
    if from == 0 {
        return Cow::Borrowed(text);
    }
    out.extend_from_slice(&text[from..]);
    Cow::Owned(out)
}

/// Where the code behind the directive at `at` begins; `None` in a comment, or without a brace.
fn opening(text: &[u8], at: usize) -> Option<usize> {
    let line = memrchr(b'\n', &text[..at]).map_or(0, |newline| newline + 1);
    if text[line..at].contains(&b'#') {
        return None;
    }
    let rest = &text[at + NAME.len()..];
    // `set_by_lua_block` has a variable before the brace.
    let part = |byte: &u8| byte.is_ascii_whitespace() || byte.is_ascii_alphanumeric() || b"$_".contains(byte);
    let blank = rest.iter().position(|byte| !part(byte))?;
    (rest[blank] == b'{').then_some(at + NAME.len() + blank + 1)
}

/// Where the brace is that ends the code, or the end of the text.
fn closing(text: &[u8], open: usize) -> usize {
    let (mut at, mut depth) = (open, 1);
    while at < text.len() {
        match text[at] {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            quote @ (b'"' | b'\'') => {
                at = after_string(text, at + 1, quote);
                continue;
            }
            b'-' if text[at..].starts_with(b"--") => {
                at = after_long(text, at + 2).unwrap_or_else(|| line_end(text, at));
                continue;
            }
            b'[' => {
                if let Some(end) = after_long(text, at) {
                    at = end;
                    continue;
                }
            }
            _ => {}
        }
        if depth == 0 {
            return at;
        }
        at += 1;
    }
    text.len()
}

fn line_end(text: &[u8], at: usize) -> usize {
    memchr(b'\n', &text[at..]).map_or(text.len(), |end| at + end)
}

/// Behind the quote that ends a string.
fn after_string(text: &[u8], mut at: usize, quote: u8) -> usize {
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 1,
            byte if *byte == quote || *byte == b'\n' => return at + 1,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

/// Behind `]==]`, if `[==[` begins here.
fn after_long(text: &[u8], at: usize) -> Option<usize> {
    let rest = text.get(at..)?.strip_prefix(b"[")?;
    let level = rest.iter().take_while(|byte| **byte == b'=').count();
    if rest.get(level) != Some(&b'[') {
        return None;
    }
    let end = [b"]".as_slice(), &rest[..level], b"]"].concat();
    let begin = at + level + 2;
    Some(memmem::find(&text[begin..], &end).map_or(text.len(), |found| begin + found + end.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn without(text: &str) -> String {
        String::from_utf8_lossy(&without_lua(text.as_bytes())).into_owned()
    }

    #[test]
    fn code_goes_and_lines_stay() {
        assert_eq!(without("a; init_by_lua_block {\n x = { '}' }\n} b;"), "a; init_by_lua_block {\n\n} b;");
        assert_eq!(without("x_by_lua_block{ -- }\n [==[ } ]] ]==] \"\\\"}\" } y"), "x_by_lua_block{\n} y");
        assert_eq!(without("# x_by_lua_block { '\na { }"), "# x_by_lua_block { '\na { }");
        assert_eq!(without("set_by_lua_block $x { return 1 }"), "set_by_lua_block $x {}");
        assert_eq!(without("x_by_lua_block { --[[ } ]] } z"), "x_by_lua_block {} z");
        assert_eq!(without("x_by_lua_block { {"), "x_by_lua_block {");
    }

    proptest! {
        #[test]
        fn lines_are_counted_as_before(text in "([ab'\"{}\\[\\]=\\\\-]|\n|_by_lua_block \\{){0,60}") {
            let count = |text: &str| text.matches('\n').count();
            prop_assert_eq!(count(&without(&text)), count(&text));
        }
    }
}

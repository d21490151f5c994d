//! Sizes and times.
pub fn size(text: &[u8]) -> Option<u64> { scaled(text, &[(b'k', 1 << 10), (b'm', 1 << 20)]) }
pub fn offset(text: &[u8]) -> Option<u64> { scaled(text, &[(b'k', 1 << 10), (b'm', 1 << 20), (b'g', 1 << 30)]) }
fn scaled(text: &[u8], units: &[(u8, u64)]) -> Option<u64> {
    let (last, rest) = text.split_last()?;
    let unit = units.iter().find(|u| u.0 == last.to_ascii_lowercase());
    let (digits, by) = unit.map_or((text, 1), |u| (rest, u.1));
    number(digits)?.checked_mul(by)
}
fn number(digits: &[u8]) -> Option<u64> { if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) { return None } std::str::from_utf8(digits).ok()?.parse().ok() }
pub fn sec(text: &[u8]) -> Option<u64> { time(text, false) }
pub fn msec(text: &[u8]) -> Option<u64> { time(text, true) }
fn time(text: &[u8], ms: bool) -> Option<u64> {
    let scale = if ms { 1000 } else { 1 };
    let mut total = 0u64; let mut i = 0; if text.is_empty() { return None }
    while i < text.len() {
        let start = i; while i < text.len() && text[i].is_ascii_digit() { i += 1 }
        let n = number(&text[start..i])?;
        let rest = &text[i..];
        let (len, by) = if ms && rest.starts_with(b"ms") { (2, 1) } else { match rest.first() { None => (0, scale), Some(b's') => (1, scale), Some(b'm') => (1, 60*scale), Some(b'h') => (1, 3600*scale), Some(b'd') => (1, 86400*scale), Some(b'w') => (1, 604800*scale), Some(b'M') => (1, 30*86400*scale), Some(b'y') => (1, 365*86400*scale), _ => return None } };
        i += len; total = total.checked_add(n.checked_mul(by)?)?;
    }
    Some(total)
}

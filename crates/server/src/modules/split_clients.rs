//! `split_clients`: a variable whose value depends on the hash of a text, in given shares.

use std::sync::Arc;

use conf::{Args, Error, HTTP, Scope, exactly, free};

use super::Module;
use crate::http::request::Request;
use crate::http::variables::{Defined, Names, Template, new_name};

pub(crate) static MODULE: Module = Module {
    name: "split_clients",
    directives: &[free("split_clients", HTTP, exactly(2), split_clients)],
    variables: &[],
};

/// All shares together, in hundredths of a percent.
const WHOLE: u64 = 10_000;

/// As run.
struct Split {
    source: Template,
    parts: Vec<Part>,
}
struct Part {
    /// Hashes below it are this part's; `None`: all that are left.
    below: Option<u32>,
    value: Box<[u8]>,
}

/// `split_clients text $variable {`
fn split_clients(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let name = new_name(a, 1)?;
    let mut split = Split { source: Template::compile(at, a, 0)?, parts: Vec::new() };
    let (mut sum, mut last) = (0, 0u32);
    for line in a.entries() {
        if line.len() != 1 {
            return Err(line.error("invalid number of arguments in \"split_clients\" block"));
        }
        let share = share(line.directive)
            .ok_or_else(|| line.error(format!("invalid percent value \"{}\"", line.directive)))?;
        sum = share.map_or(WHOLE, |share| sum + share);
        if sum > WHOLE {
            return Err(Error::emerg("percent total is greater than 100%").at(a.end()));
        }
        // The last share has what rounding left.
        let below = share.filter(|_| sum < WHOLE).map(|share| {
            last = last.wrapping_add((share * u64::from(u32::MAX) / WHOLE) as u32);
            last
        });
        split.parts.push(Part { below, value: line.bytes(0).into() });
    }
    at.shared::<Names>().define(name, Arc::new(split));
    Ok(())
}

/// Hundredths of a percent, two decimals at most; the inner `None` for `*`.
fn share(text: &str) -> Option<Option<u64>> {
    if text == "*" {
        return Some(None);
    }
    let number = text.strip_suffix('%')?;
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + part.len() == 0 || part.len() > 2 || !digits(whole) || !digits(part) {
        return None;
    }
    let share = format!("{whole}{part:0<2}").parse::<u32>().ok()?;
    (share > 0).then_some(Some(share.into()))
}

impl Defined for Split {
    fn get(&self, request: &mut Request, out: &mut Vec<u8>) -> bool {
        let mut text = request.thread.buffer();
        self.source.render(request, &mut text);
        let hash = murmur2(&text);
        request.thread.give_buffer(text);
        let part = self.parts.iter().find(|part| part.below.is_none_or(|below| hash < below));
        out.extend_from_slice(part.map_or(&[], |part| &part.value));
        true
    }
    fn cached(&self) -> bool {
        true
    }
}

/// MurmurHash2 with seed 0, as nginx has it.
fn murmur2(text: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = text.len() as u32;
    let (words, rest) = text.as_chunks::<4>();
    for word in words {
        let k = u32::from_le_bytes(*word).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ (k ^ k >> 24).wrapping_mul(M);
    }
    for (i, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * i);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        assert_eq!(share("0.5%"), Some(Some(50)));
        assert_eq!(share("50%"), Some(Some(5000)));
        assert_eq!(share("33.33%"), Some(Some(3333)));
        assert_eq!(share("*"), Some(None));
        for bad in ["", "%", "0%", "1", "1.234%", "-1%", "a%", "99999999999%"] {
            assert_eq!(share(bad), None, "{bad}");
        }
    }

    #[test]
    fn known_hashes() {
        // Of Appleby's MurmurHash2 with seed 0.
        assert_eq!(murmur2(b""), 0);
        assert_eq!(murmur2(b"a"), 0x9268_5f5e);
    }
}

//! `modern_browser`, `ancient_browser`: what `User-Agent` says of the browser's age.

use conf::{Args, Error, IN_HTTP, Inherit, Scope, Setting, directive};
use memchr::memmem;
use wire::Known;

use super::Module;
use crate::http::plan::Settings;
use crate::http::request::Request;
use crate::http::variables::variable;
use crate::worker::generation::Compiler;

pub(crate) static MODULE: Module = Module {
    name: "browser",
    directives: &[
        directive("modern_browser", IN_HTTP, conf::between(1, 2), modern),
        directive("ancient_browser", IN_HTTP, conf::at_least(1), ancient),
        directive("modern_browser_value", IN_HTTP, conf::exactly(1), |at, a| {
            at.own::<Browsers>().modern_value = one(a);
            Ok(())
        }),
        directive("ancient_browser_value", IN_HTTP, conf::exactly(1), |at, a| {
            at.own::<Browsers>().ancient_value = one(a);
            Ok(())
        }),
    ],
    variables: &[
        variable("msie", |request, out| {
            let agent = request.header(Known::UserAgent).unwrap_or_default();
            let msie = memmem::find(agent, b"MSIE ").is_some_and(|at| at + 7 < agent.len());
            if msie && memmem::find(agent, b"Opera").is_none() {
                out.push(b'1');
            }
            true
        })
        .hideable(),
        variable("modern_browser", |request, out| value(request, true, out)).hideable().kept(),
        variable("ancient_browser", |request, out| value(request, false, out)).hideable().kept(),
    ],
};

/// The value that was written last counts.
fn one(a: &Args<'_>) -> Setting<Box<[u8]>> {
    let mut value = Setting::default();
    // The first time it cannot be a duplicate.
    let _ = value.set(a.bytes(0).into());
    value
}

/// Where browsers write their versions.
struct Kind {
    name: &'static str,
    /// So much of `User-Agent` comes before.
    skip: usize,
    mark: &'static str,
    /// From the mark on to the version.
    add: usize,
}
/// Opera comes first: it may call itself another.
const KINDS: &[Kind] = &[
    Kind { name: "opera", skip: 0, mark: "Opera", add: 6 },
    Kind { name: "msie", skip: 25, mark: "MSIE ", add: 5 },
    Kind { name: "gecko", skip: 13, mark: "rv:", add: 3 },
    Kind { name: "safari", skip: 13, mark: "Safari/", add: 7 },
    Kind { name: "konqueror", skip: 25, mark: "Konqueror/", add: 10 },
];
/// No version is as high.
const NEVER: u64 = 4_001_000_000;

/// As written, and as run.
#[derive(Clone, Default)]
struct Browsers {
    /// Index in [`KINDS`], and the version that is modern.
    modern: Vec<(usize, u64)>,
    unlisted: bool,
    ancient: Vec<Box<[u8]>>,
    netscape4: bool,
    modern_value: Setting<Box<[u8]>>,
    ancient_value: Setting<Box<[u8]>>,
}
impl Inherit for Browsers {
    fn inherit(&mut self, outer: &Browsers) {
        if self.modern.is_empty() && !self.unlisted {
            self.modern.clone_from(&outer.modern);
            self.unlisted = outer.unlisted;
        }
        if self.ancient.is_empty() && !self.netscape4 {
            self.ancient.clone_from(&outer.ancient);
            self.netscape4 = outer.netscape4;
        }
        self.modern_value.inherit(&outer.modern_value);
        self.ancient_value.inherit(&outer.ancient_value);
    }
}

fn modern(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    if a.len() == 1 {
        if a.str(0) != "unlisted" {
            return Err(a.error("invalid number of arguments in \"modern_browser\" directive"));
        }
        at.own::<Browsers>().unlisted = true;
        return Ok(());
    }
    let kind = KINDS.iter().position(|kind| kind.name.eq_ignore_ascii_case(a.str(0)));
    let kind = kind.ok_or_else(|| a.error(format!("unknown browser name \"{}\"", a.str(0))))?;
    let plain = a.bytes(1).iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    if !plain {
        return Err(a.error(format!("invalid browser version \"{}\"", a.str(1))));
    }
    at.own::<Browsers>().modern.push((kind, version(a.bytes(1))));
    Ok(())
}

fn ancient(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    for i in 0..a.len() {
        match a.str(i) {
            "netscape4" => at.own::<Browsers>().netscape4 = true,
            _ => at.own::<Browsers>().ancient.push(a.bytes(i).into()),
        }
    }
    Ok(())
}

/// `1.8.0.5` as a number; as far as it goes.
fn version(text: &[u8]) -> u64 {
    let end = text.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.').unwrap_or(text.len());
    let mut scale = 1_000_000u64;
    let mut sum = 0u64;
    for part in text[..end].split(|byte| *byte == b'.') {
        let add = |n: u64, byte: &u8| n.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
        sum = sum.saturating_add(part.iter().fold(0, add).saturating_mul(scale));
        scale /= 100;
    }
    sum
}

pub(crate) fn settings(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Settings>, Error> {
    let Some(browsers) = at.conf::<Browsers>() else { return Ok(None) };
    let mut browsers = browsers.clone();
    if !browsers.modern.is_empty() {
        if browsers.modern.iter().all(|(kind, _)| *kind != 0) {
            browsers.modern.push((0, NEVER));
        }
        browsers.modern.sort_by_key(|(kind, _)| *kind);
    }
    Ok(Some(Box::new(browsers)))
}

fn value(request: &mut Request, modern: bool, out: &mut Vec<u8>) -> bool {
    let plan = request.plan();
    let none = Browsers::default();
    let browsers = plan.settings::<Browsers>().unwrap_or(&none);
    if browsers.is_modern(request.header(Known::UserAgent)) == modern {
        let value = if modern { &browsers.modern_value } else { &browsers.ancient_value };
        out.extend_from_slice(value.written().map_or(b"1", |value| value));
    }
    true
}

impl Browsers {
    fn is_modern(&self, agent: Option<&[u8]>) -> bool {
        let Some(agent) = agent else { return self.unlisted };
        for (kind, wanted) in &self.modern {
            let Some(kind) = KINDS.get(*kind) else { continue };
            let rest = agent.get(kind.skip..).unwrap_or_default();
            let Some(mark) = memmem::find(rest, kind.mark.as_bytes()) else { continue };
            if let Some(text) = rest.get(mark + kind.add..).filter(|text| !text.is_empty()) {
                return version(text) >= *wanted;
            }
        }
        if !self.modern.is_empty() && !self.unlisted {
            return false;
        }
        let netscape4 = agent.len() > "Mozilla/4.72 ".len()
            && agent.starts_with(b"Mozilla/")
            && agent.get(8).is_some_and(|digit| (b'1'..=b'4').contains(digit));
        if self.netscape4 && netscape4 {
            return false;
        }
        let old = self.ancient.iter().any(|text| memmem::find(agent, text).is_some());
        self.unlisted && !old
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(version(b"5.5"), 5_050_000);
        assert_eq!(version(b"1.8.0.5) Gecko"), 1_080_005);
        assert_eq!(version(b""), 0);
        assert!(version(&[b'9'; 100]) > NEVER);
    }
}

//! `secure_link`: whether a link was made by somebody who knows a secret, and is still good.

use conf::{Error, IN_HTTP, Inherit, Scope, Setting, directive};
use md5::{Digest, Md5};

use super::Module;
use crate::http::plan::Settings;
use crate::http::request::Request;
use crate::http::variables::{Template, variable};
use crate::worker::generation::Compiler;
use formats::base64;

pub(crate) static MODULE: Module = Module {
    name: "secure_link",
    directives: &[
        directive("secure_link", IN_HTTP, conf::exactly(1), |at, a| {
            let link = Template::compile(at, a, 0)?;
            at.own::<Conf>().link.set(link)
        }),
        directive("secure_link_md5", IN_HTTP, conf::exactly(1), |at, a| {
            let text = Template::compile(at, a, 0)?;
            at.own::<Conf>().md5.set(text)
        }),
        directive("secure_link_secret", IN_HTTP, conf::exactly(1), |at, a| {
            at.own::<Conf>().secret.set(a.bytes(0).into())
        }),
    ],
    variables: &[
        variable("secure_link", link).kept(),
        variable("secure_link_expires", |request, out| {
            let expires = request.kept_in_pass::<Expires>();
            expires.map(|expires| out.extend_from_slice(&expires.0)).is_some()
        }),
    ],
};

/// As written.
#[derive(Default)]
struct Conf {
    link: Setting<Template>,
    md5: Setting<Template>,
    secret: Setting<Box<[u8]>>,
}
impl Inherit for Conf {
    fn inherit(&mut self, outer: &Conf) {
        if self.secret.is_written() {
            return;
        }
        self.link.inherit(&outer.link);
        self.md5.inherit(&outer.md5);
        if !self.link.is_written() && !self.md5.is_written() {
            self.secret.inherit(&outer.secret);
        }
    }
}

/// As run.
enum Links {
    /// The link's hash, and its time in seconds since 1970; the text that was hashed.
    Md5(Template, Template),
    /// `/prefix/hash/link`
    Secret(Box<[u8]>),
}

/// When the link in `$secure_link` ends, as it was written.
struct Expires(Box<[u8]>);

pub(crate) fn settings(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Settings>, Error> {
    let Some(conf) = at.conf::<Conf>() else { return Ok(None) };
    let links = match (conf.secret.written(), conf.link.written(), conf.md5.written()) {
        (Some(secret), None, None) => Links::Secret(secret.clone()),
        (None, Some(link), Some(md5)) => Links::Md5(link.clone(), md5.clone()),
        (Some(_), _, _) => {
            let text = "\"secure_link_secret\" cannot be mixed with \"secure_link\" and \"secure_link_md5\"";
            return Err(Error::emerg(text).at(at.at.clone()));
        }
        _ => return Ok(None),
    };
    Ok(Some(Box::new(links)))
}

fn link(request: &mut Request, out: &mut Vec<u8>) -> bool {
    let plan = request.plan();
    match plan.settings::<Links>() {
        Some(Links::Md5(link, text)) => by_md5(request, link, text, out),
        Some(Links::Secret(secret)) => by_secret(request, secret, out),
        None => false,
    }
}

/// `1`, or `0` for a link that has ended; not found if the hash is another.
fn by_md5(request: &mut Request, link: &Template, text: &Template, out: &mut Vec<u8>) -> bool {
    let mut value = Vec::new();
    link.render(request, &mut value);
    let comma = memchr::memchr(b',', &value);
    let expires = comma.map(|comma| &value[comma + 1..]);
    let time = match expires.map(seconds) {
        None => None,
        Some(None | Some(0)) => return false,
        Some(time) => time,
    };
    if let Some(expires) = expires {
        request.keep_in_pass(Expires(expires.into()));
    }
    let hash = &value[..comma.unwrap_or(value.len())];
    let mut theirs = Vec::new();
    if hash.len() > 24 || !base64::decode_url(hash, &mut theirs) || theirs.len() != 16 {
        return false;
    }
    let mut hashed = Vec::new();
    text.render(request, &mut hashed);
    if !same(&theirs, &Md5::digest(&hashed)) {
        return false;
    }
    let ended = time.is_some_and(|time| time < request.thread.clock.unix().as_secs());
    out.push(if ended { b'0' } else { b'1' });
    true
}

/// A time; none is later than what a signed number of 64 bits can say.
fn seconds(text: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    digits?.parse::<i64>().ok()?.try_into().ok()
}

/// The link behind the hash, as the client wrote it.
fn by_secret(request: &Request, secret: &[u8], out: &mut Vec<u8>) -> bool {
    let target = request.target();
    let Some(first) = target.get(1..).and_then(|rest| memchr::memchr(b'/', rest)) else { return false };
    let rest = &target[first + 2..];
    let Some(end) = memchr::memchr(b'/', rest) else { return false };
    let (hash, link) = (&rest[..end], &rest[end + 1..]);
    let mut theirs = [0; 16];
    if link.is_empty() || hash.len() != 32 {
        return false;
    }
    for (byte, digits) in theirs.iter_mut().zip(hash.chunks(2)) {
        let digit = |i: usize| (digits[i] as char).to_digit(16);
        let (Some(high), Some(low)) = (digit(0), digit(1)) else { return false };
        *byte = (high << 4 | low) as u8;
    }
    let ours = Md5::new().chain_update(link).chain_update(secret).finalize();
    let good = same(&theirs, &ours);
    if good {
        out.extend_from_slice(link);
    }
    good
}

/// In a time that says nothing of where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |different, (a, b)| different | (a ^ b)) == 0
}

//! How files are found: `open_file_cache` and `disable_symlinks`.

use conf::{Args, Directive, Error, Scope, directive};

use super::ANY;
use crate::http::open_files::{Declared, Use};
use crate::http::request::Request;
use crate::http::symlinks::Links;
use crate::http::variables::Template;

pub(super) const DIRECTIVES: &[Directive] = &[
    directive("open_file_cache", ANY, conf::between(1, 2), open_file_cache),
    directive("open_file_cache_valid", ANY, conf::exactly(1), |at, a| at.own::<Conf>().valid.set(a.sec(0)?)),
    directive("open_file_cache_min_uses", ANY, conf::exactly(1), |at, a| {
        at.own::<Conf>().min_uses.set(a.number(0)?)
    }),
    directive("open_file_cache_errors", ANY, conf::flag(), |at, a| at.own::<Conf>().errors.set(a.flag(0)?)),
    directive("disable_symlinks", ANY, conf::between(1, 2), disable_symlinks),
];

settings! {
    /// As written.
    struct Conf {
        cache: Option<Declared>,
        valid: u64,
        min_uses: u32,
        errors: bool,
        symlinks: Option<Symlinks>,
    }
}

#[derive(Clone)]
struct Symlinks {
    links: Links,
    from: Option<Template>,
}

/// As run.
pub struct OpenFiles {
    cache: Option<Use>,
    symlinks: Option<Symlinks>,
}

pub(super) fn compile(at: &Scope) -> OpenFiles {
    let none = Conf::default();
    let c = at.conf::<Conf>().unwrap_or(&none);
    let cache = c.cache.or(None).map(|cache| Use {
        cache,
        valid: c.valid.or(60),
        min_uses: c.min_uses.or(1),
        errors: c.errors.or(false),
        links: None,
    });
    OpenFiles { cache, symlinks: c.symlinks.or(None) }
}

impl OpenFiles {
    /// Which links are not followed on the way to `path`, and from where on.
    pub fn links(&self, request: &mut Request, path: &[u8]) -> Option<(Links, usize)> {
        let Symlinks { links, from } = self.symlinks.as_ref()?;
        let Some(from) = from else { return Some((*links, 0)) };
        let mut start = request.thread.buffer();
        from.render(request, &mut start);
        let below = match path.strip_prefix(&*start) {
            _ if start.is_empty() => Some(0),
            None => Some(0),
            Some([]) => None,
            Some([b'/', ..]) => Some(start.len()),
            Some(_) if start.ends_with(b"/") => Some(start.len() - 1),
            Some(_) => Some(0),
        };
        request.thread.give_buffer(start);
        below.map(|below| (*links, below))
    }
    /// The cache, if there is one.
    pub fn cache(&self, links: Option<(Links, usize)>) -> Option<Use> {
        self.cache.map(|cache| Use { links, ..cache })
    }
    /// Whether files are opened component by component.
    pub fn walks(&self) -> bool {
        self.symlinks.is_some()
    }
}

fn open_file_cache(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let invalid = |word: &str| a.error(format!("invalid \"open_file_cache\" parameter \"{word}\""));
    let (mut max, mut inactive, mut off) = (None, 60, false);
    for word in a.iter() {
        if let Some(number) = word.strip_prefix("max=") {
            max = Some(number.parse().ok().filter(|max| *max > 0).ok_or_else(|| invalid(word))?);
        } else if let Some(time) = word.strip_prefix("inactive=") {
            inactive = conf::sec(time.as_bytes()).ok_or_else(|| invalid(word))?;
        } else if word == "off" {
            off = true;
        } else {
            return Err(invalid(word));
        }
    }
    let cache = match (off, max) {
        (true, _) => None,
        (false, Some(max)) => Some(Declared::new(at, max, inactive)),
        (false, None) => return Err(a.error("\"open_file_cache\" must have the \"max\" parameter")),
    };
    at.own::<Conf>().cache.set(cache)
}

fn disable_symlinks(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let (mut links, mut from) = (None, None);
    for word in a.iter() {
        match word {
            "off" => links = Some(None),
            "on" => links = Some(Some(Links::No)),
            "if_not_owner" => links = Some(Some(Links::NotOwner)),
            _ => match word.strip_prefix("from=") {
                Some(path) => from = Some(Template::parse(at, path).map_err(|e| a.error(e.message))?),
                None => return Err(a.error(format!("invalid parameter \"{word}\""))),
            },
        }
    }
    let Some(links) = links else {
        let text = format!("\"{}\" must have \"off\", \"on\" or \"if_not_owner\" parameter", a.directive);
        return Err(a.error(text));
    };
    if a.len() == 2 && from.is_none() {
        return Err(a.error(format!("duplicate parameters \"{} {}\"", a.str(0), a.str(1))));
    }
    if links.is_none() && from.is_some() {
        return Err(a.error("\"from=\" cannot be used with \"off\" parameter"));
    }
    at.own::<Conf>().symlinks.set(links.map(|links| Symlinks { links, from }))
}

//! How answers go out: rates, pieces, and how files are read.

use std::sync::Mutex;

use conf::{Args, Directive, Error, IF_LOCATION, MAIN, Scope, directive};

use super::{ANY, process};
use crate::http::request::Request;
use crate::http::variables::Template;

pub(super) const DIRECTIVES: &[Directive] = &[
    directive("limit_rate", ANY.or(IF_LOCATION), conf::exactly(1), |at, a| {
        let rate = Amount::read(at, a)?;
        at.own::<Conf>().limit_rate.set(rate)
    }),
    directive("limit_rate_after", ANY.or(IF_LOCATION), conf::exactly(1), |at, a| {
        let after = Amount::read(at, a)?;
        at.own::<Conf>().limit_rate_after.set(after)
    }),
    directive("sendfile_max_chunk", ANY, conf::exactly(1), |at, a| {
        at.own::<Conf>().sendfile_max_chunk.set(a.size(0)?)
    }),
    directive("output_buffers", ANY, conf::exactly(2), output_buffers),
    directive("postpone_output", ANY, conf::exactly(1), |at, a| {
        a.size(0)?;
        process::no_effect(at, a)
    }),
    directive("send_lowat", ANY, conf::exactly(1), send_lowat),
    directive("aio", ANY, conf::exactly(1), aio),
    directive("aio_write", ANY, conf::flag(), |at, a| {
        a.flag(0)?;
        process::no_effect(at, a)
    }),
    directive("read_ahead", ANY, conf::exactly(1), |at, a| at.own::<Conf>().read_ahead.set(a.size(0)?)),
    directive("directio", ANY, conf::exactly(1), |at, a| {
        let least = if a.str(0) == "off" { None } else { Some(a.offset(0)?) };
        at.own::<Conf>().directio.set(least)
    }),
    directive("directio_alignment", ANY, conf::exactly(1), |at, a| {
        at.own::<Conf>().directio_alignment.set(a.offset(0)?)
    }),
    directive("thread_pool", MAIN, conf::between(2, 3), thread_pool),
];

settings! {
    /// As written.
    struct Conf {
        limit_rate: Amount,
        limit_rate_after: Amount,
        sendfile_max_chunk: u64,
        output_buffer: usize,
        read_ahead: u64,
        directio: Option<u64>,
        directio_alignment: u64,
    }
}

/// As run.
pub struct Delivery {
    limit_rate: Option<Amount>,
    limit_rate_after: Option<Amount>,
    /// How much one client gets in one turn of the loop.
    pub max_chunk: usize,
    /// How much of a file is read at once, where it has to be read.
    pub output_buffer: usize,
    /// Files longer than this are read ahead by the system; 0: none.
    pub read_ahead: u64,
    /// Files at least this long are read past the system's cache.
    pub directio: Option<u64>,
    /// What offsets and lengths of such reads are multiples of.
    pub alignment: u64,
}

pub(super) fn compile(at: &Scope) -> Delivery {
    let none = Conf::default();
    let c = at.conf::<Conf>().unwrap_or(&none);
    Delivery {
        limit_rate: c.limit_rate.written().filter(|rate| !rate.is_zero()).cloned(),
        limit_rate_after: c.limit_rate_after.written().cloned(),
        max_chunk: match c.sendfile_max_chunk.or(2 << 20) {
            0 => usize::MAX,
            n => usize::try_from(n).unwrap_or(usize::MAX),
        },
        output_buffer: c.output_buffer.or(32 << 10),
        read_ahead: c.read_ahead.or(0),
        directio: c.directio.or(None),
        alignment: c.directio_alignment.or(512).clamp(512, 1 << 20),
    }
}

impl Delivery {
    /// Bytes a second for this answer, if they are limited: what the request was given (`$limit_rate`,
    /// X-Accel-Limit-Rate), else what is configured.
    pub fn rate(&self, request: &mut Request) -> Option<u64> {
        let rate = match (request.limit_rate, &self.limit_rate) {
            (Some(rate), _) => rate,
            (None, Some(rate)) => rate.of(request),
            (None, None) => return None,
        };
        request.limit_rate = Some(rate);
        Some(rate).filter(|rate| *rate > 0)
    }
    /// Whether there is a rate, be it that of a variable.
    pub fn limits_rate(&self) -> bool {
        self.limit_rate.is_some()
    }
    /// How much goes out before the limit counts.
    pub fn rate_after(&self, request: &mut Request) -> u64 {
        self.limit_rate_after.as_ref().map_or(0, |after| after.of(request))
    }
}

/// A number of bytes, known now or with the request.
#[derive(Clone)]
enum Amount {
    Fixed(u64),
    Variable(Template),
}
impl Amount {
    fn read(at: &Scope, a: &Args<'_>) -> Result<Amount, Error> {
        let template = Template::compile(at, a, 0)?;
        match template.as_literal() {
            Some(text) => conf::size(text).map(Amount::Fixed).ok_or_else(|| a.invalid()),
            None => Ok(Amount::Variable(template)),
        }
    }
    fn is_zero(&self) -> bool {
        matches!(self, Amount::Fixed(0))
    }
    fn of(&self, request: &mut Request) -> u64 {
        match self {
            Amount::Fixed(n) => *n,
            Amount::Variable(template) => {
                let mut text = request.thread.buffer();
                template.render(request, &mut text);
                let size = size_of(request, &text);
                request.thread.give_buffer(text);
                size
            }
        }
    }
}

/// A size that a request brings; what is none is logged.
fn size_of(request: &Request, text: &[u8]) -> u64 {
    conf::size(text).unwrap_or_else(|| {
        log_error!(request, "invalid size \"{}\"", crate::log::shown(text));
        0
    })
}

/// A file is read in pieces of the given size; how many wait for the client does not depend on their number.
fn output_buffers(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let (_, size) = a.buffers()?;
    let most = 8 << 20;
    at.own::<Conf>().output_buffer.set(usize::try_from(size).unwrap_or(most).min(most))
}

fn send_lowat(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    a.size(0)?;
    process::once_here(at, a)?;
    at.warn(a.warning("\"send_lowat\" is not supported, ignored"));
    Ok(())
}

/// What is not in memory is always read by threads; which pool's is one pool's here.
fn aio(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    match a.str(0) {
        "on" | "off" | "threads" => {}
        word => match word.strip_prefix("threads=") {
            Some(name) if Template::parse(at, name)?.as_literal().is_none() => {}
            Some(name) => at.shared::<Pools>().want(name, a),
            None => return Err(a.invalid()),
        },
    }
    process::no_effect(at, a)
}

/// The thread pools that a configuration declares and uses.
#[derive(Default)]
pub struct Pools(Mutex<Inner>);
#[derive(Default)]
struct Inner {
    declared: Vec<(String, usize, usize)>,
    wanted: Vec<(String, conf::Position)>,
}
impl Pools {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
    fn want(&self, name: &str, a: &Args<'_>) {
        self.lock().wanted.push((name.to_owned(), a.at()));
    }
    /// Once all is read: whether every pool that is used was declared.
    ///
    /// # Errors
    /// nginx's `unknown thread pool`.
    pub fn check(&self) -> Result<(), Error> {
        let pools = self.lock();
        let known = |name: &str| name == "default" || pools.declared.iter().any(|(other, ..)| other == name);
        match pools.wanted.iter().find(|(name, _)| !known(name)) {
            Some((name, at)) => Err(Error::emerg(format!("unknown thread pool \"{name}\"")).at(at.clone())),
            None => Ok(()),
        }
    }
    /// Threads and length of the queue of all that are declared together: one pool does for all.
    pub fn size(&self) -> Option<(usize, usize)> {
        let pools = self.lock();
        let (threads, queue) =
            pools.declared.iter().fold((0, 0usize), |(t, q), pool| (t + pool.1, q.saturating_add(pool.2)));
        (!pools.declared.is_empty()).then_some((threads, queue))
    }
}

fn thread_pool(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let name = a.str(0);
    let (mut threads, mut queue) = (0, 65_536);
    for word in a.iter().skip(1) {
        let number = |text: &str| text.parse::<u16>().ok().map(usize::from).filter(|n| *n > 0);
        if let Some(text) = word.strip_prefix("threads=") {
            threads = number(text).ok_or_else(|| a.error(format!("invalid threads value \"{word}\"")))?;
        } else if let Some(text) = word.strip_prefix("max_queue=") {
            let value = text.parse::<u32>().ok().map(|n| n as usize);
            queue = value.ok_or_else(|| a.error(format!("invalid max_queue value \"{word}\"")))?;
        }
    }
    if threads == 0 {
        return Err(a.error(format!("\"{}\" must have \"threads\" parameter", a.directive)));
    }
    let pools = at.shared::<Pools>();
    if pools.lock().declared.iter().any(|(other, ..)| other == name) {
        return Err(a.error(format!("duplicate thread pool \"{name}\"")));
    }
    pools.lock().declared.push((name.to_owned(), threads, queue));
    Ok(())
}

//! `error_page`, and what a status is answered with where there is none.

use std::sync::Arc;

use conf::{
    Args, Directive, Error, HTTP, IF_LOCATION, Inherit, LOCATION, SERVER, Scope, Setting, Within, at_least,
    directive, flag,
};
use wire::{Known, Method, Version};

use super::phases::Next;
use super::request::Request;
use super::response::Body;
use super::variables::Template;
use super::{body, router, status_page};
use crate::worker::generation::Compiler;

const IN: Within = HTTP.or(SERVER).or(LOCATION);

/// `error_page code .. [=[response]] uri;`
pub const ERROR_PAGE: Directive = directive("error_page", IN.or(IF_LOCATION), at_least(2), error_page);
/// `recursive_error_pages on | off;`
pub const RECURSIVE: Directive =
    directive("recursive_error_pages", IN, flag(), |at, a| at.own::<Conf>().recursive.set(a.flag(0)?));
/// `msie_padding on | off;`
pub const MSIE_PADDING: Directive =
    directive("msie_padding", IN, flag(), |at, a| at.own::<Conf>().msie_padding.set(a.flag(0)?));
/// `msie_refresh on | off;`
pub const MSIE_REFRESH: Directive =
    directive("msie_refresh", IN, flag(), |at, a| at.own::<Conf>().msie_refresh.set(a.flag(0)?));

/// As written.
#[derive(Default)]
struct Conf {
    /// A level that has any takes none from above.
    pages: Arc<Vec<ErrorPage>>,
    recursive: Setting<bool>,
    msie_padding: Setting<bool>,
    msie_refresh: Setting<bool>,
}
impl Inherit for Conf {
    fn inherit(&mut self, outer: &Conf) {
        if self.pages.is_empty() {
            self.pages = outer.pages.clone();
        }
        self.recursive.inherit(&outer.recursive);
        self.msie_padding.inherit(&outer.msie_padding);
        self.msie_refresh.inherit(&outer.msie_refresh);
    }
}
/// What answers one status.
#[derive(Clone)]
struct ErrorPage {
    status: u16,
    overwrite: Overwrite,
    page: Template,
}
/// The status that goes out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Overwrite {
    /// The one being answered.
    No,
    /// `=`: whatever the page is answered with.
    Page,
    /// `=code`.
    With(u16),
}

fn error_page(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let last = a.words.len() - 1;
    let (overwrite, end) = match a.str(last - 1).strip_prefix('=') {
        Some(_) if last == 1 => return Err(invalid(a, 0)),
        Some("") => (Overwrite::Page, last - 1),
        Some(text) => (Overwrite::With(digits(text).ok_or_else(|| invalid(a, last - 1))?), last - 1),
        None => (Overwrite::No, last),
    };
    let page = Template::compile(at, a, last)?;
    for i in 0..end {
        let status = digits(a.str(i)).filter(|status| *status != 499);
        let status = status.ok_or_else(|| invalid(a, i))?;
        if !(300..=599).contains(&status) {
            return Err(a.error(format!("value \"{}\" must be between 300 and 599", a.str(i))));
        }
        let overwrite = match (overwrite, status) {
            (Overwrite::No, 494..=497) => Overwrite::With(400),
            (overwrite, _) => overwrite,
        };
        let pages = Arc::make_mut(&mut at.own::<Conf>().pages);
        pages.push(ErrorPage { status, overwrite, page: page.clone() });
    }
    Ok(())
}
fn invalid(a: &Args<'_>, i: usize) -> Error {
    a.error(format!("invalid value \"{}\"", a.str(i)))
}
fn digits(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    // What is no number to nginx is none; what is too large for a status only is out of bounds.
    let number: i64 = text.parse().ok().filter(|_| digits)?;
    Some(u16::try_from(number).unwrap_or(u16::MAX))
}

/// As run: how a location answers statuses.
pub struct ErrorPages {
    pages: Arc<Vec<ErrorPage>>,
    recursive: bool,
    msie_padding: bool,
    msie_refresh: bool,
}

impl ErrorPages {
    /// Whether a page is configured for this status (`proxy_intercept_errors`).
    pub fn covers(&self, status: u16) -> bool {
        self.pages.iter().any(|page| page.status == status)
    }
}

/// What is in force in a block.
pub fn compile(at: &Scope, _: &mut Compiler<'_>) -> Result<Arc<ErrorPages>, Error> {
    let none = Conf::default();
    let c = at.conf::<Conf>().unwrap_or(&none);
    Ok(Arc::new(ErrorPages {
        pages: c.pages.clone(),
        recursive: c.recursive.or(false),
        msie_padding: c.msie_padding.or(true),
        msie_refresh: c.msie_refresh.or(false),
    }))
}

/// Answers a status: by the `error_page` in force, or with the page it has by itself.
pub fn answer(request: &mut Request, status: u16) -> Next {
    if closes_silently(status) {
        // As in nginx, an answer that an `error_page` began to overwrite keeps that status in the log.
        if request.error_status == 0 {
            request.error_status = status;
        }
        return Next::Close;
    }
    request.error_status = status;
    if ends_keep_alive(status) {
        request.keep_alive = false;
    }
    if status == 413 {
        request.body.refuse();
    }
    request.response.clear_description();
    request.response.filters.clear();
    request.response.body = Body::Empty;
    let plan = request.plan();
    let pages = &plan.core.error_pages;
    if !request.in_error_page && !pages.pages.is_empty() && request.redirects <= router::MAX_REDIRECTS {
        request.in_error_page = !pages.recursive;
        if let Some(page) = pages.pages.iter().find(|page| page.status == status) {
            return page.answer(request);
        }
    }
    if pages.msie_refresh && matches!(status, 301 | 302) && Agent::of(request) == Agent::Msie {
        return refresh(request);
    }
    plain(request, status, pages.msie_padding)
}

/// nginx sends nothing: the client went away (499), was too slow (408), or is to get nothing (444).
pub fn closes_silently(status: u16) -> bool {
    matches!(status, 408 | 444 | 499)
}
/// After these nobody knows what follows on the connection, or wants to.
fn ends_keep_alive(status: u16) -> bool {
    matches!(status, 400 | 413 | 414 | 495 | 496 | 497 | 500 | 501)
}

impl ErrorPage {
    fn answer(&self, request: &mut Request) -> Next {
        if !matches!(self.overwrite, Overwrite::Page | Overwrite::With(200)) {
            // Whoever waits to be told to continue gets an error instead.
            request.body.expects_continue = false;
        }
        match self.overwrite {
            Overwrite::No => {}
            Overwrite::Page => request.error_status = 0,
            Overwrite::With(status) => request.error_status = status,
        }
        let mut to = request.thread.buffer();
        self.page.render(request, &mut to);
        let next = match to.first() {
            Some(b'/') => {
                if request.method != Method::Head {
                    request.method = Method::Get;
                }
                let (uri, args) = wire::uri::split_args(&to);
                request.redirect_to(uri, args.into());
                Next::Locate
            }
            Some(b'@') => router::enter_named(request, &to),
            _ => redirect(request, &to),
        };
        request.thread.give_buffer(to);
        next
    }
}

/// To another site: 302, unless `=code` gives another status of redirects.
fn redirect(request: &mut Request, to: &[u8]) -> Next {
    if !matches!(request.error_status, 301 | 302 | 303 | 307 | 308) {
        request.error_status = 302;
    }
    request.response.set_location(to);
    request.response.location_is_ours = true;
    let plan = request.plan();
    if plan.core.error_pages.msie_refresh && Agent::of(request) == Agent::Msie {
        return refresh(request);
    }
    plain(request, request.error_status, plan.core.error_pages.msie_padding)
}

/// Nobody reads the body; whoever waits to be told to continue is told this instead. A broken one ends the connection.
fn leave_body(request: &mut Request) {
    request.body.expects_continue = false;
    let _ = body::drop_buffered(request);
}

/// The page that a status has by itself.
fn plain(request: &mut Request, status: u16, padding: bool) -> Next {
    if let 494..=497 = status {
        request.error_status = 400;
    }
    leave_body(request);
    let full = request.core().signature.contains('/');
    let padded = padding && request.head.version != Version::Http09 && Agent::of(request) != Agent::Other;
    let page = status_page::find(status, full, padded).unwrap_or("");
    if !page.is_empty() {
        request.response.set_content_type(b"text/html");
        request.response.body = Body::Static(page.as_bytes());
    }
    request.response.content_length = Some(page.len() as u64);
    request.response.status = request.error_status;
    Next::Respond
}

/// For MSIE, which kept fragments across redirects: a page that leads on, instead of a redirect.
fn refresh(request: &mut Request) -> Next {
    leave_body(request);
    let mut page = request.thread.buffer();
    page.extend_from_slice(b"<html><head><meta http-equiv=\"Refresh\" content=\"0; URL=");
    if let Some(location) = request.response.location.take() {
        wire::uri::escape_refresh(location.of(&request.response.text), &mut page);
    }
    page.extend_from_slice(b"\"></head><body></body></html>\r\n");
    request.error_status = 200;
    request.response.status = 200;
    request.response.set_content_type(b"text/html");
    request.response.content_length = Some(page.len() as u64);
    request.response.body = Body::Memory(page.into());
    Next::Respond
}

/// The browsers that used to hide short error pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Agent {
    Msie,
    Chrome,
    Other,
}
impl Agent {
    fn of(request: &Request) -> Agent {
        request.header(Known::UserAgent).map_or(Agent::Other, Agent::named)
    }
    /// As nginx tells them apart.
    fn named(agent: &[u8]) -> Agent {
        let find = |text: &[u8]| memchr::memmem::find(agent, text);
        if find(b"Opera").is_some() {
            return Agent::Other;
        }
        if find(b"MSIE ").is_some_and(|at| at + 7 < agent.len()) {
            return Agent::Msie;
        }
        if find(b"Gecko/").is_none() && find(b"Chrome/").is_some() { Agent::Chrome } else { Agent::Other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_known_by_their_names() {
        let chrome = "Mozilla/5.0 (X11) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36";
        let table = [
            ("curl/8.0", Agent::Other),
            (chrome, Agent::Chrome),
            ("Mozilla/5.0 (X11; rv:109.0) Gecko/20100101 Firefox/115.0", Agent::Other),
            ("Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 5.1)", Agent::Msie),
            ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1) Opera 8.0", Agent::Other),
            ("MSIE 7", Agent::Other),
        ];
        for (name, agent) in table {
            assert_eq!(Agent::named(name.as_bytes()), agent, "{name}");
        }
    }
}

//! `capacity_status`: the capacity chain as a live page, as JSON, as metrics, or as text.

use conf::{Args, Error, Inherit, LOCATION, Scope, Within, directive};
use wire::Known;

use super::Module;
use crate::chain::{self, Reading};
use crate::http::phases::Next;
use crate::http::request::Request;
use crate::http::response::Body;
use crate::http::steps::{Handler, Outcome};
use crate::worker::generation::Compiler;

mod metrics;
mod page;

pub(crate) static MODULE: Module = Module {
    name: "capacity_status",
    directives: &[directive("capacity_status", LOCATION, conf::between(0, 1), configure)],
    variables: &[],
};

/// In which form the chain is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// A page that updates itself.
    Html,
    /// Everything, for programs.
    Json,
    /// Prometheus' text format.
    Prometheus,
    /// OpenMetrics.
    OpenMetrics,
    /// A table.
    Text,
}

impl Format {
    fn of(name: &[u8]) -> Option<Format> {
        match name {
            b"html" => Some(Format::Html),
            b"json" => Some(Format::Json),
            b"prometheus" => Some(Format::Prometheus),
            b"openmetrics" => Some(Format::OpenMetrics),
            b"text" => Some(Format::Text),
            _ => None,
        }
    }
    /// What a client that says nothing else wants: browsers name HTML, Prometheus its formats.
    fn accepted(accept: &[u8]) -> Option<Format> {
        let names = |kind: &[u8]| memchr::memmem::find(accept, kind).is_some();
        let known: [(&[u8], Format); 4] = [
            (b"text/html", Format::Html),
            (b"application/openmetrics-text", Format::OpenMetrics),
            (b"text/plain;version=0.0.4", Format::Prometheus),
            (b"application/json", Format::Json),
        ];
        known.into_iter().find(|(kind, _)| names(kind)).map(|(_, format)| format)
    }
    fn content_type(self) -> &'static [u8] {
        match self {
            Format::Html => b"text/html; charset=utf-8",
            Format::Json => b"application/json",
            Format::Prometheus => b"text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => b"application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Text => b"text/plain; charset=utf-8",
        }
    }
}

/// The directive stands in this block; its locations do not take it over.
#[derive(Default)]
struct Here(Option<Shown>);
/// What it shows; `None`: what the client asks for.
#[derive(Clone, Copy)]
struct Shown(Option<Format>);
impl Inherit for Here {
    fn inherit(&mut self, _: &Here) {}
    fn reaches(kind: Within) -> bool {
        kind == conf::IF_LOCATION || kind == conf::LIMIT_EXCEPT
    }
}

/// `capacity_status [auto | html | json | prometheus | openmetrics | text];`
fn configure(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let format = match a.words.len() {
        1 if a.str(0) != "auto" => {
            let invalid = || a.error(format!("invalid parameter \"{}\"", a.str(0)));
            Some(Format::of(a.str(0).as_bytes()).ok_or_else(invalid)?)
        }
        _ => None,
    };
    if at.own::<Here>().0.replace(Shown(format)).is_some() {
        return Err(Error::directive("is duplicate"));
    }
    Ok(())
}

struct Status(Option<Format>);

pub(crate) fn handler(at: &Scope, with: &mut Compiler<'_>) -> Result<Option<Box<dyn Handler>>, Error> {
    let Some(Shown(format)) = at.conf::<Here>().and_then(|here| here.0) else { return Ok(None) };
    with.watched = true;
    Ok(Some(Box::new(Status(format))))
}

impl Handler for Status {
    fn answer<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Next> {
        if !matches!(request.method, wire::Method::Get | wire::Method::Head) {
            return Next::Status(405).into();
        }
        let format = self.format(request);
        Outcome::wait(answer(request, format))
    }
}

impl Status {
    /// `?format=` counts most, then the directive, then what the client accepts.
    fn format(&self, request: &Request) -> Format {
        let asked = request.args.split(|b| *b == b'&').find_map(|arg| arg.strip_prefix(b"format="));
        let accepted = || Format::accepted(request.header(Known::Accept).unwrap_or_default());
        asked.and_then(Format::of).or(self.0).or_else(accepted).unwrap_or(Format::Text)
    }
}

async fn answer(request: &mut Request, format: Format) -> Next {
    let process = request.thread.process.clone();
    let generation = request.generation.shared.clone();
    let time = request.thread.handle.unix_time().as_secs();
    let with_past = format == Format::Html || request.args.ends_with(b"past");
    let work = move || chain::read(&process, &generation, time, with_past);
    let Ok(reading) = request.thread.process.blocking.run(work).await else { return Next::Status(503) };
    let text = written(&reading, format);
    let response = &mut request.response;
    response.status = 200;
    response.set_content_type(format.content_type());
    response.add(Known::Other, b"Cache-Control", b"no-store");
    response.content_length = Some(text.len() as u64);
    response.body = Body::Memory(text.into_bytes().into());
    Next::Respond
}

fn written(reading: &Reading, format: Format) -> String {
    match format {
        Format::Html => page::page(reading),
        Format::Json => serde_json::to_string(reading).map(|text| text + "\n").unwrap_or_default(),
        Format::Prometheus => metrics::metrics(reading, false),
        Format::OpenMetrics => metrics::metrics(reading, true),
        Format::Text => text(reading),
    }
}

fn text(reading: &Reading) -> String {
    let mut text = format!("{}\n\n", reading.sentence);
    for shown in &reading.links {
        let link = &shown.link;
        let part = link.fullness();
        let binds = reading.binding.as_ref().is_some_and(|b| b.kind == link.kind && b.of == link.of);
        text += &format!(
            "{:<32} {:>10} of {:<10} {}{}\n",
            shown.name,
            amount(link, Some(link.used)),
            amount(link, link.ceiling),
            capacity::draw::bar(part, 16),
            if binds { " <- binds" } else { "" }
        );
    }
    text
}

fn amount(link: &capacity::Link, amount: Option<u64>) -> String {
    match (link.kind, amount) {
        (capacity::Kind::Memory, Some(bytes)) => capacity::draw::bytes(bytes),
        (capacity::Kind::EventLoop, Some(busy)) => format!("{:.2}", busy as f64 / 1000.0),
        _ => capacity::draw::limit(amount),
    }
}

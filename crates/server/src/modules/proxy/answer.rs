//! One request: whom it asks, and for what.

use std::sync::Arc;

use wire::{Framing, ResponseParser};

use super::create::{self, Place};
use super::pass::{self, Target};
use super::settings::Settings;
use crate::http::phases::Next;
use crate::http::relay::{self, Asked, Message, Protocol, Reader};
use crate::http::request::Request;
use crate::upstream::Group;

/// A location that passes its requests on.
pub struct Proxy {
    pub(super) settings: Settings,
    pub(super) target: Target,
}

impl Proxy {
    pub(super) fn new(settings: Settings, target: Target) -> Proxy {
        Proxy { settings, target }
    }

    /// Whom it asks, if that is always the same, and whether the path goes on unchanged.
    pub fn fixed(&self) -> Option<(&Arc<Group>, bool)> {
        match &self.target {
            Target::Fixed(fixed) => Some((&fixed.group, fixed.uri.is_none())),
            Target::Variable(..) => None,
        }
    }

    /// Asks the upstream; the answer becomes the request's response.
    pub async fn answer(&self, request: &mut Request) -> Next {
        let settings = &self.settings.relay;
        if let Err(status) = relay::read_body(settings, request, self.may_stream(request)).await {
            return Next::Status(status);
        }
        request.upstream.begin(settings.scheme);
        let asked = match self.asked(request).await {
            Ok(asked) => asked,
            Err(status) => return Next::Status(status),
        };
        relay::ask(&self.settings, settings, request, asked).await
    }

    /// Whether the body can be passed on while it comes.
    fn may_stream(&self, request: &Request) -> bool {
        let s = &self.settings;
        s.set_body.is_none() && (s.http_11 || request.body.framing != Framing::Chunked)
    }

    /// What to ask whom.
    async fn asked(&self, request: &mut Request) -> Result<Asked, u16> {
        let (template, names) = match &self.target {
            Target::Fixed(fixed) => {
                let place = Place { host: &fixed.host, uri: fixed.uri.as_deref(), whole: false };
                let message = self.message(request, &place);
                return Ok(Asked { message, group: fixed.group.clone(), number: fixed.number });
            }
            Target::Variable(template, names) => (template, names),
        };
        let found = pass::find(template, names, request).await?;
        let host = std::mem::take(&mut request.upstream.host);
        let place = Place { host: &host, uri: found.uri.as_deref(), whole: true };
        let message = self.message(request, &place);
        request.upstream.host = host;
        Ok(Asked { message, group: found.group, number: found.number })
    }

    fn message(&self, request: &mut Request, place: &Place<'_>) -> Message {
        let head = request.thread.buffer();
        create::create(&self.settings, request, place, head)
    }
}

impl Protocol for Settings {
    fn reader(&self, _: &Message) -> Reader {
        Reader::Http(ResponseParser::new())
    }
    fn header(&self, request: &mut Request, known: wire::Known, name: &[u8], value: &[u8]) -> bool {
        self.rewrite(request, known, name, value)
    }
}

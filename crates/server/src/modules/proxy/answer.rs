//! One request: whom it asks, and for what.

use std::sync::Arc;

use wire::{Framing, ResponseParser};

use super::pass::{self, Target};
use super::settings::Settings;
use crate::http::phases::Next;
use crate::http::relay::create::{self, HttpVersion, Place};
use crate::http::relay::tls::Secured;
use crate::http::relay::{self, Asked, Cache, Kept, Looked, Message, Protocol, Reader};
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
        match self.asked(request).await {
            Ok(asked) => relay::ask(&self.settings, settings, request, asked).await,
            Err(next) => next,
        }
    }

    /// Whether the body can be passed on while it comes.
    fn may_stream(&self, request: &Request) -> bool {
        let s = &self.settings;
        let takes = match s.create.version {
            HttpVersion::Http10 => request.body.framing != Framing::Chunked,
            HttpVersion::Http11 | HttpVersion::Http2 => true,
        };
        takes && s.create.set_body.is_none()
    }

    /// What to ask whom; unless the answer is known already.
    async fn asked(&self, request: &mut Request) -> Result<Asked, Next> {
        let (template, names) = match &self.target {
            Target::Fixed(fixed) => {
                let place = Place { host: &fixed.host, uri: fixed.uri.as_deref(), whole: false };
                let (message, kept) = self.message(request, &place).await?;
                let secured = self.secured(request, fixed.https, &fixed.host);
                return Ok(Asked {
                    message,
                    group: fixed.group.clone(),
                    number: fixed.number,
                    kept,
                    secured,
                });
            }
            Target::Variable(template, names) => (template, names),
        };
        let minds_client = self.settings.relay.minds_client();
        let found = pass::find(template, names, request, minds_client).await.map_err(Next::Status)?;
        let mut host = request.thread.buffer();
        host.extend_from_slice(&request.upstream.host);
        let place = Place { host: &host, uri: found.uri.as_deref(), whole: true };
        let (message, kept) = self.message(request, &place).await?;
        let secured = self.secured(request, found.https, &host);
        request.thread.give_buffer(host);
        Ok(Asked { message, group: found.group, number: found.number, kept, secured })
    }
    fn secured(&self, request: &mut Request, https: bool, host: &[u8]) -> Option<Box<Secured>> {
        let tls = self.settings.tls.as_ref().filter(|_| https)?;
        Some(Box::new(tls.secured(request, host)))
    }

    async fn message(
        &self,
        request: &mut Request,
        place: &Place<'_>,
    ) -> Result<(Message, Option<Box<Kept>>), Next> {
        let kept = match &self.settings.relay.cache {
            Some(cache) => Box::pin(self.look(cache, request, place)).await?,
            None => None,
        };
        let for_cache = kept.as_ref().is_some_and(|kept| kept.asks_for_all());
        let head = request.thread.buffer();
        Ok((
            create::create(&self.settings.create, &self.settings.relay, request, place, for_cache, head),
            kept,
        ))
    }

    /// Looks into the cache.
    async fn look(
        &self,
        cache: &Cache,
        request: &mut Request,
        place: &Place<'_>,
    ) -> Result<Option<Box<Kept>>, Next> {
        let mut key = Vec::new();
        match &cache.key {
            Some(template) => template.render(request, &mut key),
            None => {
                key.extend_from_slice(self.settings.relay.scheme.as_bytes());
                key.extend_from_slice(place.host);
                create::put_uri(request, place, &mut key);
            }
        }
        match relay::look(cache, &self.settings.relay, &self.settings, request, key).await {
            Looked::Not => Ok(None),
            Looked::Answered(next) => Err(next),
            Looked::Ask(kept) => Ok(Some(kept)),
        }
    }
}

impl Protocol for Settings {
    fn has_name_and_date(&self) -> bool {
        true
    }
    fn reader(&self, _: &Message) -> Reader {
        match self.create.version {
            HttpVersion::Http2 => Reader::Stream,
            _ => Reader::Http(ResponseParser::new()),
        }
    }
    fn header(&self, request: &mut Request, known: wire::Known, name: &[u8], value: &[u8]) -> bool {
        self.rewrite(request, known, name, value)
    }
}

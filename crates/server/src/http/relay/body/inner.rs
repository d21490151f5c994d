//! What is known of a body while it is passed on, and how it ends.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::parts::{Coding, Keeper, Parts, Rests, UpstreamSource};
use crate::http::relay::pace::Pace;
use crate::http::relay::settings::Settings;
use crate::http::relay::spill::Spill;
use crate::http::request::Request;
use crate::log::{Action, Level};
use crate::upstream::{self, Held, Record};
use crate::worker::thread::Thread;

/// A body on its way, and all that goes with it.
pub(super) struct Inner {
    pub(super) thread: Rc<Thread>,
    pub(super) settings: Arc<Settings>,
    pub(super) source: Option<UpstreamSource>,
    pub(super) held: Option<Held>,
    pub(super) rests: Option<Rests>,
    pub(super) coding: Coding,
    pub(super) keeper: Option<Box<Keeper>>,
    pub(super) buffering: bool,
    pub(super) spill: Spill,
    pub(super) complete: bool,
    pub(super) failure: Option<String>,
    /// The failure is logged.
    pub(super) told: bool,
    /// What is to be logged.
    pub(super) remarks: Vec<(Level, String)>,
    /// What is being done, as nginx says it: without buffering that depends on what came with the head, and on who is waited for.
    pub(super) during: Action,
    pub(super) flush: bool,
    pub(super) waits: bool,
    /// Bytes read since others had their turn.
    pub(super) burst: usize,
    /// `.._limit_rate`
    pub(super) pace: Option<Box<Pace>>,
    /// Bytes read with the head.
    pub(super) with_head: u64,
    /// Bytes sent with the request's head, where its body may still follow.
    pub(super) sent: u64,
    pub(super) received: u64,
    /// What stood behind a stream's body.
    pub(super) trailers: Vec<u8>,
    /// Bytes of the body with its framing (`$upstream_response_length`).
    pub(super) length: u64,
    pub(super) ended: Option<Instant>,
}

impl Inner {
    #[inline]
    pub(super) fn new(
        settings: &Arc<Settings>,
        request: &mut Request,
        parts: Parts,
        buffering: bool,
    ) -> Inner {
        Inner {
            thread: request.thread.clone(),
            settings: settings.clone(),
            source: parts.source,
            held: parts.held,
            rests: parts.rests,
            coding: parts.coding,
            keeper: parts.keeper,
            buffering,
            spill: Spill::default(),
            complete: false,
            failure: None,
            told: false,
            remarks: Vec::new(),
            during: if buffering { Action::Upstream } else { Action::UpstreamHead },
            flush: false,
            waits: false,
            burst: 0,
            pace: Pace::new(settings, request, buffering),
            with_head: request.upstream.last().map_or(0, |last| last.received),
            sent: 0,
            received: 0,
            trailers: Vec::new(),
            length: 0,
            ended: None,
        }
    }
    /// Whether the client may be told that something follows the body: what has a length is given it, unless frames say
    /// where it ends.
    pub(super) fn may_trail(&self, request: &Request) -> bool {
        self.settings.pass_trailers
            && match &self.source {
                Some(UpstreamSource::Stream(stream)) => {
                    let unknown = request.response.content_length.is_none();
                    !stream.is_end() && (unknown || request.client.is_stream())
                }
                _ => matches!(self.coding, Coding::Chunked(_)),
            }
    }
    /// Of a stream: what was sent before it, and whether it ended with its head.
    pub(super) fn note_stream(&mut self, record: &mut Record) {
        let Some(UpstreamSource::Stream(stream)) = &self.source else { return };
        self.sent = record.last().map_or(0, |last| last.sent).saturating_sub(stream.sent());
        if !stream.is_end() {
            return;
        }
        match stream.wrong_at_end() {
            Some(what) => self.fail(what.into()),
            None => self.end(),
        }
    }
    pub(super) fn account(&self, record: &mut Record) {
        let now = self.ended.unwrap_or_else(|| self.thread.handle.now());
        record.end_at(now);
        if let Some(last) = record.last() {
            last.length = self.length;
            last.received = self.with_head + self.received;
            if let Some(UpstreamSource::Stream(stream)) = &self.source {
                last.sent = self.sent + stream.sent();
            }
        }
        if self.ended.is_some() && record.trailers.is_empty() {
            record.trailers.extend_from_slice(self.trailers());
        }
    }
    pub(super) fn trailers(&self) -> &[u8] {
        match &self.coding {
            Coding::Chunked(decoder) => decoder.trailers(),
            _ => &self.trailers,
        }
    }
    pub(super) fn log(&mut self, request: &Request) {
        for (level, remark) in self.remarks.drain(..) {
            request.note(level, format_args!("{remark}"));
        }
        if let Some(failure) = self.failure.as_ref().filter(|_| !std::mem::replace(&mut self.told, true)) {
            log_error!(request, "{failure}");
        }
    }
    fn said(&self, what: &str) -> String {
        format!("{what} while {}", self.during.text().unwrap_or_default())
    }
    pub(super) fn remark(&mut self, level: Level, what: String) {
        self.remarks.push((level, self.said(&what)));
    }
    pub(super) fn fail(&mut self, what: String) {
        if self.failure.is_none() {
            self.failure = Some(self.said(&what));
        }
        self.rests = None;
        self.close();
    }
    /// The body is complete: its connection rests, its server is done.
    pub(super) fn end(&mut self) {
        self.complete = true;
        self.close();
    }
    fn close(&mut self) {
        self.ended.get_or_insert(self.thread.handle.now());
        if let Some(mut held) = self.held.take() {
            held.finished(self.thread.handle.unix_time());
        }
        let Some(UpstreamSource::Link(link)) = self.source.take() else { return };
        let reusable = match &self.coding {
            Coding::Other(answer) => answer.is_reusable(),
            _ => true,
        };
        if let Some(rests) = self.rests.take().filter(|_| reusable) {
            upstream::rest(&self.thread, rests.number, rests.key, &rests.keep, link);
        }
    }
}

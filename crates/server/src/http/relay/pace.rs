//! `.._limit_rate`: a server's answer is read no faster than so many bytes a second.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::settings::Settings;
use crate::http::request::Request;
use crate::worker::thread::Thread;

/// The shortest pause: bytes come in pieces worth the while.
const PAUSE: Duration = Duration::from_millis(20);

/// How fast one body is read.
pub(super) struct Pace {
    rate: u64,
    began: Instant,
    pause: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl Pace {
    /// As configured; only what is buffered is held back, as in nginx.
    pub fn new(settings: &Settings, request: &mut Request, buffering: bool) -> Option<Box<Pace>> {
        let template = settings.limit_rate.as_ref().filter(|_| buffering)?;
        let mut text = request.thread.buffer();
        template.render(request, &mut text);
        let rate = conf::size(&text).unwrap_or(0);
        request.thread.give_buffer(text);
        let began = request.thread.handle.now();
        (rate > 0).then(|| Box::new(Pace { rate, began, pause: None }))
    }
    /// How much may be read now, when `read` bytes were; waits while it is nothing.
    pub fn poll(&mut self, cx: &mut Context<'_>, thread: &Thread, read: u64) -> Poll<usize> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            let elapsed = thread.handle.now().saturating_duration_since(self.began).as_millis() as u64;
            // A second's worth is there at once, as in nginx.
            let allowed = self.rate.saturating_mul(elapsed + 1000) / 1000;
            if read < allowed {
                return Poll::Ready(usize::try_from(allowed - read).unwrap_or(usize::MAX));
            }
            let over = Duration::from_millis((read - allowed).saturating_mul(1000) / self.rate);
            self.pause = Some(Box::pin(thread.handle.sleep(over.max(PAUSE))));
        }
    }
}

//! `limit_rate`: how fast one answer goes to its client.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::request::Request;
use crate::connection::Rest;

/// The pace of one answer.
pub struct Pace {
    /// Bytes a second.
    rate: u64,
    /// What goes out before that counts.
    after: u64,
    /// Until then nothing is sent.
    pause: Option<Pin<Box<reactor::Sleep<Rest>>>>,
}

impl Pace {
    /// The pace of the answer at hand, if it has any.
    pub fn of(request: &mut Request) -> Option<Pace> {
        if request.limit_rate.is_none() && !request.core().delivery.limits_rate() {
            return None;
        }
        let plan = request.plan();
        let rate = plan.core.delivery.rate(request)?;
        Some(Pace { rate, after: plan.core.delivery.rate_after(request), pause: None })
    }
    /// How many bytes may go out now; waits while it is none.
    ///
    /// # Errors
    /// `ConnectionAborted` when the client leaves meanwhile.
    pub fn poll_room(&mut self, request: &Request, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            if let Some(pause) = &mut self.pause {
                if pause.as_mut().poll(cx).is_pending() {
                    ready!(request.client.poll_closed(cx));
                    log_info!(
                        request,
                        "client prematurely closed connection while sending response to client"
                    );
                    return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                }
                self.pause = None;
            }
            let now = request.thread.handle.unix_time().as_secs();
            let seconds = now.saturating_sub(request.started_unix.as_secs()) + 1;
            let granted = self.rate.saturating_mul(seconds).saturating_add(self.after);
            match granted.checked_sub(request.sent) {
                Some(room @ 1..) => return Poll::Ready(Ok(usize::try_from(room).unwrap_or(usize::MAX))),
                _ => self.wait(request, request.sent - granted, 1),
            }
        }
    }
    /// After `sent` bytes went out: what follows waits for as long as they are allowed to take.
    pub fn wrote(&mut self, request: &Request, sent: usize) {
        let now = request.sent.saturating_sub(self.after);
        let before = (request.sent - sent as u64).saturating_sub(self.after);
        if (now - before).saturating_mul(1000) >= self.rate {
            self.wait(request, now - before, 0);
        }
    }
    fn wait(&mut self, request: &Request, bytes: u64, more: u64) {
        let time = Duration::from_millis(bytes.saturating_mul(1000) / self.rate + more);
        self.pause = Some(Box::pin(request.thread.handle.sleep(time)));
    }
}

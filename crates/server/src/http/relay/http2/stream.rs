//! One request and its answer on a connection that may have others.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream};
use wire::BadResponse;

use super::super::failure::Failure;
use super::super::protocol::BadHead;
use super::head;
use super::upload::Upload;
use crate::http2::deadline::Deadline;
use crate::upstream::Place;

/// See the module.
pub struct Stream {
    upload: Upload,
    head: Option<ResponseFuture>,
    body: Option<RecvStream>,
    /// What is behind the body is to come.
    trails: bool,
    /// How long the server may take for each piece.
    timeout: Duration,
    deadline: Deadline,
    /// The connection served others before.
    pub reused: bool,
    /// Dropped last: with it the connection may go to rest.
    place: Place,
}

impl Stream {
    /// A request whose head is sent.
    pub fn new(upload: Upload, head: ResponseFuture, deadline: (Deadline, Duration), place: Place) -> Stream {
        let (deadline, timeout) = deadline;
        Stream {
            upload,
            head: Some(head),
            body: None,
            trails: false,
            timeout,
            deadline,
            reused: false,
            place,
        }
    }
    /// Bytes of the request's body that were sent.
    pub fn sent(&self) -> u64 {
        self.upload.sent
    }
    /// Whether the head of the final answer is here.
    pub fn has_head(&self) -> bool {
        self.body.is_some()
    }
    /// The request's body on its way.
    pub fn upload(&mut self) -> &mut Upload {
        &mut self.upload
    }
    /// Whether the answer ended with its head.
    pub fn is_end(&self) -> bool {
        self.body.as_ref().is_some_and(RecvStream::is_end_stream)
    }
    /// Appends the head of an interim answer, or of the final one, which `true` says.
    pub fn poll_head(&mut self, cx: &mut Context<'_>, text: &mut Vec<u8>) -> Poll<Result<bool, Failure>> {
        self.send(cx)?;
        let Some(answer) = &mut self.head else { return Poll::Ready(Ok(true)) };
        if let Poll::Ready(Some(Ok(interim))) = answer.poll_informational(cx) {
            head::put_answer(&interim, text);
            return Poll::Ready(Ok(false));
        }
        match Pin::new(answer).poll(cx) {
            Poll::Ready(Ok(found)) => {
                self.deadline.stop_waiting();
                head::put_answer(&found, text);
                self.body = Some(found.into_body());
                Poll::Ready(Ok(true))
            }
            Poll::Ready(Err(error)) => {
                let failure = failure(error);
                if matches!(failure, Failure::Unprocessed(_)) {
                    // Asked again over the same line it might say so for ever.
                    self.place.wear_out();
                }
                Poll::Ready(Err(failure))
            }
            // The server has to answer only when it has the question.
            Poll::Pending if !self.upload.is_done() => Poll::Pending,
            Poll::Pending => self.late(cx),
        }
    }
    /// What came of the body; nothing at its end, and then what stands behind it is in `trailers`.
    pub fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        trailers: &mut Vec<u8>,
    ) -> Poll<Result<Bytes, Failure>> {
        self.send(cx)?;
        let Some(body) = &mut self.body else { return Poll::Ready(Ok(Bytes::new())) };
        while !self.trails {
            let Poll::Ready(came) = body.poll_data(cx) else { return self.late(cx) };
            self.deadline.stop_waiting();
            match came.transpose().map_err(failure)? {
                None => self.trails = true,
                Some(bytes) => {
                    // Fails only where the stream is over; then there is nothing to be released.
                    let _ = body.flow_control().release_capacity(bytes.len());
                    if !bytes.is_empty() {
                        return Poll::Ready(Ok(bytes));
                    }
                }
            }
        }
        let Poll::Ready(fields) = body.poll_trailers(cx) else { return self.late(cx) };
        if let Some(fields) = fields.map_err(failure)? {
            head::put_fields(&fields, trailers);
        }
        Poll::Ready(Ok(Bytes::new()))
    }
    /// Sends more of the request, whatever else goes on.
    pub fn send(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        match self.upload.poll(cx) {
            Poll::Ready(sent) => sent,
            Poll::Pending => Ok(()),
        }
    }
    fn late<T>(&self, cx: &mut Context<'_>) -> Poll<Result<T, Failure>> {
        ready!(self.deadline.poll_within(cx, self.timeout));
        // The connection may be dead: others are not to wait for the same.
        self.place.wear_out();
        Poll::Ready(Err(Failure::ReceiveTimeout))
    }
}

/// What becomes of a stream that broke.
pub fn failure(error: h2::Error) -> Failure {
    let code = error.reason().map_or(0, u32::from);
    let framing = |what: String| Failure::Invalid(BadHead::Framing(what));
    match error.reason() {
        _ if error.is_io() => match error.into_io() {
            Some(error) if !is_closed(&error) => Failure::Receive(error),
            _ => Failure::Closed,
        },
        // The server says that it has not begun with the request.
        Some(Reason::REFUSED_STREAM) if error.is_remote() => {
            Failure::Unprocessed(format!("upstream rejected request with error {code}"))
        }
        Some(Reason::NO_ERROR) if error.is_go_away() => {
            Failure::Unprocessed(format!("upstream sent goaway with error {code}"))
        }
        _ if error.is_remote() && error.is_reset() => {
            framing(format!("upstream rejected request with error {code}"))
        }
        _ if error.is_remote() => framing(format!("upstream sent goaway with error {code}")),
        Some(Reason::REFUSED_STREAM) if error.is_reset() => {
            Failure::Invalid(BadHead::Lines(BadResponse::TooBig))
        }
        _ => framing(format!("upstream sent invalid http2 frames ({error})")),
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::NotConnected
    )
}

#![allow(clippy::unwrap_used)]
mod rules;

use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::{Client, Fault, PREFACE, STREAM_WINDOW};
use crate::frame::{FrameHead, HEAD, Kind, code, flag, put_head};
use crate::{put_field, put_status, put_table_update};

const GET: &[u8] = &[0x82, 0x86, 0x84];
const OK: &[u8] = &[0x88];
const ENDS: u8 = flag::END_STREAM;
const HEADERS: u8 = flag::END_HEADERS;

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}
fn frame(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_head(payload.len(), kind, flags, stream, &mut out);
    out.extend_from_slice(payload);
    out
}
/// What the client says next, as frames.
fn said(client: &mut Client) -> Vec<(FrameHead, Vec<u8>)> {
    let output = client.output().to_vec();
    client.note_sent(output.len());
    let mut rest = output.strip_prefix(PREFACE).unwrap_or(&output);
    let mut frames = Vec::new();
    while let Some(head) = FrameHead::read(rest) {
        let (frame, behind) = rest.split_at(HEAD + head.length);
        frames.push((head, frame[HEAD..].to_vec()));
        rest = behind;
    }
    assert!(rest.is_empty());
    frames
}
/// A client with so many requests, which are said.
fn asked(requests: usize) -> Client {
    let mut client = Client::default();
    for _ in 0..requests {
        client.begin(GET, true, 1000).unwrap();
    }
    said(&mut client);
    client
}
fn head(client: &mut Client, id: u32) -> Poll<Result<(bool, String), Fault>> {
    let mut text = Vec::new();
    let came = client.poll_head(id, &cx(), &mut text);
    came.map_ok(|is_final| (is_final, String::from_utf8(text).unwrap()))
}
/// The body that is there, and the trailers if it is complete.
fn body(client: &mut Client, id: u32) -> (Vec<u8>, Option<Result<Vec<u8>, Fault>>) {
    let (mut all, mut trailers) = (Vec::new(), Vec::new());
    loop {
        let mut part = Vec::new();
        match client.poll_body(id, &cx(), &mut part, &mut trailers) {
            Poll::Pending => return (all, None),
            Poll::Ready(Err(fault)) => return (all, Some(Err(fault))),
            Poll::Ready(Ok(())) if part.is_empty() => return (all, Some(Ok(trailers))),
            Poll::Ready(Ok(())) => all.extend(part),
        }
    }
}
fn broken(what: &str) -> Poll<Result<(bool, String), Fault>> {
    Poll::Ready(Err(Fault::Broken(what.into())))
}

#[test]
fn what_is_said_first() {
    let mut client = Client::default();
    assert!(client.output().starts_with(PREFACE));
    assert_eq!(client.begin(GET, true, 1000), Some(1));
    let kinds =
        said(&mut client).into_iter().map(|(head, payload)| (head.kind, head.flags, head.stream, payload));
    let settings = b"\0\x01\0\0\0\0\0\x02\0\0\0\0\0\x04\0\x04\0\0".to_vec();
    assert_eq!(
        kinds.collect::<Vec<_>>(),
        [
            (Kind::Settings, 0, 0, settings),
            (Kind::WindowUpdate, 0, 0, b"\x7f\xff\0\0".to_vec()),
            (Kind::Headers, HEADERS | ENDS, 1, GET.to_vec()),
        ]
    );
    // A head of several frames, behind a server's word that it remembers nothing.
    client.take(&frame(Kind::Settings, 0, 0, b"\0\x01\0\0\0\0"));
    assert_eq!(client.begin(&[0x82; 20_000], false, 1000), Some(3));
    let sizes = said(&mut client).into_iter().map(|(head, _)| (head.kind, head.flags, head.length));
    let wanted = [(Kind::Settings, ENDS, 0), (Kind::Headers, 0, 16_384), (Kind::Continuation, HEADERS, 3617)];
    assert_eq!(sizes.collect::<Vec<_>>(), wanted);
}

#[test]
fn an_answer() {
    let mut client = asked(1);
    assert_eq!(head(&mut client, 1), Poll::Pending);
    let mut hints = Vec::new();
    put_table_update(&mut hints);
    put_status(103, &mut hints);
    put_field(b"link", b"</a>", &mut hints);
    client.take(&frame(Kind::Headers, HEADERS, 1, &hints));
    client.take(&frame(
        Kind::Headers,
        HEADERS | flag::PADDED | flag::PRIORITY,
        1,
        b"\x02\0\0\0\0\x10\x88\0\0",
    ));
    client.take(&frame(Kind::Data, flag::PADDED, 1, b"\x01body\0"));
    client.take(&frame(Kind::Unknown, 0, 77, b"x"));
    assert_eq!(head(&mut client, 1), Poll::Ready(Ok((false, "HTTP/1.1 103\r\nlink: </a>\r\n\r\n".into()))));
    assert_eq!(head(&mut client, 1), Poll::Ready(Ok((true, "HTTP/1.1 200\r\n\r\n".into()))));
    assert_eq!(body(&mut client, 1), (b"body".to_vec(), None));
    let mut trailers = Vec::new();
    put_field(b"a", b"1", &mut trailers);
    client.take(&frame(Kind::Headers, HEADERS | ENDS, 1, &trailers));
    assert!(!client.is_end(1));
    assert_eq!(body(&mut client, 1), (vec![], Some(Ok(b"a: 1\r\n".to_vec()))));
    assert!(client.is_end(1));
    client.forget(1);
    assert_eq!((said(&mut client), client.open()), (vec![], 0));
}

#[test]
fn what_is_forgotten_is_cancelled() {
    let mut client = asked(2);
    client.forget(3);
    let reset = said(&mut client);
    assert_eq!((reset[0].0.kind, reset[0].0.stream, &reset[0].1[..]), (Kind::Reset, 3, &b"\0\0\0\x08"[..]));
    // What is under way for it does no harm.
    client.take(&frame(Kind::Headers, 0, 3, b"\xff\xff"));
    client.take(&frame(Kind::Continuation, HEADERS, 3, b"\xff"));
    client.take(&frame(Kind::Data, ENDS, 3, b"data"));
    client.take(&frame(Kind::Reset, 0, 3, &[0; 4]));
    client.take(&frame(Kind::WindowUpdate, 0, 3, &[0, 0, 0, 1]));
    assert!(client.takes() && !client.is_over());
}

#[test]
fn servers_that_leave() {
    let mut client = asked(3);
    client.take(&frame(Kind::GoAway, 0, 0, b"\0\0\0\x03\0\0\0\0bye"));
    assert_eq!(head(&mut client, 5), Poll::Ready(Err(Fault::Goodbye(0))));
    assert_eq!(head(&mut client, 3), Poll::Pending);
    assert!(!client.takes() && client.begin(GET, true, 9).is_none());
    client.take(&frame(Kind::Headers, HEADERS | ENDS, 3, OK));
    client.end(Fault::Gone);
    assert!(matches!(head(&mut client, 3), Poll::Ready(Ok((true, _)))));
    assert_eq!(body(&mut client, 3), (vec![], Some(Ok(vec![]))));
    assert_eq!(head(&mut client, 1), Poll::Ready(Err(Fault::Gone)));
    // What was refused was not begun with; what began is.
    let mut client = asked(3);
    for id in [1, 3] {
        client.take(&frame(Kind::Headers, HEADERS, id, OK));
    }
    for (id, reason) in [(1, 7), (3, 0), (5, 7)] {
        client.take(&frame(Kind::Reset, 0, id, &u32::to_be_bytes(reason)));
    }
    assert_eq!(body(&mut client, 1).1, Some(Err(Fault::Reset(7))));
    assert_eq!(body(&mut client, 3).1, Some(Err(Fault::Reset(0))));
    assert_eq!(head(&mut client, 5), Poll::Ready(Err(Fault::Refused(7))));
}

#[test]
fn an_answer_before_its_question_ends() {
    let mut client = Client::default();
    let id = client.begin(GET, false, 1000).unwrap();
    client.take(&[frame(Kind::Headers, HEADERS | ENDS, id, OK), frame(Kind::Reset, 0, id, &[0; 4])].concat());
    assert_eq!(client.poll_room(id, &cx(), 5), Poll::Ready(0));
    said(&mut client);
    client.forget(id);
    assert_eq!(said(&mut client), []);
}

#[test]
fn settings_say_how_many_streams() {
    let mut client = asked(2);
    assert!(client.takes());
    client.take(&frame(Kind::Settings, 0, 0, b"\0\x03\0\0\0\x02"));
    assert!(!client.takes());
    client.forget(1);
    assert!(client.takes());
}

#[test]
fn nothing_grows_without_end() {
    // A body that nobody takes.
    let mut client = asked(1);
    client.take(&frame(Kind::Headers, HEADERS, 1, OK));
    let part = frame(Kind::Data, 0, 1, &[0; 16_384]);
    (0..16).for_each(|_| client.take(&part));
    assert_eq!(said(&mut client), []);
    client.take(&frame(Kind::Data, 0, 1, b"x"));
    let fault =
        Fault::Broken("upstream violated stream flow control, received 1 data frame with window 0".into());
    let (taken, end) = body(&mut client, 1);
    assert_eq!((taken.len() as i64, end), (STREAM_WINDOW, Some(Err(fault))));
    // Answers to pings that nobody reads.
    let mut client = asked(1);
    let pings = frame(Kind::Ping, 0, 0, &[0; 8]).repeat(1002);
    client.take(&pings);
    assert_eq!(head(&mut client, 1), broken("upstream sent too many ping frames"));
    // But as many as it likes of those that it reads, while there is always something to send.
    let mut client = Client::default();
    let id = client.begin(GET, false, 1000).unwrap();
    client.take(&frame(Kind::WindowUpdate, 0, 0, &[0, 0xff, 0xff, 0xff]));
    client.take(&frame(Kind::WindowUpdate, 0, id, &[0, 0xff, 0xff, 0xff]));
    for _ in 0..1000 {
        client.take(&frame(Kind::Ping, 0, 0, &[0; 8]).repeat(10));
        while let Poll::Ready(room) = client.poll_room(id, &cx(), 3000) {
            client.send(id, &vec![0; room], false);
        }
        client.note_sent(5000);
        assert!(!client.is_over() && !client.output().is_empty());
        assert!(client.out.len() < 256 * 1024);
    }
    // A head without end.
    let mut client = asked(1);
    client.take(&frame(Kind::Headers, 0, 1, b""));
    let empty = frame(Kind::Continuation, 0, 1, b"");
    client.take(&empty.repeat(10_000));
    assert_eq!(head(&mut client, 1), broken("upstream sent too large http2 header"));
}

#[test]
fn bodies_keep_to_the_windows() {
    let mut client = Client::default();
    let id = client.begin(GET, false, 1000).unwrap();
    let mut sent = 0;
    while let Poll::Ready(room) = client.poll_room(id, &cx(), 50_000) {
        assert!((1..=16_384).contains(&room));
        client.send(id, &vec![0; room], false);
        sent += room;
    }
    assert_eq!(sent, 65_535);
    client.take(&frame(Kind::WindowUpdate, 0, id, &[0, 0, 0, 9]));
    said(&mut client);
    assert_eq!(client.poll_room(id, &cx(), 5), Poll::Pending);
    client.take(&frame(Kind::WindowUpdate, 0, 0, &[0, 0, 0, 3]));
    assert_eq!(client.poll_room(id, &cx(), 5), Poll::Ready(3));
    client.take(&frame(Kind::Settings, 0, 0, b"\0\x04\0\0\0\0"));
    assert_eq!(client.poll_room(id, &cx(), 5), Poll::Pending);
}

/// Answers to some requests, and how the frames are cut when they arrive.
type Answers = Vec<(Vec<Vec<u8>>, Option<String>)>;

fn answers() -> impl Strategy<Value = (Answers, Vec<usize>)> {
    let parts = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..5);
    let answer = (parts, prop::option::of("[ -~]{0,40}"));
    (prop::collection::vec(answer, 1..5), prop::collection::vec(1usize..4000, 1..20))
}

proptest! {
    #[test]
    fn answers_are_whole_however_they_come((answers, cuts) in answers()) {
        let mut client = asked(answers.len());
        let mut frames: Vec<Vec<Vec<u8>>> = Vec::new();
        for (n, (parts, trailer)) in answers.iter().enumerate() {
            let id = n as u32 * 2 + 1;
            let mut all = vec![frame(Kind::Headers, 0, id, b""), frame(Kind::Continuation, HEADERS, id, OK)];
            all = vec![all.concat()];
            for part in parts {
                let padded = [&[3][..], part, &[0; 3]].concat();
                all.push(frame(Kind::Data, flag::PADDED, id, &padded));
            }
            let mut block = Vec::new();
            match trailer {
                Some(value) => {
                    put_field(b"x", value.as_bytes(), &mut block);
                    all.push(frame(Kind::Headers, HEADERS | ENDS, id, &block));
                }
                None => all.push(frame(Kind::Data, ENDS, id, b"")),
            }
            frames.push(all);
        }
        // A frame of each in turn.
        let longest = frames.iter().map(Vec::len).max().unwrap();
        let mut bytes = Vec::new();
        for n in 0..longest {
            frames.iter().filter_map(|all| all.get(n)).for_each(|frame| bytes.extend_from_slice(frame));
        }
        let mut rest = &bytes[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (part, behind) = rest.split_at((*cut).min(rest.len()));
            client.take(part);
            rest = behind;
        }
        for (n, (parts, trailer)) in answers.iter().enumerate() {
            let id = n as u32 * 2 + 1;
            prop_assert!(matches!(head(&mut client, id), Poll::Ready(Ok((true, _)))));
            let behind = trailer.as_ref().map(|value| format!("x: {value}\r\n")).unwrap_or_default();
            prop_assert_eq!(body(&mut client, id), (parts.concat(), Some(Ok(behind.into_bytes()))));
        }
    }
    #[test]
    fn whatever_comes_is_taken_or_refused(
        frames in prop::collection::vec((0u8..11, any::<u8>(), 0u32..6, prop::collection::vec(any::<u8>(), 0..40)), 0..30),
    ) {
        let mut client = Client::default();
        for ends in [true, false] {
            client.begin(GET, ends, 100).unwrap();
        }
        for (kind, flags, stream, payload) in frames {
            let mut bytes = frame(Kind::Data, flags, stream, &payload);
            bytes[3] = kind;
            client.take(&bytes);
            if let Poll::Ready(room) = client.poll_room(3, &cx(), 10) {
                client.send(3, &vec![0; room], false);
            }
        }
        for id in [1, 3] {
            let _ = head(&mut client, id);
            let _ = body(&mut client, id);
            client.forget(id);
        }
        let over = client.is_over();
        let frames = said(&mut client);
        prop_assert_eq!(over, frames.iter().any(|(head, _)| head.kind == Kind::GoAway));
        let cancelled = frames.iter().filter(|(head, payload)| head.kind == Kind::Reset && payload[3] == code::CANCEL as u8);
        prop_assert!(cancelled.count() <= 2);
    }
}

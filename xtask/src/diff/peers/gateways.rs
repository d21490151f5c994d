//! Applications that speak FastCGI, SCGI and uwsgi, and a memcached: the same answers in their words.

use testkit::{Origin, Wire};

use super::{answers, cached, wanted};

/// What an application is told, as names and values.
type Params = Vec<(String, String)>;

/// Speaks FastCGI.
pub fn fastcgi() -> Origin {
    Origin::wires(|wire| {
        while let Some((keep, params, body)) = fastcgi_request(wire) {
            let what = wanted(param(&params, "REQUEST_URI"));
            let sent = wire.send(fastcgi_answer(&what, &params, &body));
            if !keep || sent.is_err() || closes(&what) {
                return;
            }
        }
    })
}

/// Speaks SCGI.
pub fn scgi() -> Origin {
    Origin::wires(|wire| {
        let Ok(digits) = wire.read_through(b":") else { return };
        let Ok(length) = String::from_utf8_lossy(&digits).trim_end_matches(':').parse::<usize>() else {
            return;
        };
        let Ok(text) = wire.read_exact(length + 1) else { return };
        let parts: Vec<String> = text[..length]
            .split(|byte| *byte == 0)
            .map(|part| String::from_utf8_lossy(part).into_owned())
            .collect();
        let params: Params = parts.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        let body = wire.read_exact(param(&params, "CONTENT_LENGTH").parse().unwrap_or(0)).unwrap_or_default();
        let what = wanted(param(&params, "REQUEST_URI"));
        let _ = wire.send(cgi(&what, &params, &body));
    })
}

/// Speaks uwsgi.
pub fn uwsgi() -> Origin {
    Origin::wires(|wire| {
        let Ok(head) = wire.read_exact(4) else { return };
        let Ok(text) = wire.read_exact(usize::from(head[1]) | usize::from(head[2]) << 8) else { return };
        let mut params = vec![("modifiers".to_owned(), format!("{} {}", head[0], head[3]))];
        let mut rest = &text[..];
        while let (Some(name), Some(value)) = (counted(&mut rest), counted(&mut rest)) {
            params.push((name, value));
        }
        let length = param(&params, "CONTENT_LENGTH").parse().unwrap_or(0);
        let body = wire.read_exact(length).unwrap_or_default();
        let what = wanted(param(&params, "REQUEST_URI"));
        let _ = wire.send(cgi(&what, &params, &body));
    })
}

/// A text behind its length, the lower byte first.
fn counted(bytes: &mut &[u8]) -> Option<String> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    *bytes = rest;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// A memory that has what its keys are called after.
pub fn memcached() -> Origin {
    Origin::wires(|wire| {
        while let Ok(line) = wire.read_through(b"\r\n") {
            let line = String::from_utf8_lossy(&line).into_owned();
            let key = line.trim_end().strip_prefix("get ").unwrap_or_default();
            let answer = match wanted(key).as_str() {
                "hit" | "ok" | "found.txt" => format!("VALUE {key} 0 8\r\none text\r\nEND\r\n"),
                "flags" => format!("VALUE {key} 2 4\r\nzzzz\r\nEND\r\n"),
                "empty" => format!("VALUE {key} 0 0\r\n\r\nEND\r\n"),
                "badkey" => "VALUE other 0 8\r\none text\r\nEND\r\n".to_owned(),
                "badlength" => format!("VALUE {key} 0 x\r\none text\r\nEND\r\n"),
                "error" => "SERVER_ERROR no\r\n".to_owned(),
                "tail" => format!("VALUE {key} 0 3\r\none text\r\nEND\r\n"),
                "cut" => format!("VALUE {key} 0 8\r\none"),
                "none" => String::new(),
                _ => "END\r\n".to_owned(),
            };
            // Only what is whole goes on.
            let goes_on = answer.ends_with("END\r\n")
                && !matches!(wanted(key).as_str(), "tail" | "badkey" | "badlength");
            if wire.send(answer).is_err() || !goes_on {
                return;
            }
        }
    })
}

fn param<'a>(params: &'a Params, name: &str) -> &'a str {
    params.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
}

fn closes(what: &str) -> bool {
    cached::answer(what, None).or_else(|| answers::answer(what)).is_some_and(|(_, closes)| closes)
        || matches!(what, "badrecord" | "noend")
}

/// An answer as applications write it: a status among the headers instead of a line.
fn cgi(what: &str, params: &Params, body: &[u8]) -> Vec<u8> {
    let known = cached::answer(what, None).or_else(|| answers::answer(what));
    let Some((text, _)) = known else {
        let mut text = b"Content-Type: text/plain\r\n\r\n".to_vec();
        // Newer nginx always tells the host, older tells what the client said, in its place.
        let mut lines: Vec<String> = params.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        lines.retain(|line| !line.starts_with("HTTP_HOST="));
        lines.sort();
        text.extend_from_slice(lines.concat().as_bytes());
        text.extend_from_slice(body);
        return text;
    };
    let head_only = param(params, "REQUEST_METHOD") == "HEAD";
    let text = if head_only { super::head_of(&text).to_vec() } else { text };
    match text.strip_prefix(b"HTTP/1.1 ") {
        Some(rest) => [b"Status: ", rest].concat(),
        None => text,
    }
}

fn fastcgi_answer(what: &str, params: &Params, body: &[u8]) -> Vec<u8> {
    let end = record(3, &[0; 8]);
    let text = match what {
        "stderr" => {
            return [record(7, b"PHP odd\n"), record(6, b"X-Origin: e\r\n\r\nok"), record(7, b"more"), end]
                .concat();
        }
        "stderronly" => return [record(7, b"Primary script unknown"), end].concat(),
        "split" => {
            return [
                record(6, b"X-Ori"),
                record(6, b"gin: e\r\n\r"),
                record(6, b"\nok"),
                record(6, b""),
                end,
            ]
            .concat();
        }
        "badrecord" => return [vec![9, 6, 0, 1, 0, 2, 0, 0], b"ok".to_vec(), end].concat(),
        "noend" => return record(6, b"X-Origin: e\r\n\r\nok"),
        _ => cgi(what, params, body),
    };
    let parts: Vec<Vec<u8>> = text.chunks(30_000).map(|part| record(6, part)).collect();
    [parts.concat(), record(6, b""), end].concat()
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u16).to_be_bytes();
    let mut all = vec![1, kind, 0, 1, length[0], length[1], 0, 0];
    all.extend_from_slice(content);
    all
}

/// One request: whether the connection is to be kept, what is told, the body.
fn fastcgi_request(wire: &mut Wire) -> Option<(bool, Params, Vec<u8>)> {
    let (mut keep, mut told, mut body) = (false, Vec::new(), Vec::new());
    loop {
        let head = wire.read_exact(8).ok()?;
        let content = wire.read_exact(usize::from(head[4]) << 8 | usize::from(head[5])).ok()?;
        wire.read_exact(usize::from(head[6])).ok()?;
        match (head[1], content.is_empty()) {
            (1, _) => keep = content.get(2) == Some(&1),
            (4, false) => told.extend(content),
            (5, false) => body.extend(content),
            (5, true) => return Some((keep, pairs(&told), body)),
            _ => {}
        }
    }
}

fn pairs(mut bytes: &[u8]) -> Params {
    let text = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
    let mut all = Vec::new();
    while let (Some(name), Some(value)) = (length(&mut bytes), length(&mut bytes)) {
        let Some((both, rest)) = bytes.split_at_checked(name + value) else { break };
        let (name, value) = both.split_at(name);
        all.push((text(name), text(value)));
        bytes = rest;
    }
    all
}

/// One byte, or four where the first says so.
fn length(bytes: &mut &[u8]) -> Option<usize> {
    let (size, rest) = match bytes {
        [short, rest @ ..] if *short < 128 => (usize::from(*short), rest),
        [a, b, c, d, rest @ ..] => (u32::from_be_bytes([a & 0x7f, *b, *c, *d]) as usize, rest),
        _ => return None,
    };
    *bytes = rest;
    Some(size)
}

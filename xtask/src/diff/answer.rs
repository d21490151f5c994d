//! What a server sent, as a reader of it would have it: chunks put together, compressed bodies inflated.

use std::io::Read;

use flate2::read::MultiGzDecoder;

/// All answers of a connection, one behind the other.
pub fn readable(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(end) = find(bytes, b"\r\n\r\n") {
        let (head, rest) = bytes.split_at(end + 4);
        if !head.starts_with(b"HTTP/1.") {
            break;
        }
        out.extend_from_slice(head);
        bytes = rest;
        let gzip = has(head, "content-encoding: gzip");
        let body = match has(head, "transfer-encoding: chunked") {
            true => {
                let (body, rest) = unchunked(bytes);
                bytes = rest;
                body
            }
            // To the end, as there is no length.
            false if gzip && !has(head, "content-length:") => std::mem::take(&mut bytes).to_vec(),
            // Its end is where the next answer begins.
            false => {
                let end = find(bytes, b"HTTP/1.1 ").unwrap_or(bytes.len());
                let (body, rest) = bytes.split_at(end);
                bytes = rest;
                out.extend_from_slice(body);
                continue;
            }
        };
        out.extend(if gzip { inflated(&body) } else { body });
    }
    out.extend_from_slice(bytes);
    out
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn has(head: &[u8], field: &str) -> bool {
    String::from_utf8_lossy(head).to_ascii_lowercase().contains(&format!("\n{field}"))
}

/// A body without its chunks (and how it ends, where it does not end well), and what follows it.
fn unchunked(mut bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut body = Vec::new();
    while let Some(end) = find(bytes, b"\r\n") {
        let Ok(size) = usize::from_str_radix(&String::from_utf8_lossy(&bytes[..end]), 16) else { break };
        bytes = &bytes[end + 2..];
        if size == 0 {
            let end = find(bytes, b"\r\n").map_or(bytes.len(), |at| at + 2);
            return (body, &bytes[end..]);
        }
        let taken = size.min(bytes.len());
        body.extend_from_slice(&bytes[..taken]);
        bytes = bytes[taken..].strip_prefix(b"\r\n").unwrap_or(&bytes[taken..]);
    }
    body.extend_from_slice(b"[NO LAST CHUNK]");
    (body, bytes)
}

fn inflated(body: &[u8]) -> Vec<u8> {
    let mut text = b"[GZIP]".to_vec();
    match MultiGzDecoder::new(body).read_to_end(&mut text) {
        Ok(_) => text,
        Err(_) => {
            text.extend_from_slice(b"[CUT]");
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_put_together_and_what_follows_stays() {
        let sent = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
        let text = String::from_utf8_lossy(&readable(sent)).into_owned();
        assert_eq!(
            text,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nabcHTTP/1.1 204 No Content\r\n\r\n"
        );
    }

    #[test]
    fn a_cut_body_says_so() {
        let text = readable(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab");
        assert!(text.ends_with(b"ab[NO LAST CHUNK]"));
    }

    #[test]
    fn compressed_bodies_are_inflated() {
        let mut sent = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n".to_vec();
        sent.extend_from_slice(super::super::peers::GZIPPED);
        assert!(readable(&sent).ends_with(b"[GZIP]packed one text\n"));
    }
}

//! Status lines with nginx's reason phrases.

/// nginx's phrases. A status it has none for is sent without: `HTTP/1.1 299 `.
const PHRASES: &[(u16, &str)] = &[
    (200, "OK"),
    (201, "Created"),
    (202, "Accepted"),
    (204, "No Content"),
    (206, "Partial Content"),
    (301, "Moved Permanently"),
    (302, "Moved Temporarily"),
    (303, "See Other"),
    (304, "Not Modified"),
    (307, "Temporary Redirect"),
    (308, "Permanent Redirect"),
    (400, "Bad Request"),
    (401, "Unauthorized"),
    (402, "Payment Required"),
    (403, "Forbidden"),
    (404, "Not Found"),
    (405, "Not Allowed"),
    (406, "Not Acceptable"),
    (407, "Proxy Authentication Required"),
    (408, "Request Time-out"),
    (409, "Conflict"),
    (410, "Gone"),
    (411, "Length Required"),
    (412, "Precondition Failed"),
    (413, "Request Entity Too Large"),
    (414, "Request-URI Too Large"),
    (415, "Unsupported Media Type"),
    (416, "Requested Range Not Satisfiable"),
    (421, "Misdirected Request"),
    (429, "Too Many Requests"),
    (500, "Internal Server Error"),
    (501, "Not Implemented"),
    (502, "Bad Gateway"),
    (503, "Service Temporarily Unavailable"),
    (504, "Gateway Time-out"),
    (505, "HTTP Version Not Supported"),
    (507, "Insufficient Storage"),
];

/// The longest line: `HTTP/1.1 416 Requested Range Not Satisfiable` and CRLF.
const LONGEST: usize = 46;

#[derive(Clone, Copy)]
struct Text {
    bytes: [u8; LONGEST],
    length: u8,
}

/// Every status of three digits has its line ready, so that none is ever put together for a response.
static LINES: [Text; 1000] = lines();

const fn lines() -> [Text; 1000] {
    let mut lines = [Text { bytes: [0; LONGEST], length: 0 }; 1000];
    let mut status = 0;
    while status < 1000 {
        lines[status] = line(status as u16, "");
        status += 1;
    }
    let mut at = 0;
    while at < PHRASES.len() {
        let (status, phrase) = PHRASES[at];
        lines[status as usize] = line(status, phrase);
        at += 1;
    }
    lines
}

const fn line(status: u16, phrase: &str) -> Text {
    let digits =
        [b'0' + (status / 100) as u8, b'0' + (status / 10 % 10) as u8, b'0' + (status % 10) as u8, b' '];
    let text = Text { bytes: [0; LONGEST], length: 0 };
    append(append(append(append(text, b"HTTP/1.1 "), &digits), phrase.as_bytes()), b"\r\n")
}

const fn append(mut text: Text, more: &[u8]) -> Text {
    let mut at = 0;
    while at < more.len() {
        text.bytes[text.length as usize] = more[at];
        text.length += 1;
        at += 1;
    }
    text
}

/// The status line of a response, CRLF included. Statuses of more than three digits, which nothing can set,
/// get that of 500.
#[inline]
#[must_use]
pub fn status_line(status: u16) -> &'static [u8] {
    let line = LINES.get(status as usize).unwrap_or(&LINES[500]);
    &line.bytes[..line.length as usize]
}

/// Status and phrase as the title of nginx's pages has them, `404 Not Found`.
#[must_use]
pub fn status_text(status: u16) -> &'static [u8] {
    let line = status_line(status);
    &line[b"HTTP/1.1 ".len()..line.len() - 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_nginxs() {
        assert_eq!(status_line(200), b"HTTP/1.1 200 OK\r\n");
        assert_eq!(status_line(302), b"HTTP/1.1 302 Moved Temporarily\r\n");
        assert_eq!(status_line(416), b"HTTP/1.1 416 Requested Range Not Satisfiable\r\n");
        assert_eq!(status_line(101), b"HTTP/1.1 101 \r\n");
        assert_eq!(status_line(299), b"HTTP/1.1 299 \r\n");
        assert_eq!(status_line(0), b"HTTP/1.1 000 \r\n");
        assert_eq!(status_line(1000), status_line(500));
        assert_eq!(status_text(404), b"404 Not Found");
    }
}

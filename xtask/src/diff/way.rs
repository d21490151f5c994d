//! How requests travel: as the bytes they are, or as curl sends them over HTTP/2, TLS, or both.

use std::process::{Command, Stdio};
use std::sync::LazyLock;

use testkit::Site;

use super::answer;

/// What carries a case's requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// HTTP/1, every byte as it was made.
    #[default]
    Bytes,
    /// HTTP/2, begun without a word.
    Http2,
    /// HTTP/1 over TLS.
    Tls,
    /// HTTP/2 over TLS.
    Http2Tls,
}

/// What is said of a connection and not of a request: curl says it itself, or HTTP/2 does not have it.
const OF_CONNECTIONS: &[&str] =
    &["connection", "keep-alive", "te", "upgrade", "transfer-encoding", "content-length", "expect"];

impl Way {
    /// Those that are curl's.
    pub const CURLED: [Way; 3] = [Way::Http2, Way::Tls, Way::Http2Tls];

    /// What stands behind a seed that travels so.
    pub fn name(self) -> &'static str {
        match self {
            Way::Bytes => "",
            Way::Http2 => "+h2",
            Way::Tls => "+tls",
            Way::Http2Tls => "+h2tls",
        }
    }
    /// The way that a seed's text names, and the text before it.
    pub fn of(text: &str) -> (Way, &str) {
        let named = Way::CURLED.into_iter().find_map(|way| Some((way, text.strip_suffix(way.name())?)));
        named.unwrap_or((Way::Bytes, text))
    }
    /// The configuration with listeners for it.
    pub fn configuration(self, text: &str) -> String {
        let (words, more) = match self {
            Way::Bytes => return text.to_owned(),
            Way::Http2 => (" http2", ""),
            Way::Tls => (" ssl", CERTIFICATE),
            Way::Http2Tls => (" ssl http2", CERTIFICATE),
        };
        let listen = "listen 127.0.0.1:%%PORT%%";
        text.replace(listen, &format!("{listen}{words}")).replacen("http {", &format!("http {{ {more}"), 1)
    }
    /// The files that the configuration then names.
    pub fn files(self, site: Site) -> Site {
        match self {
            Way::Bytes | Way::Http2 => site,
            Way::Tls | Way::Http2Tls => site.file("diff.pem", &*PEM),
        }
    }
    /// Sends a connection's requests by curl, each on a connection of its own, as curl does not take well what is said
    /// of a connection between two requests; the answers in the form of HTTP/1.
    pub fn curl(self, port: u16, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for asked in requests(bytes) {
            let output = self.ask(port, &asked).output().expect("curl runs");
            out.extend(answer::readable(&as_http1(&output.stdout)));
            out.extend(format!("[curl {}]\n", output.status.code().unwrap_or(-1)).bytes());
        }
        out
    }

    fn ask(self, port: u16, asked: &Asked) -> Command {
        let (scheme, version) = match self {
            Way::Bytes => ("http", "--http1.1"),
            Way::Http2 => ("http", "--http2-prior-knowledge"),
            Way::Tls => ("https", "--http1.1"),
            Way::Http2Tls => ("https", "--http2"),
        };
        let mut curl = Command::new("curl");
        curl.stdin(Stdio::null()).args([
            version,
            "-s",
            "-i",
            "-k",
            "-g",
            "--raw",
            "--path-as-is",
            "-m",
            "4",
            "-A",
            "",
        ]);
        curl.args(["-H", "Accept:"]);
        match asked.method.as_str() {
            "HEAD" => curl.arg("-I"),
            method => curl.args(["-X", method]),
        };
        // Over HTTP/2 a stream may be over before curl has sent a body that nobody wants, which curl calls a failure.
        let bodies = self == Way::Tls && asked.method != "HEAD";
        if let Some(body) = asked.body.as_ref().filter(|_| bodies) {
            curl.args(["-H", "Content-Type:", "-H", "Expect:", "--data-binary", body]);
        }
        for field in &asked.fields {
            curl.args(["-H", field]);
        }
        curl.arg(format!("{scheme}://127.0.0.1:{port}{}", asked.target));
        curl
    }
}

const CERTIFICATE: &str =
    "ssl_certificate diff.pem; ssl_certificate_key diff.pem; ssl_protocols TLSv1.2 TLSv1.3;";
static PEM: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let words = "req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 30 -subj /CN=diff -keyout - -out -";
    Command::new("openssl").args(words.split(' ')).output().expect("openssl runs").stdout
});

/// A request that curl can send.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    method: String,
    target: String,
    fields: Vec<String>,
    body: Option<String>,
}

/// What curl can send of a connection's requests.
fn requests(mut bytes: &[u8]) -> Vec<Asked> {
    let mut all = Vec::new();
    while let Some(end) = find(bytes, b"\r\n\r\n") {
        let (head, rest) = (String::from_utf8_lossy(&bytes[..end]).into_owned(), &bytes[end + 4..]);
        let (body, rest) = body(&head, rest);
        bytes = rest;
        all.extend(asked(&head, body));
    }
    all
}

fn asked(head: &str, body: Option<String>) -> Option<Asked> {
    let mut lines = head.split("\r\n");
    let line: Vec<&str> = lines.next()?.split(' ').collect();
    let &[method, target, version] = line.as_slice() else { return None };
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    let fits = version.starts_with("HTTP/1.") && target.starts_with('/') && plain(target);
    if !fits || method == "CONNECT" || !plain(method) {
        return None;
    }
    let fields = lines.filter_map(field).collect();
    Some(Asked { method: method.into(), target: target.into(), fields, body })
}

/// A header line as curl wants it, if it may have it.
fn field(line: &str) -> Option<String> {
    let (name, value) = line.split_once(':')?;
    let token = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if !token || value.bytes().any(|b| !(b == b' ' || b.is_ascii_graphic())) {
        return None;
    }
    let (lower, value) = (name.to_ascii_lowercase(), value.trim());
    match () {
        () if OF_CONNECTIONS.contains(&&*lower) || lower == "host" && value.is_empty() => None,
        () if value.is_empty() => Some(format!("{name};")),
        () => Some(format!("{name}: {value}")),
    }
}

/// The body of a request with this head, and what follows it.
fn body<'a>(head: &str, rest: &'a [u8]) -> (Option<String>, &'a [u8]) {
    let lower = head.to_ascii_lowercase();
    if lower.contains("\r\ntransfer-encoding: chunked") {
        let end = find(rest, b"\r\n\r\n").map_or(rest.len(), |end| end + 4);
        return (Some("hello".into()), &rest[end..]);
    }
    let length = lower.split_once("\r\ncontent-length: ").and_then(|(_, text)| {
        text.split("\r\n").next()?.parse::<usize>().ok().filter(|length| *length <= rest.len())
    });
    match length {
        Some(length) => (Some(String::from_utf8_lossy(&rest[..length]).into_owned()), &rest[length..]),
        None => (None, rest),
    }
}

/// An answer of HTTP/2, as curl prints it, in the form of HTTP/1: its names begin with capitals.
fn as_http1(answer: &[u8]) -> Vec<u8> {
    let (Some(end), true) = (find(answer, b"\r\n\r\n"), answer.starts_with(b"HTTP/2 ")) else {
        return answer.to_vec();
    };
    let head = String::from_utf8_lossy(&answer[..end]).replacen("HTTP/2 ", "HTTP/1.1 ", 1);
    let mut out: Vec<u8> = Vec::new();
    for (number, line) in head.split("\r\n").enumerate() {
        if number > 0 {
            out.extend_from_slice(b"\r\n");
        }
        let name = line.find(':').unwrap_or(0);
        let word = |at: usize| at == 0 || line.as_bytes()[at - 1] == b'-';
        out.extend(line.bytes().enumerate().map(|(at, b)| match at < name && word(at) {
            true => b.to_ascii_uppercase(),
            false => b,
        }));
    }
    let hint = head.starts_with("HTTP/1.1 1");
    out.extend_from_slice(b"\r\n\r\n");
    out.extend(if hint { as_http1(&answer[end + 4..]) } else { answer[end + 4..].to_vec() });
    out
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_curl_can_send_is_sent() {
        let bytes = b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nNoColon\r\nX-Empty:\r\n\r\n\r\n\
            GET  /  HTTP/1.1\r\n\r\nPOST /b HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloHEAD /c HTTP/1.0\r\n\r\n";
        let all = requests(bytes);
        let ways: Vec<String> =
            all.iter().map(|asked| format!("{} {}", asked.method, asked.target)).collect();
        assert_eq!(ways, ["GET /a", "POST /b", "HEAD /c"]);
        assert_eq!(all[0].fields, ["Host: x", "X-Empty;"]);
        assert_eq!(all[1].body.as_deref(), Some("hello"));
    }

    #[test]
    fn an_answer_of_http2_is_shown_as_one_of_http1() {
        let shown = as_http1(b"HTTP/2 200 \r\ncontent-type: a/b\r\n\r\nbody: x");
        assert_eq!(shown, b"HTTP/1.1 200 \r\nContent-Type: a/b\r\n\r\nbody: x");
    }

    #[test]
    fn a_seed_names_its_way() {
        assert_eq!(Way::of("access-17+h2tls"), (Way::Http2Tls, "access-17"));
        assert_eq!(Way::of("17"), (Way::Bytes, "17"));
    }
}

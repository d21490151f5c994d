//! Making answers of two servers comparable.

use regex::Regex;

use crate::binary::Binary;

/// A response's bytes with everything masked that differs from run to run or by the server's name:
/// `Date`, `Server`, the port in a `Location`, and the footer of the built-in pages. `ETag` and `Last-Modified` stay.
pub fn normal(bytes: &[u8], port: u16) -> String {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let text = replace(&text, r"(?m)^Date: [^\r]*", "Date: DATE");
    let text = replace(&text, r"(?m)^Server: [^\r]*", "Server: SERVER");
    let text = replace(&text, "<center>(nginx|plimsoll)(/[0-9.]+)?</center>", "<center>SERVER</center>");
    text.replace(&format!(":{port}"), ":PORT")
}

fn replace(text: &str, pattern: &str, with: &str) -> String {
    Regex::new(pattern).expect("a pattern of ours").replace_all(text, with).into_owned()
}

/// Status and title of every page that nginx has.
pub const PAGES: &[(u16, &str)] = &[
    (301, "301 Moved Permanently"),
    (302, "302 Found"),
    (303, "303 See Other"),
    (307, "307 Temporary Redirect"),
    (308, "308 Permanent Redirect"),
    (400, "400 Bad Request"),
    (401, "401 Authorization Required"),
    (402, "402 Payment Required"),
    (403, "403 Forbidden"),
    (404, "404 Not Found"),
    (405, "405 Not Allowed"),
    (406, "406 Not Acceptable"),
    (409, "409 Conflict"),
    (410, "410 Gone"),
    (411, "411 Length Required"),
    (412, "412 Precondition Failed"),
    (413, "413 Request Entity Too Large"),
    (414, "414 Request-URI Too Large"),
    (415, "415 Unsupported Media Type"),
    (416, "416 Requested Range Not Satisfiable"),
    (421, "421 Misdirected Request"),
    (429, "429 Too Many Requests"),
    (500, "500 Internal Server Error"),
    (501, "501 Not Implemented"),
    (502, "502 Bad Gateway"),
    (503, "503 Service Temporarily Unavailable"),
    (504, "504 Gateway Time-out"),
    (505, "505 HTTP Version Not Supported"),
    (507, "507 Insufficient Storage"),
];

/// The page both servers have built in for this status, with `server_tokens off`.
pub fn error_page(binary: Binary, title: &str) -> String {
    let name = binary.name();
    format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n\
         <hr><center>{name}</center>\r\n</body>\r\n</html>\r\n"
    )
}

/// Whether the text matches this regular expression, for formats of logs and variables.
pub fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).expect("the pattern of a test").is_match(text)
}

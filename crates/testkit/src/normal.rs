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

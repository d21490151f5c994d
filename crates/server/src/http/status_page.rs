//! The pages that a status has where no `error_page` answers: nginx's, byte for byte, with this server's name.

use std::sync::LazyLock;

/// Each status with a page, its title and heading. 498 has 404's text, as in nginx.
const PAGES: &[(u16, &str)] = &[
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
    (407, "407 Proxy Authentication Required"),
    (408, "408 Request Time-out"),
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
    (494, "Request Header Or Cookie Too Large"),
    (495, "The SSL certificate error"),
    (496, "No required SSL certificate was sent"),
    (497, "The plain HTTP request was sent to HTTPS port"),
    (498, "404 Not Found"),
    (500, "500 Internal Server Error"),
    (501, "501 Not Implemented"),
    (502, "502 Bad Gateway"),
    (503, "503 Service Temporarily Unavailable"),
    (504, "504 Gateway Time-out"),
    (505, "505 HTTP Version Not Supported"),
    (507, "507 Insufficient Storage"),
];

const SHORT: &str = "plimsoll";
const FULL: &str = concat!("plimsoll/", env!("CARGO_PKG_VERSION"));
const PADDING: &str = "<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n";

/// A page in its forms, all made once: answering costs no more than pointing at it.
struct Page {
    full: String,
    short: String,
    full_padded: String,
    short_padded: String,
}

static MADE: LazyLock<Vec<(u16, Page)>> =
    LazyLock::new(|| PAGES.iter().map(|(status, title)| (*status, page(*status, title))).collect());

fn page(status: u16, title: &str) -> Page {
    let with = |name: &str, padding: &str| format!("{}{}{padding}", head(status, title), tail(name));
    let padding = PADDING.repeat(6);
    Page {
        full: with(FULL, ""),
        short: with(SHORT, ""),
        full_padded: with(FULL, &padding),
        short_padded: with(SHORT, &padding),
    }
}
fn head(status: u16, title: &str) -> String {
    let (title, heading, more) = match status {
        494..=497 => (format!("400 {title}"), "400 Bad Request", format!("<center>{title}</center>\r\n")),
        _ => (title.to_owned(), title, String::new()),
    };
    format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{heading}</h1></center>\r\n{more}"
    )
}
fn tail(name: &str) -> String {
    format!("<hr><center>{name}</center>\r\n</body>\r\n</html>\r\n")
}

/// The page of a status; `None` for a status that is answered without content.
///
/// `full`: with the version (`server_tokens`). `padded`: long enough that old browsers show it instead of a text
/// of their own (`msie_padding`); never for redirects.
pub fn find(status: u16, full: bool, padded: bool) -> Option<&'static str> {
    let i = MADE.binary_search_by_key(&status, |(of, _)| *of).ok()?;
    let page = &MADE[i].1;
    Some(match (full, padded && status >= 400) {
        (true, false) => &page.full,
        (false, false) => &page.short,
        (true, true) => &page.full_padded,
        (false, true) => &page.short_padded,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn pages_are_sorted_for_the_search() {
        assert!(PAGES.is_sorted_by_key(|(status, _)| *status));
    }

    #[test]
    fn a_page_is_nginx_s_but_for_the_name() {
        let want = "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n<center><h1>404 Not Found</h1>\
                    </center>\r\n<hr><center>plimsoll</center>\r\n</body>\r\n</html>\r\n";
        assert_eq!(find(404, false, false).unwrap(), want);
        assert_eq!(find(498, false, false).unwrap(), want);
        assert!(find(404, true, false).unwrap().contains(concat!(
            ">plimsoll/",
            env!("CARGO_PKG_VERSION"),
            "<"
        )));
    }

    #[test]
    fn what_is_wrong_with_a_400_is_said_below_the_heading() {
        let page = find(497, false, false).unwrap();
        let text = "The plain HTTP request was sent to HTTPS port";
        assert!(page.contains(&format!("<title>400 {text}</title>")), "{page}");
        assert!(page.contains(&format!("<h1>400 Bad Request</h1></center>\r\n<center>{text}</center>\r\n")));
    }

    #[test]
    fn padding_is_for_errors_only() {
        let padded = find(404, false, true).unwrap();
        assert_eq!(padded.len(), find(404, false, false).unwrap().len() + 402);
        assert_eq!(find(301, false, true), find(301, false, false));
    }

    #[test]
    fn other_statuses_have_no_page() {
        for status in [200, 204, 300, 304, 417, 444, 499, 506, 599] {
            assert_eq!(find(status, true, false), None, "{status}");
        }
    }
}

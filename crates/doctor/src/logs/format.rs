//! `log_format`: which bytes of a line are which variable.

use super::near::find;

/// A format, ready to take lines apart.
pub struct Format {
    /// What must come first.
    prefix: Vec<u8>,
    /// Variables in order, each with the text that ends it.
    parts: Vec<Part>,
}

struct Part {
    variable: String,
    /// Whether it may have a value for each server that was tried.
    list: bool,
    /// `None`: the rest of the line.
    end: Option<Box<[u8]>>,
}

/// nginx's own format.
pub const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \"$http_referer\" \"$http_user_agent\"";

/// Formats that are in use in many places, the longest first: what follows the last variable of one is its value.
pub(super) const KNOWN: [&str; 7] = [
    // ingress-nginx
    "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \"$http_referer\" \"$http_user_agent\" $request_length $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name] $upstream_addr $upstream_response_length $upstream_response_time $upstream_status $req_id",
    // The extended one of nginx's own advice on logging
    "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \"$http_referer\" \"$http_user_agent\"$others rt=$request_time ua=\"$upstream_addr\" us=\"$upstream_status\" ut=\"$upstream_response_time\"",
    // Discourse
    "[$time_local] \"$http_host\" $remote_addr \"$request\" \"$http_user_agent\" \"$route\" $status $bytes_sent \"$http_referer\" $upstream_response_time $request_time \"$others",
    "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \"$http_referer\" \"$http_user_agent\" $request_time $upstream_response_time",
    "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \"$http_referer\" \"$http_user_agent\" \"$http_x_forwarded_for\" $request_time",
    "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \"$http_referer\" \"$http_user_agent\" $request_time",
    COMBINED,
];

impl Format {
    /// Compiles nginx's text.
    pub fn new(text: &str) -> Format {
        let mut format = Format { prefix: Vec::new(), parts: Vec::new() };
        let mut literal = String::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            literal.push_str(&rest[..dollar]);
            rest = &rest[dollar + 1..];
            let (name, after) = match rest.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
                Some(found) => found,
                None => rest.split_at(
                    rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len()),
                ),
            };
            if name.is_empty() {
                literal.push('$');
                continue;
            }
            rest = after;
            format.end_last(std::mem::take(&mut literal));
            let list = name.starts_with("upstream_");
            format.parts.push(Part { variable: name.to_owned(), list, end: None });
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            format.end_last(literal);
        }
        format
    }

    fn end_last(&mut self, literal: String) {
        match self.parts.last_mut() {
            None => self.prefix = literal.into_bytes(),
            // Two variables side by side cannot be told apart: the first is empty.
            Some(part) => part.end = Some(literal.into_bytes().into()),
        }
    }

    /// Its variables, in order.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|part| part.variable.as_str())
    }

    /// Gives the values of a line, in order. False: the line is not of this format.
    pub fn split<'a>(&self, line: &'a [u8], mut value: impl FnMut(usize, &'a [u8])) -> bool {
        let Some(mut rest) = line.strip_prefix(self.prefix.as_slice()) else { return false };
        for (index, part) in self.parts.iter().enumerate() {
            let Some(end) = &part.end else {
                value(index, rest);
                return true;
            };
            let Some(mut found) = find(end, rest) else { return false };
            // Where a request was retried, a value is a list: `a, b : c`.
            while part.list && in_list(&rest[..found], end) {
                let Some(next) = find(end, &rest[found + 1..]) else { return false };
                found += 1 + next;
            }
            value(index, &rest[..found]);
            rest = &rest[found + end.len()..];
        }
        true
    }
}

/// Whether what looks like the end of a value only parts it.
fn in_list(value: &[u8], end: &[u8]) -> bool {
    end.first() == Some(&b' ') && (value.ends_with(b",") || value.ends_with(b" :"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values<'a>(format: &str, line: &'a str) -> Option<Vec<&'a str>> {
        let mut values = Vec::new();
        let fits = Format::new(format).split(line.as_bytes(), |_, value: &'a [u8]| values.push(value));
        fits.then(|| values.iter().filter_map(|value| std::str::from_utf8(value).ok()).collect())
    }

    #[test]
    fn lines_are_taken_apart() {
        let line = "1.2.3.4 - - [27/Jun/2026:18:05:51 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"curl/8\" 0.250";
        let found = values(&format!("{COMBINED} $request_time"), line);
        assert_eq!(
            found.as_ref().map(|all| (all[2], all[3], all[8])),
            Some(("27/Jun/2026:18:05:51 +0000", "GET / HTTP/1.1", "0.250"))
        );
        assert_eq!(values("a=${x}b=$y;", "a=1b=2;"), Some(vec!["1", "2"]));
        assert_eq!(values("{\"t\":$msec,\"u\":\"$uri\"}", "{\"t\":1.5,\"u\":\"/\"}"), Some(vec!["1.5", "/"]));
        let listed = values("$upstream_addr $status", "1.1.1.1:80, 2.2.2.2:80 502");
        assert_eq!(listed, Some(vec!["1.1.1.1:80, 2.2.2.2:80", "502"]));
        assert_eq!(values("a $x b", "c 1 b"), None);
        assert_eq!(values("$ $x", "$ 1"), Some(vec!["1"]));
        assert_eq!(Format::new(COMBINED).variables().nth(4), Some("status"));
    }

    proptest! {
        #[test]
        fn any_format_and_any_line(format in ".{0,60}", line in prop::collection::vec(any::<u8>(), 0..80)) {
            Format::new(&format).split(&line, |_, _| {});
        }

        #[test]
        fn what_was_written_is_read(a in "[a-z0-9]{0,9}", b in "[a-z0-9]{0,9}") {
            let line = format!("<{a} - {b}>");
            prop_assert_eq!(values("<$a - $b>", &line), Some(vec![a.as_str(), b.as_str()]));
        }
    }
}

//! `proxy_redirect`: URLs of the upstream in `Location` and `Refresh` become the client's.

use crate::http::regex::Regex;
use crate::http::request::Request;
use crate::http::variables::Template;

/// One rule.
#[derive(Clone)]
pub(super) enum Rule {
    /// What begins so begins otherwise.
    Prefix(Template, Template),
    /// What matches is replaced as a whole.
    Regex(Regex, Template),
    /// A domain, in any case of letters, with or without a dot before it.
    Domain(Template, Template),
}

/// Appends `url` as the first rule that fits it makes it; `false`: none does, and nothing is appended.
pub(super) fn rewrite(rules: &[Rule], request: &mut Request, url: &[u8], out: &mut Vec<u8>) -> bool {
    rules.iter().any(|rule| rule.apply(request, url, out))
}

impl Rule {
    fn apply(&self, request: &mut Request, url: &[u8], out: &mut Vec<u8>) -> bool {
        match self {
            Rule::Prefix(from, to) => {
                let rest = match from.as_literal() {
                    Some(prefix) => url.strip_prefix(prefix),
                    None => {
                        let mut prefix = request.thread.buffer();
                        from.render(request, &mut prefix);
                        let rest = url.strip_prefix(&prefix[..]);
                        request.thread.give_buffer(prefix);
                        rest
                    }
                };
                let Some(rest) = rest else { return false };
                to.render(request, out);
                out.extend_from_slice(rest);
                true
            }
            Rule::Domain(from, to) => {
                let mut domain = request.thread.buffer();
                from.render(request, &mut domain);
                let same = without_dot(url).eq_ignore_ascii_case(without_dot(&domain));
                request.thread.give_buffer(domain);
                if same {
                    if url.starts_with(b".") {
                        out.push(b'.');
                    }
                    to.render(request, out);
                }
                same
            }
            Rule::Regex(regex, to) => {
                if !regex.capture(url, request) {
                    return false;
                }
                to.render(request, out);
                true
            }
        }
    }
}

fn without_dot(domain: &[u8]) -> &[u8] {
    domain.strip_prefix(b".").unwrap_or(domain)
}

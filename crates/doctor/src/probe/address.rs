//! Addresses as configurations write them, as the kernel lists them.

/// As the kernel lists it.
pub(crate) fn listen_address(word: &str) -> Option<String> {
    if word.starts_with("unix:") {
        return Some(word.to_owned());
    }
    if let Ok(port) = word.parse::<u16>() {
        return Some(format!("0.0.0.0:{port}"));
    }
    let word = word.replace("localhost", "127.0.0.1").replacen('*', "0.0.0.0", 1);
    Some(with_port(&word, 80))
}

/// `http://host:8000/uri`, `unix:/path`, `host:9000`: without scheme and path, with a port. A group has none.
pub(super) fn destination(to: &str, directive: &str, groups: &[&str]) -> String {
    let (scheme, rest) = to.split_once("://").unwrap_or(("", to));
    if let Some(path) = rest.strip_prefix("unix:") {
        // An URI follows a second colon.
        return format!("unix:{}", path.split(':').next().unwrap_or(path));
    }
    let host = rest.split('/').next().unwrap_or(rest);
    if groups.contains(&host) {
        return host.to_owned();
    }
    let default = match (scheme, directive) {
        ("https" | "grpcs", _) => 443,
        (_, "memcached_pass") => 11211,
        _ => 80,
    };
    with_port(host, default)
}

/// `http://host/uri`, `http://unix:/path:/uri`
pub(super) fn has_uri(to: &str) -> bool {
    let Some((_, rest)) = to.split_once("://") else { return false };
    match rest.strip_prefix("unix:") {
        Some(path) => path.contains(':'),
        None => rest.contains('/'),
    }
}

pub(super) fn with_port(host: &str, default: u16) -> String {
    if host.starts_with("unix:") {
        return host.to_owned();
    }
    let after_bracket = host.rsplit(']').next().unwrap_or(host);
    let host = if host.starts_with("localhost") {
        host.replacen("localhost", "127.0.0.1", 1)
    } else {
        host.to_owned()
    };
    if after_bracket.contains(':') { host } else { format!("{host}:{default}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(destination("http://[::1]:80/a", "proxy_pass", &[]), "[::1]:80");
        assert_eq!(destination("http://unix:/a.sock:/uri", "proxy_pass", &[]), "unix:/a.sock");
        assert_eq!(destination("127.0.0.1:9000", "fastcgi_pass", &[]), "127.0.0.1:9000");
        assert_eq!(listen_address("*:8080").unwrap(), "0.0.0.0:8080");
        assert_eq!(listen_address("127.0.0.1").unwrap(), "127.0.0.1:80");
    }
}

//! Settings of applications, out of command lines and files.

use crate::facts::Written;

/// Settings of gunicorn: as flags, then as a configuration has them.
pub(super) const GUNICORN: [(&str, &str); 8] = [
    ("-w", "workers"),
    ("--workers", "workers"),
    ("--threads", "threads"),
    ("--backlog", "backlog"),
    ("-k", "worker_class"),
    ("--worker-class", "worker_class"),
    ("--worker-connections", "worker_connections"),
    ("-c", "config"),
];
pub(super) const UWSGI: [(&str, &str); 8] = [
    ("-p", "processes"),
    ("--processes", "processes"),
    ("--workers", "processes"),
    ("--threads", "threads"),
    ("-l", "listen"),
    ("--listen", "listen"),
    ("--ini", "ini"),
    ("--cheaper", "cheaper"),
];
const PHP: [&str; 4] = ["pm", "pm.max_children", "pm.status_path", "listen.backlog"];

/// Values of `--name value`, `--name=value` and `-n value`.
pub fn flags<'a>(words: impl Iterator<Item = &'a str>, known: &[(&str, &str)], place: &str) -> Vec<Written> {
    let mut words = words.peekable();
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        let (flag, inline) = word.split_once('=').map_or((word, None), |(flag, value)| (flag, Some(value)));
        let Some((_, name)) = known.iter().find(|(known, _)| *known == flag) else { continue };
        if let Some(value) = inline.or_else(|| words.peek().copied()) {
            found.push(written(name, value, place));
        }
    }
    found
}

/// Values of `name = value`, for these names.
pub fn lines(text: &str, known: &[&str], place: &str) -> Vec<Written> {
    let assigned = text.lines().filter_map(|line| line.split_once('='));
    let known = assigned.map(|(name, value)| (name.trim(), value)).filter(|(name, _)| known.contains(name));
    let value = |value: &str| {
        value.split(['#', ';']).next().unwrap_or_default().trim().trim_matches(['"', '\'']).to_owned()
    };
    known.map(|(name, text)| written(name, &value(text), place)).collect()
}

pub(super) fn written(name: &str, value: &str, place: &str) -> Written {
    Written { name: name.to_owned(), value: value.to_owned(), place: place.to_owned() }
}

/// The settings of the pool that listens to this address.
pub fn pool(text: &str, address: &str, place: &str) -> Option<Vec<Written>> {
    let sections = text.split("\n[").filter_map(|section| section.split_once(']'));
    let listens = |section: &&(&str, &str)| {
        let (name, body) = section;
        let listen = lines(body, &["listen"], "")
            .pop()
            .map_or_else(String::new, |line| line.value.replace("$pool", name.trim_start_matches('[')));
        is_same(&listen, address)
    };
    let sections: Vec<_> = sections.collect();
    let (name, body) = sections.iter().find(listens)?;
    Some(lines(body, &PHP, &format!("{place}, [{}]", name.trim_start_matches('['))))
}

/// php-fpm writes `9000`, `127.0.0.1:9000` and `/run/php.sock`.
fn is_same(listen: &str, address: &str) -> bool {
    match address.strip_prefix("unix:") {
        Some(path) => path == listen,
        None => {
            let port = |text: &str| text.rsplit(':').next().map(str::to_owned);
            listen == address
                || (!listen.contains('/') && port(listen) == port(address) && !listen.is_empty())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values(found: &[Written]) -> Vec<(&str, &str)> {
        found.iter().map(|written| (written.name.as_str(), written.value.as_str())).collect()
    }

    #[test]
    fn command_lines() {
        let line = "python3 /usr/bin/gunicorn -w 4 --backlog=10 --threads 2 app:app";
        let found = flags(line.split(' '), &GUNICORN, "");
        assert_eq!(values(&found), [("workers", "4"), ("backlog", "10"), ("threads", "2")]);
        assert!(flags(["-w"].into_iter(), &GUNICORN, "").is_empty());
    }

    #[test]
    fn pools() {
        let text = "; a comment\n[global]\npid = /x\n[www]\nlisten = /run/$pool.sock ; here\npm.max_children = 5\n\
                    listen.backlog=511\n[two]\nlisten = 9000\npm = static\n";
        let found = pool(text, "unix:/run/www.sock", "a.conf").unwrap_or_default();
        assert_eq!(values(&found), [("pm.max_children", "5"), ("listen.backlog", "511")]);
        assert_eq!(found[0].place, "a.conf, [www]");
        assert_eq!(values(&pool(text, "127.0.0.1:9000", "").unwrap_or_default()), [("pm", "static")]);
        assert_eq!(pool(text, "unix:/run/other.sock", ""), None);
        assert!(pool("[one]\nlisten=1.1.1.1:9000\n", "unix:/a", "").is_none());
    }

    proptest! {
        #[test]
        fn any_file_and_any_command_line(text in "([\\[\\]=;#a]|listen|include|pm|\n| |-w|\\PC){0,40}") {
            let _ = pool(&text, "unix:/a", "");
            let _ = lines(&text, &PHP, "");
            let _ = flags(text.split_whitespace(), &GUNICORN, "");
        }
    }
}

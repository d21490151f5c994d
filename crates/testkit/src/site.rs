//! The configuration of a test: nginx.conf text with placeholders, and the files around it.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

use crate::binary::Binary;
use crate::ports::Port;

/// Configuration text and the files it needs, not yet anywhere.
///
/// The text may be a whole file, or just what goes into `http {}` (if it has a `server {}`), or just what goes into
/// one server (if not). `%%PORT%%`, `%%PORT_1%%`, .. become free ports, `%%DIR%%` the prefix, `%%NAME%%` what
/// [`Site::with`] set. What every test wants is added unless the text has it: `daemon off`, a pid file, logs in
/// `logs/`, temporary folders, `user root` when run by root. Nothing of that moves a line of the text.
#[derive(Clone, Debug)]
pub struct Site {
    text: String,
    names: Vec<(String, String)>,
    files: Vec<(String, Vec<u8>)>,
    bare: bool,
}

impl From<&str> for Site {
    fn from(text: &str) -> Site {
        Site::new(text)
    }
}

impl From<String> for Site {
    fn from(text: String) -> Site {
        Site::new(text)
    }
}

impl From<&Site> for Site {
    fn from(site: &Site) -> Site {
        site.clone()
    }
}

impl Site {
    /// A site from configuration text, short or whole.
    pub fn new(text: impl Into<String>) -> Site {
        Site { text: text.into(), names: Vec::new(), files: Vec::new(), bare: false }
    }

    /// A file to be used exactly as it is, with nothing added (placeholders are still replaced): for tests of
    /// the configuration language itself.
    pub fn bare(text: impl Into<String>) -> Site {
        Site { bare: true, ..Site::new(text) }
    }

    /// What `%%NAME%%` stands for.
    pub fn with(mut self, name: &str, value: impl ToString) -> Site {
        self.names.push((format!("%%{name}%%"), value.to_string()));
        self
    }

    /// A file below the prefix that is there before the server starts.
    pub fn file(mut self, path: &str, content: impl AsRef<[u8]>) -> Site {
        self.files.push((path.to_owned(), content.as_ref().to_vec()));
        self
    }

    /// Other text with the same names and files.
    pub(crate) fn text(&self, text: &str) -> Site {
        Site { text: text.to_owned(), ..self.clone() }
    }

    /// How many ports the text wants.
    pub(crate) fn ports(&self) -> usize {
        static PORT: LazyLock<Regex> = LazyLock::new(|| regex(r"%%PORT_(\d+)%%"));
        let all = std::iter::once(self.text.as_bytes()).chain(self.files.iter().map(|(_, c)| c.as_slice()));
        all.map(|bytes| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            let numbers = PORT.captures_iter(&text).filter_map(|c| c[1].parse::<usize>().ok());
            numbers.max().map_or(0, |most| most) + 1
        })
        .max()
        .unwrap_or(1)
    }

    /// Writes `nginx.conf` and the files into the prefix.
    pub(crate) fn lay_out(&self, binary: Binary, dir: &Path, ports: &[Port]) {
        for folder in ["html", "logs", "temp"] {
            fs::create_dir_all(dir.join(folder)).expect("a folder in the prefix");
        }
        for (path, content) in &self.files {
            write(&dir.join(path), &self.fill_bytes(content, dir, ports));
        }
        let text = if self.bare { self.text.clone() } else { self.whole(binary) };
        write(&dir.join("nginx.conf"), self.fill(&text, dir, ports).as_bytes());
    }

    /// Directives for `-g`: the ones of the main context that the text does not give.
    pub(crate) fn globals(&self) -> String {
        if self.bare {
            return String::new();
        }
        let root = if rustix::process::geteuid().is_root() { "user root" } else { "" };
        let wanted = ["daemon off", "pid logs/nginx.pid", "error_log logs/error.log info", root];
        let missing = wanted.iter().filter(|d| !d.is_empty() && !self.has(d));
        missing.map(|d| format!("{d};")).collect::<Vec<_>>().join(" ")
    }

    /// Whether readiness shows in the pid file of ours.
    pub(crate) fn has_own_pid(&self) -> bool {
        self.bare || self.has("pid")
    }

    fn has(&self, directive: &str) -> bool {
        let name = directive.split(' ').next().unwrap_or_default();
        regex(&format!(r"(?m)(^|[;{{}}])[ \t]*{name}[ \t\n]")).is_match(&self.text)
    }

    fn whole(&self, binary: Binary) -> String {
        let opening = format!("http {{ {}", self.http_preamble(binary));
        let mut whole = if self.opens("http") {
            regex(r"(?m)(^|[ \t;}])http\s*\{")
                .replacen(&self.text, 1, format!("${{1}}{opening}"))
                .into_owned()
        } else if self.opens("server") {
            format!("{opening} {}\n}}\n", self.text)
        } else if self.opens("stream") || self.opens("events") {
            self.text.clone()
        } else {
            let listen = if self.has("listen") { "" } else { "listen 127.0.0.1:%%PORT%%;" };
            format!("{opening} server {{ {listen} {}\n}} }}\n", self.text)
        };
        if !self.opens("events") {
            whole.push_str("\nevents {}\n");
        }
        whole
    }

    fn opens(&self, block: &str) -> bool {
        regex(&format!(r"(?m)(^|[ \t;}}{{]){block}\s*\{{")).is_match(&self.text)
    }

    fn http_preamble(&self, binary: Binary) -> String {
        let both =
            ["access_log logs/access.log", "client_body_temp_path temp/body", "proxy_temp_path temp/proxy"];
        // nginx creates the folders of all its modules at start, which only root may do in the built-in places.
        let oracle =
            ["fastcgi_temp_path temp/fastcgi", "uwsgi_temp_path temp/uwsgi", "scgi_temp_path temp/scgi"];
        let more = if binary == Binary::Nginx { &oracle[..] } else { &[] };
        let missing = both.iter().chain(more).filter(|d| !self.has(d));
        missing.map(|d| format!("{d};")).collect::<Vec<_>>().join(" ")
    }

    fn fill_bytes(&self, content: &[u8], dir: &Path, ports: &[Port]) -> Vec<u8> {
        match std::str::from_utf8(content) {
            Ok(text) if text.contains("%%") => self.fill(text, dir, ports).into_bytes(),
            _ => content.to_vec(),
        }
    }

    pub(crate) fn fill(&self, text: &str, dir: &Path, ports: &[Port]) -> String {
        let mut text = text.replace("%%DIR%%", &dir.to_string_lossy());
        for (index, port) in ports.iter().enumerate() {
            text = text.replace(&format!("%%PORT_{index}%%"), &port.number().to_string());
        }
        if let Some(port) = ports.first() {
            text = text.replace("%%PORT%%", &port.number().to_string());
        }
        for (name, value) in &self.names {
            text = text.replace(name, value);
        }
        text
    }
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern of ours")
}

pub(crate) fn write(path: &Path, content: &[u8]) {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).expect("a folder for a file of the test");
    }
    fs::write(path, content).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> String {
        Site::new(text).whole(Binary::Plimsoll)
    }

    #[test]
    fn a_location_gets_a_server_around_it() {
        let text = whole("location / { return 200; }");
        assert!(text.starts_with("http { access_log"), "{text}");
        assert!(text.contains("server { listen 127.0.0.1:%%PORT%%; location / { return 200; }"), "{text}");
        assert!(text.ends_with("events {}\n"), "{text}");
    }

    #[test]
    fn a_server_gets_http_around_it_and_keeps_its_own_directives() {
        let text = whole("access_log off;\nserver { listen 1; }");
        assert!(text.starts_with("http { client_body_temp_path"), "{text}");
        assert!(!text.contains("logs/access.log"), "{text}");
    }

    #[test]
    fn a_whole_file_keeps_its_lines() {
        let text = whole("events {}\nhttp {\nserver {\n}\n}\n");
        assert_eq!(text.lines().nth(2), Some("server {"));
        assert_eq!(text.matches("events").count(), 1);
    }

    #[test]
    fn globals_leave_out_what_the_text_has() {
        let globals = Site::new("daemon off;\npid x;\nhttp {}").globals();
        assert!(!globals.contains("daemon") && !globals.contains("pid"), "{globals}");
        assert!(globals.contains("error_log logs/error.log info;"), "{globals}");
        assert_eq!(Site::bare("").globals(), "");
    }

    #[test]
    fn ports_are_counted_in_files_too() {
        assert_eq!(Site::new("").ports(), 1);
        assert_eq!(Site::new("%%PORT_1%%").file("a", "%%PORT_3%%").ports(), 4);
    }
}

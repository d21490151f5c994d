//! Listings as text, byte for byte as nginx writes them.

use std::io::Write;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// What stands in a directory.
pub(super) struct Entry {
    pub name: Vec<u8>,
    pub kind: Kind,
    /// Seconds since 1970.
    pub modified: i64,
    pub size: u64,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
    Other,
}
impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Directory => "directory",
            Kind::File => "file",
            Kind::Other => "other",
        }
    }
}
impl Entry {
    /// Directories first, then by name.
    pub fn order(&self) -> (bool, &[u8]) {
        (self.kind != Kind::Directory, &self.name)
    }
    fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }
}

/// How the HTML form shows sizes, times and names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Sizes in bytes; else rounded to K, M and G.
    pub exact_size: bool,
    /// Seconds that the shown times are ahead of UTC.
    pub offset: i32,
    /// Names are measured in characters, not bytes.
    pub utf8: bool,
}

/// The columns of a name in the HTML form.
const WIDTH: usize = 50;

/// The page for people.
pub(super) fn html(uri: &[u8], entries: &[Entry], style: Style) -> Vec<u8> {
    let mut out = b"<html>\r\n<head><title>Index of ".to_vec();
    wire::uri::escape_html(uri, &mut out);
    out.extend_from_slice(b"</title></head>\r\n<body>\r\n<h1>Index of ");
    wire::uri::escape_html(uri, &mut out);
    out.extend_from_slice(b"</h1><hr><pre><a href=\"../\">../</a>\r\n");
    for entry in entries {
        out.extend_from_slice(b"<a href=\"");
        wire::uri::escape_uri_component(&entry.name, &mut out);
        out.extend_from_slice(if entry.is_directory() { b"/\">" } else { b"\">" });
        name_column(entry, style.utf8, &mut out);
        time_column(entry, style.offset, &mut out);
        size_column(entry, style.exact_size, &mut out);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"</pre><hr></body>\r\n</html>\r\n");
    out
}

/// The name, cut and marked where it is too long for its column, filled up where it is shorter.
fn name_column(entry: &Entry, utf8: bool, out: &mut Vec<u8>) {
    let text = if utf8 { std::str::from_utf8(&entry.name).ok() } else { None };
    let length = text.map_or(entry.name.len(), |text| text.chars().count());
    if length > WIDTH {
        let shown = WIDTH - 3;
        let end = text.and_then(|text| text.char_indices().nth(shown)).map_or(shown, |(at, _)| at);
        wire::uri::escape_html(&entry.name[..end], out);
        out.extend_from_slice(b"..&gt;</a>");
    } else {
        wire::uri::escape_html(&entry.name, out);
        let slash = entry.is_directory() && length < WIDTH;
        out.extend_from_slice(if slash { b"/</a>" } else { b"</a>" });
        out.resize(out.len() + WIDTH - length - usize::from(slash), b' ');
    }
    out.push(b' ');
}

fn time_column(entry: &Entry, offset: i32, out: &mut Vec<u8>) {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let at = civil(entry.modified.saturating_add(offset.into()));
    let month = MONTHS.get((at.month() - 1).unsigned_abs() as usize).unwrap_or(&"Jan");
    let _ = write!(out, "{:02}-{month}-{} {:02}:{:02} ", at.day(), at.year(), at.hour(), at.minute());
}

/// Seconds since 1970 as date and time, UTC.
fn civil(seconds: i64) -> DateTime {
    let at = Timestamp::from_second(seconds.max(0)).unwrap_or_default();
    Offset::UTC.to_datetime(at)
}

fn size_column(entry: &Entry, exact: bool, out: &mut Vec<u8>) {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    let size = entry.size;
    let rounded = |unit: u64| size / unit + u64::from(size % unit >= unit / 2);
    let _ = match (exact, entry.is_directory()) {
        (true, true) => write!(out, "{:>19}", "-"),
        (true, false) => write!(out, "{size:>19}"),
        (false, true) => write!(out, "{:>7}", "-"),
        (false, false) if size >= GIB => write!(out, "{:>6}G", rounded(GIB)),
        (false, false) if size >= MIB => write!(out, "{:>6}M", rounded(MIB)),
        (false, false) if size > 9999 => write!(out, "{:>6}K", rounded(KIB)),
        (false, false) => write!(out, " {size:>6}"),
    };
}

/// The list for programs.
pub(super) fn json(entries: &[Entry], callback: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(callback) = callback {
        out.extend_from_slice(b"/* callback */\r\n");
        out.extend_from_slice(callback);
        out.push(b'(');
    }
    out.push(b'[');
    for (i, entry) in entries.iter().enumerate() {
        out.extend_from_slice(if i == 0 { b"\r\n{ \"name\":\"" } else { b",\r\n{ \"name\":\"" });
        escape_json(&entry.name, &mut out);
        let _ = write!(out, "\", \"type\":\"{}\", \"mtime\":\"", entry.kind.name());
        out.extend_from_slice(&wire::date::format(entry.modified.max(0).unsigned_abs()));
        out.push(b'"');
        if entry.kind == Kind::File {
            let _ = write!(out, ", \"size\":{}", entry.size);
        }
        out.extend_from_slice(b" }");
    }
    out.extend_from_slice(b"\r\n]");
    if callback.is_some() {
        out.extend_from_slice(b");");
    }
    out
}

fn escape_json(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        let short = match byte {
            b'"' | b'\\' => byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            8 => b'b',
            12 => b'f',
            0..=31 => {
                let _ = write!(out, "\\u{byte:04X}");
                continue;
            }
            _ => {
                out.push(byte);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    }
}

/// The list for style sheets.
pub(super) fn xml(entries: &[Entry]) -> Vec<u8> {
    let mut out = b"<?xml version=\"1.0\"?>\r\n<list>\r\n".to_vec();
    for entry in entries {
        let kind = entry.kind.name();
        let at = civil(entry.modified);
        let _ = write!(
            out,
            "<{kind} mtime=\"{:4}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            at.year(),
            at.month(),
            at.day(),
            at.hour(),
            at.minute(),
            at.second()
        );
        if entry.kind == Kind::File {
            let _ = write!(out, "\" size=\"{}", entry.size);
        }
        out.extend_from_slice(b"\">");
        wire::uri::escape_html(&entry.name, &mut out);
        let _ = write!(out, "</{kind}>\r\n");
    }
    out.extend_from_slice(b"</list>\r\n");
    out
}

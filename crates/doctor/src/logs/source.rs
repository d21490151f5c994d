//! Where a log comes from: a file, a compressed file, standard input.

use std::fs;
use std::io::{self, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressStyle};

use super::journal::{self, Journal};
use crate::input::{self, Whole};

/// An open log.
pub struct Source {
    /// What it is called in a report.
    pub name: String,
    input: Box<dyn Read>,
    progress: ProgressBar,
}

impl Source {
    /// Opens a file, or standard input for `-`. What begins as gzip does is unpacked, whatever its name; an exported
    /// journal becomes lines.
    pub fn open(path: &Path) -> io::Result<Source> {
        if path == Path::new("-") {
            return Source::of("standard input", io::stdin(), None);
        }
        let (file, name) = (input::open(path)?, path.display().to_string());
        let meta = file.metadata()?;
        // What is added meanwhile is for the next look. Files of /proc have no length.
        match meta.is_file() && meta.len() > 0 {
            true => Source::of(&name, Whole::new(file, meta.len()), Some(meta.len())),
            false => Source::of(&name, file, None),
        }
    }

    fn of(name: &str, input: impl Read + 'static, length: Option<u64>) -> io::Result<Source> {
        let progress = progress(name, length);
        let (packed, mut whole) = beginning(progress.wrap_read(input), &GZIP)?;
        if packed {
            whole = Box::new(Unpacked::new(whole));
        }
        let (exported, whole) = beginning(whole, journal::BEGINNING)?;
        let input = if exported { Box::new(Journal::new(whole)) } else { whole };
        Ok(Source { name: name.to_owned(), input, progress })
    }

    /// Its blocks of lines.
    pub fn blocks(self) -> super::Blocks<Source> {
        super::Blocks::new(self)
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.input.read(buffer)
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.progress.finish_and_clear();
    }
}

/// Whether it begins so, and the whole of it.
fn beginning(mut input: impl Read + 'static, with: &[u8]) -> io::Result<(bool, Box<dyn Read>)> {
    let mut start = Vec::new();
    input.by_ref().take(with.len() as u64).read_to_end(&mut start)?;
    Ok((start == with, Box::new(io::Cursor::new(start).chain(input))))
}

/// How a packed file begins.
pub(super) const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What is unpacked. No log becomes five hundred times as large: what does is meant to be endless.
struct Unpacked {
    input: MultiGzDecoder<BufReader<Counted>>,
    given: u64,
}

/// Counts what is read through it.
struct Counted {
    input: Box<dyn Read>,
    count: u64,
}

impl Unpacked {
    const MOST: u64 = 500;
    /// Less than this is unpacked, however small it was.
    const ALWAYS: u64 = 64 << 20;

    fn new(input: Box<dyn Read>) -> Unpacked {
        let counted = BufReader::with_capacity(1 << 18, Counted { input, count: 0 });
        Unpacked { input: MultiGzDecoder::new(counted), given: 0 }
    }
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let packed = self.input.get_ref().get_ref().count;
        if self.given > Unpacked::ALWAYS && self.given / Unpacked::MOST > packed {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "unpacks to more than a log can"));
        }
        let read = self.input.read(buffer)?;
        self.given += read as u64;
        Ok(read)
    }
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.count += read as u64;
        Ok(read)
    }
}

/// Drawn only on a terminal, and only for what takes a moment.
fn progress(name: &str, length: Option<u64>) -> ProgressBar {
    const WORTH_IT: u64 = 64 << 20;
    let Some(length) = length.filter(|length| *length >= WORTH_IT && io::stderr().is_terminal()) else {
        return ProgressBar::hidden();
    };
    let template = "{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}  {msg}";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style).with_message(name.to_owned())
}

/// The log and those that were rotated away from it, the newest first: `error.log`, `error.log.1`, `error.log-20260101.gz`.
pub fn rotated(log: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(name)) = (log.parent(), log.file_name().and_then(|name| name.to_str())) else {
        return vec![log.to_owned()];
    };
    let mut older: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().collect();
    older.retain(|entry| {
        let theirs = entry.file_name();
        let rest = theirs.to_str().and_then(|theirs| theirs.strip_prefix(name));
        rest.is_some_and(|rest| {
            rest.starts_with(['.', '-']) && rest.bytes().any(|byte| byte.is_ascii_digit())
        })
    });
    older.sort_by_key(|entry| std::cmp::Reverse(entry.metadata().and_then(|meta| meta.modified()).ok()));
    let older = older.into_iter().map(|entry| entry.path());
    std::iter::once(log.to_owned()).filter(|log| log.exists()).chain(older).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs::File;
    use std::io::Write;

    fn read(path: &Path) -> String {
        let mut text = String::new();
        Source::open(path).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn compressed_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let (plain, packed, empty) =
            (folder.path().join("a"), folder.path().join("b"), folder.path().join("c"));
        fs::write(&plain, "a\nb\n").unwrap();
        fs::write(&empty, "").unwrap();
        let mut writer =
            flate2::write::GzEncoder::new(File::create(&packed).unwrap(), flate2::Compression::fast());
        writer.write_all(b"a\nb\n").unwrap();
        writer.finish().unwrap();
        assert_eq!(
            (read(&plain), read(&packed), read(&empty)),
            ("a\nb\n".into(), "a\nb\n".into(), String::new())
        );
        assert!(Source::open(folder.path()).is_err() && Source::open(&folder.path().join("none")).is_err());
    }

    #[test]
    fn rotated_ones_are_found() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "error.log",
            "error.log.1",
            "error.log.2.gz",
            "error.log-20260101",
            "error.log.bak",
            "error.logs",
        ] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found = rotated(&folder.path().join("error.log"));
        assert_eq!(found.len(), 4, "{found:?}");
        assert_eq!(found[0], folder.path().join("error.log"));
    }
}

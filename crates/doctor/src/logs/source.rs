//! Where a log comes from: a file, a compressed file, standard input.

use std::fs::{self, File};
use std::io::{self, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressStyle};

/// An open log.
pub struct Source {
    /// What it is called in a report.
    pub name: String,
    input: Box<dyn Read>,
    progress: ProgressBar,
}

impl Source {
    /// Opens a file, or standard input for `-`. What begins as gzip does is unpacked, whatever its name.
    pub fn open(path: &Path) -> io::Result<Source> {
        if path == Path::new("-") {
            return Source::of("standard input", io::stdin(), None);
        }
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let length = file.metadata()?.len();
        Source::of(&path.display().to_string(), file, Some(length))
    }

    fn of(name: &str, mut input: impl Read + 'static, length: Option<u64>) -> io::Result<Source> {
        let progress = progress(name, length);
        let mut start = [0; 2];
        let got = begin(&mut input, &mut start)?;
        let whole = io::Cursor::new(start).take(got as u64).chain(progress.wrap_read(input));
        let input: Box<dyn Read> = match start {
            [0x1f, 0x8b] if got == 2 => {
                Box::new(MultiGzDecoder::new(BufReader::with_capacity(1 << 18, whole)))
            }
            _ => Box::new(whole),
        };
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

/// As much of the beginning as there is.
fn begin(input: &mut impl Read, start: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < start.len() {
        match input.read(&mut start[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
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

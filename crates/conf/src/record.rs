//! Answers of the system, kept: the master asks, the worker replays, and both see the same.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::Inputs;

/// Asks `I` and remembers every answer, errors included.
pub struct Recording<I> {
    inputs: I,
    heard: Mutex<Recorded>,
}

impl<I: Inputs> Recording<I> {
    /// Nothing heard yet.
    pub fn new(inputs: I) -> Recording<I> {
        Recording { inputs, heard: Mutex::default() }
    }

    /// What was heard.
    pub fn into_recorded(self) -> Recorded {
        self.heard.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask<K: Ord, T: Clone>(
        &self,
        key: K,
        book: impl Fn(&mut Recorded) -> &mut Book<K, T>,
        ask: impl FnOnce(&I) -> io::Result<T>,
    ) -> io::Result<T> {
        let lock = || self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = book(&mut lock()).get(&key) {
            return answer.clone().map_err(Failure::into);
        }
        let answer = ask(&self.inputs).map_err(|error| Failure::from(&error));
        book(&mut lock()).insert(key, answer.clone());
        answer.map_err(Failure::into)
    }
}

impl<I: Inputs> Inputs for Recording<I> {
    fn read(&self, path: &Path) -> io::Result<Arc<[u8]>> {
        let read = |inputs: &I| inputs.read(path).map(Contents);
        self.ask(path.to_path_buf(), |r| &mut r.files, read).map(|contents| contents.0)
    }
    fn glob(&self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        self.ask(pattern.to_owned(), |r| &mut r.globs, |inputs| inputs.glob(pattern))
    }
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.ask((host.to_owned(), port), |r| &mut r.hosts, |inputs| inputs.resolve(host, port))
    }
    fn user(&self, name: &str) -> io::Result<Option<(u32, u32)>> {
        self.ask(name.to_owned(), |r| &mut r.users, |inputs| inputs.user(name))
    }
    fn group(&self, name: &str) -> io::Result<Option<u32>> {
        self.ask(name.to_owned(), |r| &mut r.groups, |inputs| inputs.group(name))
    }
    fn exists(&self, path: &Path) -> bool {
        self.ask(path.to_path_buf(), |r| &mut r.present, |inputs| Ok(inputs.exists(path))).unwrap_or(false)
    }
}

type Book<K, T> = BTreeMap<K, Result<T, Failure>>;

/// What a [`Recording`] heard; gives the same answers again, and an error for what was never asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    files: Book<PathBuf, Contents>,
    globs: Book<String, Vec<PathBuf>>,
    hosts: Book<(String, u16), Vec<SocketAddr>>,
    users: Book<String, Option<(u32, u32)>>,
    groups: Book<String, Option<u32>>,
    present: Book<PathBuf, bool>,
}

impl Recorded {
    /// Adds a file, as if it had been read; tests build whole configurations so.
    #[must_use]
    pub fn with_file(mut self, path: impl Into<PathBuf>, text: impl AsRef<[u8]>) -> Recorded {
        let path = path.into();
        self.present.insert(path.clone(), Ok(true));
        self.files.insert(path, Ok(Contents(text.as_ref().into())));
        self
    }

    /// Adds a file that cannot be read, for this `errno`.
    #[must_use]
    pub fn with_unreadable(mut self, path: impl Into<PathBuf>, errno: i32) -> Recorded {
        self.files.insert(path.into(), Err(Failure::Errno(errno)));
        self
    }

    /// Adds a pattern's matches.
    #[must_use]
    pub fn with_glob(mut self, pattern: impl Into<String>, paths: &[&str]) -> Recorded {
        self.globs.insert(pattern.into(), Ok(paths.iter().map(PathBuf::from).collect()));
        self
    }

    /// Adds a host's addresses.
    #[must_use]
    pub fn with_host(mut self, host: impl Into<String>, port: u16, addresses: &[SocketAddr]) -> Recorded {
        self.hosts.insert((host.into(), port), Ok(addresses.to_vec()));
        self
    }

    /// Adds a user with the ids of user and group.
    #[must_use]
    pub fn with_user(mut self, name: impl Into<String>, ids: Option<(u32, u32)>) -> Recorded {
        self.users.insert(name.into(), Ok(ids));
        self
    }
}

fn replay<T: Clone>(answer: Option<&Result<T, Failure>>) -> io::Result<T> {
    match answer {
        Some(answer) => answer.clone().map_err(Failure::into),
        None => Err(io::Error::from_raw_os_error(nix::errno::Errno::ENOENT as i32)),
    }
}

impl Inputs for Recorded {
    fn read(&self, path: &Path) -> io::Result<Arc<[u8]>> {
        replay(self.files.get(path)).map(|contents| contents.0)
    }
    fn glob(&self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        replay(self.globs.get(pattern))
    }
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        replay(self.hosts.get(&(host.to_owned(), port)))
    }
    fn user(&self, name: &str) -> io::Result<Option<(u32, u32)>> {
        replay(self.users.get(name))
    }
    fn group(&self, name: &str) -> io::Result<Option<u32>> {
        replay(self.groups.get(name))
    }
    fn exists(&self, path: &Path) -> bool {
        replay(self.present.get(path)).unwrap_or(false)
    }
}

/// An error of the system that can be sent and told again in the same words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Failure {
    Errno(i32),
    Text(String),
}

impl From<&io::Error> for Failure {
    fn from(error: &io::Error) -> Failure {
        match error.raw_os_error() {
            Some(code) => Failure::Errno(code),
            None => Failure::Text(error.to_string()),
        }
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> io::Error {
        match failure {
            Failure::Errno(code) => io::Error::from_raw_os_error(code),
            Failure::Text(text) => io::Error::other(text),
        }
    }
}

/// A file's contents, sent as one run of bytes rather than number by number.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Contents(Arc<[u8]>);

impl Serialize for Contents {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Contents {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Contents, D::Error> {
        from.deserialize_bytes(ContentsVisitor)
    }
}

struct ContentsVisitor;

impl<'de> Visitor<'de> for ContentsVisitor {
    type Value = Contents;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("bytes")
    }
    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Contents, E> {
        Ok(Contents(bytes.into()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Contents, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = seq.next_element()? {
            bytes.push(byte);
        }
        Ok(Contents(bytes.into()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::SystemInputs;

    #[test]
    fn what_was_heard_is_told_again_after_a_journey() {
        let recording = Recording::new(SystemInputs);
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let text = recording.read(&manifest).unwrap();
        recording.read(Path::new("/nonexistent/file")).unwrap_err();
        recording.read(Path::new("/")).unwrap_err();
        let pattern = format!("{}/src/*.rs", env!("CARGO_MANIFEST_DIR"));
        let found = recording.glob(&pattern).unwrap();
        assert!(found.is_sorted() && found.len() > 5);
        assert_eq!(recording.user("root").unwrap(), Some((0, 0)));
        assert_eq!(recording.group("no such group").unwrap(), None);
        assert_eq!(recording.resolve("127.0.0.1", 80).unwrap(), ["127.0.0.1:80".parse().unwrap()]);
        assert!(recording.exists(&manifest) && !recording.exists(Path::new("/nonexistent")));

        let sent = postcard::to_stdvec(&recording.into_recorded()).unwrap();
        let recorded: Recorded = postcard::from_bytes(&sent).unwrap();
        assert_eq!(recorded.read(&manifest).unwrap(), text);
        assert_eq!(recorded.read(Path::new("/nonexistent/file")).unwrap_err().raw_os_error(), Some(2));
        assert_eq!(recorded.read(Path::new("/")).unwrap_err().raw_os_error(), Some(21));
        assert_eq!(recorded.glob(&pattern).unwrap(), found);
        assert_eq!(recorded.user("root").unwrap(), Some((0, 0)));
        assert_eq!(recorded.group("no such group").unwrap(), None);
        assert!(recorded.group("never asked").is_err());
        assert!(recorded.exists(&manifest) && !recorded.exists(Path::new("/nonexistent")));
    }
}

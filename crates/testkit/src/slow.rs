//! A file system that answers when a test wants: FUSE's protocol on `/dev/fuse`, as much of it as reading takes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

use crate::gate::eventually;

/// What a file system is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// What is behind a name, as `open` and `stat` want to know.
    Name,
    /// Bytes of a file.
    Bytes,
}

/// Where the bytes of a file are kept once they have been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// In the kernel's cache, as on a disk.
    InMemory,
    /// Nowhere: who reads them again asks the file system again, as some network file systems have it.
    Nowhere,
}

/// A folder with one file, `file`, which can be made to wait. It is mounted where only the thread that made it and the
/// processes that this starts see it, so it is gone with them, however they end.
pub struct SlowFiles {
    folder: TempDir,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    device: File,
    size: u64,
    kept: Kept,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Ask>,
    waiting: VecDeque<(u64, Vec<u8>)>,
}

impl SlowFiles {
    /// A folder whose file has this size. `None`, and a line on standard error, where that is not possible.
    pub fn mount(size: u64, kept: Kept) -> Option<SlowFiles> {
        let mounted = mount(size, kept);
        if mounted.is_none() {
            let test = thread::current().name().unwrap_or("a test").to_owned();
            eprintln!("SKIPPED: {test}: no right to mount a file system of its own (root and /dev/fuse)");
        }
        mounted
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The bytes of the file.
    pub fn content(&self) -> Vec<u8> {
        content(0, self.shared.size, self.shared.size)
    }

    /// From now on this is not answered.
    pub fn hold(&self, ask: Ask) {
        self.shared.state().held = Some(ask);
    }

    /// Waits until somebody waits for an answer.
    #[track_caller]
    pub fn wait_asked(&self) {
        eventually("a question to the slow file system", || self.is_waited_for());
    }

    /// Whether somebody waits for an answer.
    pub fn is_waited_for(&self) -> bool {
        !self.shared.state().waiting.is_empty()
    }

    /// Answers one that waits; what comes next waits again.
    pub fn answer_one(&self) {
        let mut state = self.shared.state();
        if let Some((unique, answer)) = state.waiting.pop_front() {
            self.shared.reply(unique, &answer);
        }
    }

    /// Answers all that wait, and what comes at once.
    pub fn release(&self) {
        let mut state = self.shared.state();
        state.held = None;
        for (unique, answer) in state.waiting.drain(..) {
            self.shared.reply(unique, &answer);
        }
    }
}

impl Drop for SlowFiles {
    fn drop(&mut self) {
        self.release();
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn mount(size: u64, kept: Kept) -> Option<SlowFiles> {
    let device = File::options().read(true).write(true).open("/dev/fuse").ok()?;
    unshare(CloneFlags::CLONE_NEWNS).ok()?;
    let run = |args: &[&str], input: Stdio| {
        let mount = Command::new("mount").args(args).stdin(input).stderr(Stdio::null()).status();
        mount.is_ok_and(|status| status.success()).then_some(())
    };
    run(&["--make-rprivate", "/"], Stdio::null())?;
    let folder = tempfile::Builder::new().prefix("plimsoll-slow-").tempdir().ok()?;
    let options = "fd=0,rootmode=40000,user_id=0,group_id=0,allow_other";
    let path = folder.path().to_str()?;
    let shared = Arc::new(Shared { device: device.try_clone().ok()?, size, kept, state: Mutex::default() });
    run(&["-i", "-t", "fuse", "-o", options, "slow", path], device.into())?;
    let thread = thread::spawn({
        let shared = shared.clone();
        move || shared.serve()
    });
    Some(SlowFiles { folder, shared, thread: Some(thread) })
}

const ROOT: u64 = 1;
const FILE: u64 = 2;
const NO_SUCH_FILE: i32 = -2;
const NOT_IMPLEMENTED: i32 = -38;

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until the file system is taken down.
    fn serve(&self) {
        let mut message = vec![0; 256 * 1024];
        while let Ok(length) = (&self.device).read(&mut message) {
            self.one(&message[..length]);
        }
    }

    /// A message: its length, what is asked, its number, the node it is about, who asks, and 4 bytes of no concern; then
    /// what the question itself needs.
    fn one(&self, message: &[u8]) {
        let (unique, node, body) = (u64_at(message, 8), u64_at(message, 16), &message[40..]);
        match u32_at(message, 4) {
            // LOOKUP
            1 if node == ROOT && body == b"file\0" => self.answer(Ask::Name, unique, self.entry()),
            1 => self.refuse(unique, NO_SUCH_FILE),
            // FORGET, BATCH_FORGET and INTERRUPT are not answered.
            2 | 42 | 36 => {}
            // GETATTR: valid for no time, like names.
            3 => self.reply(unique, &[words(&[0, 0]), self.attributes(node)].concat()),
            // OPEN and OPENDIR
            14 | 27 => self.reply(unique, &words(&[node, u64::from(self.kept == Kept::Nowhere)])),
            // READ: from where, and how much.
            15 => {
                let bytes = content(u64_at(body, 8), u32_at(body, 16).into(), self.size);
                self.answer(Ask::Bytes, unique, bytes);
            }
            // RELEASE, FLUSH and RELEASEDIR
            18 | 25 | 29 => self.reply(unique, &[]),
            // INIT: version 7.31, reads ahead of 128 KiB, no other abilities.
            26 => self.reply(unique, &[words(&[31 << 32 | 7, 128 << 10, 0]), words(&[0; 5])].concat()),
            _ => self.refuse(unique, NOT_IMPLEMENTED),
        }
    }

    fn answer(&self, ask: Ask, unique: u64, answer: Vec<u8>) {
        let mut state = self.state();
        match state.held == Some(ask) {
            true => state.waiting.push_back((unique, answer)),
            false => self.reply(unique, &answer),
        }
    }

    fn reply(&self, unique: u64, answer: &[u8]) {
        let length = (16 + answer.len()) as u64;
        let _ = (&self.device).write_all(&[&words(&[length, unique]), answer].concat());
    }

    fn refuse(&self, unique: u64, error: i32) {
        let error = u64::from(error as u32);
        let _ = (&self.device).write_all(&words(&[16 | error << 32, unique]));
    }

    /// A node, its generation, for how long it is valid (no time at all), its attributes.
    fn entry(&self) -> Vec<u8> {
        [words(&[FILE, 0, 0, 0, 0]), self.attributes(FILE)].concat()
    }

    /// Number, size, blocks, three times; their fractions, mode and links; nobody's device, pages of 4 KiB.
    fn attributes(&self, node: u64) -> Vec<u8> {
        let (mode, size) = if node == ROOT { (0o40755, 4096) } else { (0o100644, self.size) };
        let times = [1_700_000_000; 3];
        let rest = [0, mode << 32, 1, 0, 4096];
        [words(&[node, size, size.div_ceil(512)]), words(&times), words(&rest)].concat()
    }
}

/// The part of a file of this size that begins at `offset`.
fn content(offset: u64, length: u64, size: u64) -> Vec<u8> {
    let end = (offset + length).min(size);
    (offset.min(end)..end).map(|at| (at % 251) as u8).collect()
}

fn words(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

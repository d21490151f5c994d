//! The servers of a group in a file of their own (`state`): what was changed while it ran is not lost with the process.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::group::Group;
use super::slot::{Mode, Peer};
use crate::worker::ledger::{Class, Line};

impl Group {
    /// Writes the servers to the group's file, if it has one; at once and whole.
    ///
    /// # Errors
    /// What keeps it from being written.
    pub fn save(&self) -> io::Result<()> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let Some(path) = &self.state else { return Ok(()) };
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for backup in [false, true] {
            let members = self.set(backup).lock();
            members.slots.iter().for_each(|slot| put(&slot.peer, backup, &mut text));
        }
        replace(path, text.as_bytes())
    }
}

/// A server as a configuration writes it.
fn put(peer: &Peer, backup: bool, out: &mut String) {
    let usual = Peer::new(peer.address.clone(), &peer.server, peer.key);
    let bond = usual.clone().bound().bond;
    // Writing to memory cannot fail.
    let _ = write!(out, "server {}", peer.name);
    let mut number = |name: &str, value: u32, usual: u32| {
        if value != usual {
            let _ = write!(out, " {name}={value}");
        }
    };
    number("weight", peer.weight, usual.weight);
    number("max_conns", peer.max_conns, usual.max_conns);
    number("max_fails", peer.max_fails, usual.max_fails);
    let mut time = |name: &str, value: Duration, usual: Duration| {
        if value != usual {
            let _ = write!(out, " {name}={}s", value.as_secs());
        }
    };
    time("fail_timeout", peer.fail_timeout, usual.fail_timeout);
    time("slow_start", peer.slow_start, usual.slow_start);
    // What a name gives by itself is not written.
    if !peer.bond.is_empty() && peer.bond != bond {
        let _ = write!(out, " route={}", peer.bond);
    }
    out.push_str(if backup { " backup" } else { "" });
    out.push_str(match peer.mode {
        Mode::Up => "",
        Mode::Drain => " drain",
        Mode::Down => " down",
    });
    out.push_str(";\n");
}

fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut beside = path.to_path_buf().into_os_string();
    beside.push(".new");
    let written = File::create(&beside).and_then(|mut file| {
        let _line = Line::new(Class::File);
        file.write_all(text)?;
        file.sync_data()
    });
    let moved = written.and_then(|()| std::fs::rename(&beside, path));
    if moved.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    moved
}

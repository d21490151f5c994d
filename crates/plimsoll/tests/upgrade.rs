//! The upgrade of the running binary: USR2, WINCH, QUIT, and back with HUP.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use testkit::{Server, Site, eventually, serve};

// WINCH counts only in the background, so these go there; the pid file tells who is who.
const CONF: &str = "daemon on; http { server { listen 127.0.0.1:%%PORT%%; listen unix:%%DIR%%/a.sock; \
                    location / { return 200 one; } } }";

/// A server in the background, which testkit did not start itself.
struct Background {
    server: Server,
    pid_file: &'static str,
}

impl Background {
    fn start() -> Background {
        let server = serve(Site::new("location / { return 200 scaffold; }").file("ports", "%%PORT_1%%"));
        let conf = CONF.replace("%%PORT%%", "%%PORT_1%%");
        server.rewrite(&format!("pid logs/bg.pid; error_log logs/bg.log info; user root; {conf}"));
        let background = Background { server, pid_file: "logs/bg.pid" };
        let program = testkit::Binary::Plimsoll.path();
        let status = std::process::Command::new(program)
            .arg("-p")
            .arg(background.server.path(""))
            .arg("-c")
            .arg(background.server.path("nginx.conf"))
            .status()
            .unwrap();
        assert!(status.success());
        eventually("the pid file", || background.pid(background.pid_file).is_some());
        background
    }
    fn pid(&self, file: &str) -> Option<i32> {
        std::fs::read_to_string(self.server.path(file)).ok()?.trim().parse().ok()
    }
    fn master(&self) -> i32 {
        self.pid(self.pid_file).unwrap()
    }
    fn old(&self) -> Option<i32> {
        self.pid("logs/bg.pid.oldbin")
    }
    fn signal(&self, pid: i32, signal: Signal) {
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }
    fn text(&self) -> String {
        let mut client = self.server.client_on(1);
        client.request("GET", "/", &[("Connection", "close")], b"").text()
    }
    fn wait(&self, text: &str) {
        self.server.log("logs/bg.log").wait_for(text);
    }
    /// Starts the new binary and waits until its worker serves.
    fn upgrade(&self) -> (i32, i32) {
        let old = self.master();
        self.signal(old, Signal::USR2);
        eventually("the new master", || {
            self.old() == Some(old) && self.pid(self.pid_file).is_some_and(|p| p != old)
        });
        let new = self.master();
        eventually("its worker", || !workers(new).is_empty());
        (old, new)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Whoever was started here, also where a test failed half-way.
        let prefix = self.server.path("").into_os_string().into_encoded_bytes();
        for pid in masters(&prefix) {
            let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM);
        }
        eventually("the end", || masters(&prefix).is_empty());
    }
}

/// Processes that were given this prefix, but for the one that testkit ends itself.
fn masters(prefix: &[u8]) -> Vec<i32> {
    let all = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_ours = |pid: &i32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = words.split(|b| *b == 0).collect();
        words.contains(&prefix) && !words.contains(&&b"-e"[..])
    };
    all.filter(is_ours).collect()
}

/// The body of one answer, on a connection of its own that ends with it.
fn ask(port: u16) -> String {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}
fn alive(pid: i32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}/exe")).exists()
}
fn workers(pid: i32) -> Vec<i32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let all = children.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok());
    let is_worker = |pid: &i32| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|title| title.starts_with(b"plimsoll: worker"))
    };
    all.filter(is_worker).collect()
}

#[test]
fn an_upgrade_loses_nobody() {
    let server = Background::start();
    let stop = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicU32::new(0));
    let client = {
        let (port, stop, served) = (server.server.port_n(1), stop.clone(), served.clone());
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(ask(port), "one");
                served.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let more = |served: &AtomicU32| {
        let before = served.load(Ordering::Relaxed);
        eventually("more requests", || served.load(Ordering::Relaxed) > before + 20);
    };
    more(&served);
    let (old, new) = server.upgrade();
    more(&served);
    server.signal(old, Signal::WINCH);
    server.wait("gracefully shutting down");
    eventually("the old workers to leave", || workers(old).is_empty());
    more(&served);
    assert!(alive(old));
    server.signal(old, Signal::QUIT);
    eventually("the old master to leave", || !alive(old));
    more(&served);
    stop.store(true, Ordering::Relaxed);
    client.join().unwrap();
    assert_eq!((server.master(), server.old()), (new, None));
    assert_eq!(server.server.client_unix("a.sock").get("/").text(), "one", "the path is still there");
    server.signal(new, Signal::QUIT);
    eventually("the new master to leave", || !alive(new));
    assert!(!server.server.path("a.sock").exists() && !server.server.path(server.pid_file).exists());
}

#[test]
fn an_upgrade_can_be_taken_back() {
    let server = Background::start();
    let (old, new) = server.upgrade();
    server.signal(old, Signal::USR2);
    server.wait("the changing binary signal is ignored: you should shutdown or terminate");
    server.signal(old, Signal::WINCH);
    eventually("the old workers to leave", || workers(old).is_empty());
    server.signal(old, Signal::HUP);
    eventually("the old master to serve again", || !workers(old).is_empty());
    server.signal(new, Signal::QUIT);
    eventually("the pid file to come back", || {
        server.old().is_none() && server.pid(server.pid_file) == Some(old)
    });
    server.wait(&format!("new binary process {new} exited with code 0"));
    assert_eq!(server.text(), "one");
    assert_eq!(server.server.client_unix("a.sock").get("/").text(), "one", "the path is still there");
}

#[test]
fn a_new_binary_that_fails_changes_nothing() {
    let server = Background::start();
    let old = server.master();
    server.server.rewrite("nonsense");
    server.signal(old, Signal::USR2);
    server.wait("exited with code 1");
    eventually("the pid file to come back", || {
        server.old().is_none() && server.pid(server.pid_file) == Some(old)
    });
    assert_eq!(server.text(), "one");
    // Sent away before the new binary failed: they are called back. Both signals are there when the master goes on, or
    // the new binary might have failed before the second: then nobody would be called back, rightly.
    server.signal(old, Signal::STOP);
    eventually("the master to stop", || {
        std::fs::read_to_string(format!("/proc/{old}/stat")).unwrap().contains(") T ")
    });
    server.signal(old, Signal::USR2);
    server.signal(old, Signal::WINCH);
    server.signal(old, Signal::CONT);
    eventually("both ends", || {
        server.server.log("logs/bg.log").lines().iter().filter(|l| l.contains("exited with code 1")).count()
            == 2
    });
    assert_eq!(server.text(), "one");
}

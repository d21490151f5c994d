//! One worker takes over from another under load: a configuration that needs another process, a new binary, and back.

use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use testkit::{Server, eventually};

use crate::load::Load;
use crate::stage::{Conf, application, is_alive, reload, start};

#[test]
fn another_worker_takes_over_under_load() {
    let tls = crate::with_tls();
    let application = application();
    let conf = |number: usize| {
        let main = format!("env GENERATION={number};");
        Conf { number, threads: 2, application: &application, tls, main }.text()
    };
    let server = start(&conf(0));
    let (load, begun) = (Load::start(&server, tls), Instant::now());
    load.go_on();
    for number in 1..4 {
        let before = server.workers();
        reload(&server, &conf(number));
        assert!(server.workers().iter().any(|pid| !before.contains(pid)));
        load.go_on();
    }
    let tally = load.finish(begun);
    assert!(tally.lost.is_empty(), "{:#?}", tally.lost);
    eventually("the workers before to leave", || server.workers().len() == 1);
}

/// A server in the background: only there WINCH counts. The pid file tells who is who.
struct Background {
    server: Server,
}

impl Background {
    fn start(text: &str) -> Background {
        let scaffold = "http { server { listen 127.0.0.1:%%PORT_4%%; return 200 scaffold; } }";
        let server = start(scaffold);
        server.rewrite(text);
        let background = Background { server };
        let mut command = std::process::Command::new(testkit::Binary::Plimsoll.path());
        let (prefix, conf) = (background.server.path(""), background.server.path("nginx.conf"));
        assert!(command.arg("-p").arg(prefix).arg("-c").arg(conf).status().unwrap().success());
        eventually("the pid file", || background.pid("logs/bg.pid").is_some());
        background
    }
    fn pid(&self, file: &str) -> Option<i32> {
        std::fs::read_to_string(self.server.path(file)).ok()?.trim().parse().ok()
    }
    /// The master in charge. While one takes over from another there is no pid file.
    fn master(&self) -> i32 {
        testkit::within(|| self.pid("logs/bg.pid")).expect("a pid file")
    }
    /// Starts the new binary; the masters' process ids, the old one first.
    fn upgrade(&self) -> (i32, i32) {
        let old = self.master();
        tell(old, Signal::USR2);
        eventually("the new master", || {
            self.pid("logs/bg.pid.oldbin") == Some(old)
                && self.pid("logs/bg.pid").is_some_and(|pid| pid != old)
        });
        (old, self.master())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        for pid in ["logs/bg.pid", "logs/bg.pid.oldbin"].into_iter().filter_map(|file| self.pid(file)) {
            let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM);
            eventually("the end", || !is_alive(pid));
        }
    }
}

fn tell(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

#[test]
fn an_upgrade_under_load_loses_nothing() {
    let tls = crate::with_tls();
    let application = application();
    let main = "daemon on; user root; pid logs/bg.pid;".to_owned();
    let text = Conf { number: 0, threads: 2, application: &application, tls, main }.text();
    let background = Background::start(&text);
    let (load, begun) = (Load::start(&background.server, tls), Instant::now());
    load.go_on();

    // There, and back again.
    let (old, new) = background.upgrade();
    load.go_on();
    tell(old, Signal::WINCH);
    load.go_on();
    tell(old, Signal::HUP);
    load.go_on();
    tell(new, Signal::QUIT);
    eventually("the pid file to come back", || background.master() == old);
    load.go_on();

    // There, to stay.
    let (old, new) = background.upgrade();
    load.go_on();
    tell(old, Signal::WINCH);
    tell(old, Signal::QUIT);
    load.go_on();
    let tally = load.finish(begun);
    eprintln!("{tally}");
    assert!(tally.lost.is_empty(), "{:#?}", tally.lost);
    // Its websockets were what held it.
    eventually("the old master to leave", || !is_alive(old));
    assert_eq!(background.master(), new);
}

//! Time of processors, and memory: quotas are those of real control groups, where the machine lets us make them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use testkit::{Binary, Origin, Server, Site, eventually};

use crate::bed::Report;
use crate::fixes::{Fixes, is_gone};

/// A control group that is gone after the test.
struct Group(PathBuf);

impl Group {
    /// With these settings: of version 1 by its controller, or of version 2. `None` without the right to make one.
    fn new(name: &str, controller: &str, first: &[(&str, &str)], second: &[(&str, &str)]) -> Option<Group> {
        let name = format!("plimsoll-lab-{}-{name}", std::process::id());
        let root = PathBuf::from("/sys/fs/cgroup");
        let all = [(root.join(controller).join(&name), first), (root.join(&name), second)];
        let made = all.into_iter().find_map(|(folder, settings)| {
            // Version 2 has no folder of a controller.
            fs::create_dir(&folder).ok()?;
            let group = Group(folder);
            let (file, value) = settings.first()?;
            fs::write(group.0.join(file), value).ok()?;
            // Of swap, which not every kernel counts.
            settings.iter().skip(1).for_each(|(file, value)| _ = fs::write(group.0.join(file), value));
            Some(group)
        });
        if made.is_none() || !Binary::wanted().contains(&Binary::Nginx) {
            eprintln!("SKIPPED: {name}: no right to make a control group");
            return None;
        }
        made
    }

    fn serve(&self, site: Site) -> Server {
        let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.0.display());
        Binary::Nginx.serve_under(&["sh", "-c", &enter, "sh"].map(str::to_owned), site)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Those who were in it end first, and a dying process is still in it.
        eventually("an empty control group", || fs::remove_dir(&self.0).is_ok());
    }
}

/// A file that takes the server some hundredths of a second each time.
fn hard_work(workers: usize) -> Site {
    let text = format!(
        "worker_processes {workers}; events {{ }} http {{ gzip on; gzip_comp_level 9; gzip_types *; keepalive_requests 1000000; \
         server {{ listen 127.0.0.1:%%PORT%%; root .; }} }}"
    );
    let words: String =
        (0..60_000_u64).map(|n| format!("{:x} ", n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40)).collect();
    Site::new(text).file("file", words)
}

/// Ends the load, also of a test that fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// While so many clients ask for it without a pause.
fn under_load(server: &Server, clients: usize, test: impl FnOnce()) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut client = server.client();
                while !over.load(Ordering::Relaxed) {
                    client.request("GET", "/file", &[("Accept-Encoding", "gzip")], &[]);
                }
            });
        }
        let _over = Over(&over);
        test();
    });
}

/// Long enough to see who waits.
fn look(server: &Server) -> Report {
    Report::of(&["--pid", &server.pid().to_string(), "--seconds", "0.5"])
}

#[test]
fn a_quota_of_processor_time_is_used_up() {
    let group = Group::new("cpu", "cpu", &[("cpu.cfs_quota_us", "20000")], &[("cpu.max", "20000 100000")]);
    let Some(group) = group else { return };
    let server = group.serve(hard_work(2));
    // The quota is small: the first may answer before the second has begun.
    eventually("both workers", || server.workers().len() == 2);
    under_load(&server, 3, || {
        let report = look(&server);
        report.first(
            "quota_used_up",
            &["cpu.stat", "the cgroup allows 0.2", "CPUQuota=40%", "use the same quota up sooner"],
        );
        report.has("workers_over_quota", &["worker_processes 1;"]);
    });
    Fixes::of(&server, "workers_over_quota").reload(&server);
    is_gone(&server, "workers_over_quota");
    drop(server);
}

/// Files of version 2, as a machine with systemd has them for a service, mounted over those there are: only the doctor
/// sees them. The counters go on while it looks.
#[test]
fn a_quota_of_version_2() {
    let may = Command::new("unshare").args(["-m", "true"]).output();
    if !may.is_ok_and(|output| output.status.success()) || !Binary::wanted().contains(&Binary::Nginx) {
        return eprintln!("SKIPPED: no right to make a mount namespace");
    }
    let server =
        Binary::Nginx.serve("worker_processes 2; events { } http { server { listen 127.0.0.1:%%PORT%%; } }");
    let own = fs::read_to_string(format!("/proc/{}/cgroup", server.pid())).unwrap();
    let group = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join(group);
    fs::create_dir_all(&folder).unwrap();
    let put = |name: &str, text: &str| {
        // Never half of it.
        let written = root.path().join("written");
        fs::write(&written, text).unwrap();
        fs::rename(written, folder.join(name)).unwrap();
    };
    put("cpu.max", "50000 100000\n");
    put("memory.max", "67108864\n");
    put("memory.events", "low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 0\n");
    let over = AtomicBool::new(false);
    let report = std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1_u64.. {
                let more =
                    format!("nr_periods {}\nnr_throttled {}\nthrottled_usec {}\n", 100 + n, 40 + n, n * 900);
                put("cpu.stat", &format!("usage_usec {n}\nuser_usec {n}\nsystem_usec 0\n{more}"));
                if over.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let _over = Over(&over);
        eventually("counters", || folder.join("cpu.stat").exists());
        let inside = format!("mount --bind {} /sys/fs/cgroup && exec \"$@\"", root.path().display());
        Report::under(
            &["unshare", "-m", "sh", "-c", &inside, "sh"],
            &["--pid", &server.pid().to_string(), "--seconds", "0.2"],
        )
    });
    let running = &report.json["facts"]["running"];
    assert_eq!((&running["quota"], &running["memory"]), (&Value::from(0.5), &Value::from(64 << 20)));
    assert_eq!(report.json["facts"]["killed"]["total"], 1);
    report.first("quota_used_up", &["cpu.stat", "the cgroup allows 0.5"]);
    report.has("workers_over_quota", &["worker_processes 1;"]);
    report.has("worker_killed", &[]);
}

#[test]
fn the_event_loop_is_busy() {
    if !Binary::wanted().contains(&Binary::Nginx) {
        return;
    }
    let server = Binary::Nginx.serve(hard_work(1));
    // Others that need the processors may have some of its time: then that is what is found.
    under_load(&server, 3, || {
        eventually("the event loop is what is found", || {
            let report = look(&server);
            let codes = report.codes();
            codes.first().is_some_and(|code| ["event_loop_busy", "processors_taken"].contains(code))
                && report.findings()[0]["link"] == "event_loop"
        });
    });
}

#[test]
fn one_worker_does_all_the_work() {
    if !Binary::wanted().contains(&Binary::Nginx) {
        return;
    }
    let server = Binary::Nginx.serve(hard_work(3));
    under_load(&server, 1, || {
        eventually("an uneven worker", || look(&server).codes().contains(&"uneven_workers"));
    });
}

/// The kernel kills a worker for the memory of its group.
#[test]
fn memory_runs_out() {
    const LIMIT: &str = "25165824";
    let first = [("memory.limit_in_bytes", LIMIT), ("memory.memsw.limit_in_bytes", LIMIT)];
    let group = Group::new("memory", "memory", &first, &[("memory.max", LIMIT), ("memory.swap.max", "0")]);
    let Some(group) = group else { return };
    let origin = Origin::new(|exchange| exchange.ok("x"));
    let text = "events { worker_connections 8192; } http { client_max_body_size 0; client_body_buffer_size 64m;\n\
                server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%ORIGIN%%; } } }";
    let server = group.serve(Site::new(text).with("ORIGIN", origin.address()));
    let mut client = server.client();
    let size = 48 << 20;
    // It is closed when the worker is gone.
    let _ = client.try_send(format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"));
    let piece = vec![b'x'; 1 << 20];
    while client.try_send(&piece).is_ok() && !server.error_log().text().contains("exited on signal 9") {}
    server.error_log().wait_for("exited on signal 9");
    let report = Report::server(&server);
    report.first("worker_killed", &["signal 9", "dmesg"]);
    report.has("memory_short", &["24.0 MiB"]);
    assert_eq!(report.json["facts"]["running"]["memory"], Value::from(24 << 20));
    drop(server);
}

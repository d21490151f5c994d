//! Master and worker: reload in place, restart, logs, signals, what is left afterwards.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use testkit::{Server, Site, eventually, serve};

fn kill(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}
fn worker(server: &Server) -> i32 {
    // The sockets listen before the first worker is there.
    eventually("one worker", || server.workers().len() == 1);
    server.workers()[0]
}
fn text(server: &Server) -> String {
    server.get("/").text().to_owned()
}
fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}
/// Counts the lines of the error log that contain `text`.
fn logged(server: &Server, text: &str) -> usize {
    server.error_log().lines().iter().filter(|line| line.contains(text)).count()
}
/// Reloads and waits until the new configuration is in force.
fn reload(server: &Server, text: &str) {
    let before = logged(server, "reconfigured");
    server.reload(text);
    eventually("the reload", || logged(server, "reconfigured") > before);
}

const ONE: &str = "location / { return 200 one; }";
const TWO: &str = "location / { return 200 two; }";

#[test]
fn a_reload_keeps_the_worker_and_its_connections() {
    let server = serve(ONE);
    let pid = worker(&server);
    let mut client = server.client();
    assert_eq!(client.get("/").text(), "one");
    reload(&server, TWO);
    assert_eq!(client.get("/").text(), "two", "an idle connection takes the new configuration");
    assert_eq!((text(&server).as_str(), worker(&server)), ("two", pid));
}

#[test]
fn a_broken_reload_changes_nothing_and_says_why() {
    let server = serve(ONE);
    let pid = worker(&server);
    server.reload("location / { retrun 200 two; }");
    server.error_log().wait_for("[emerg]");
    let log = server.error_log().text();
    assert!(log.contains("unknown directive \"retrun\" in "), "{log}");
    assert_eq!((text(&server).as_str(), worker(&server)), ("one", pid));
    reload(&server, TWO);
    assert_eq!(text(&server), "two");
}

#[test]
fn a_reload_that_cannot_bind_changes_nothing() {
    let server = serve(ONE);
    server.reload("server { listen 192.0.2.1:80; listen unix:%%DIR%%/new.sock; }");
    server.error_log().wait_for("bind() to 192.0.2.1:80 failed (99: Cannot assign requested address)");
    assert!(!server.path("new.sock").exists());
    assert_eq!(text(&server), "one");
}

#[test]
fn sockets_come_and_go_with_reloads() {
    let both = "server { listen 127.0.0.1:%%PORT%%; listen 127.0.0.1:%%PORT_1%%; listen unix:%%DIR%%/a.sock; \
                location / { return 200 both; } }";
    let server = serve(both);
    assert_eq!(server.client_on(1).get("/").text(), "both");
    assert_eq!(server.client_unix("a.sock").get("/").text(), "both");
    reload(&server, ONE);
    eventually("the port is closed", || {
        std::net::TcpStream::connect(("127.0.0.1", server.port_n(1))).is_err()
    });
    assert!(!server.path("a.sock").exists());
    assert_eq!(text(&server), "one");
    reload(&server, both);
    assert_eq!(server.client_on(1).get("/").text(), "both");
    assert_eq!(server.client_unix("a.sock").get("/").text(), "both");
}

#[test]
fn reloads_leave_no_descriptor_behind() {
    let server = serve(Site::new(ONE).file("ports", "%%PORT_1%% %%PORT_2%%"));
    let (master, worker) = (server.pid(), worker(&server));
    reload(&server, TWO);
    assert_eq!(text(&server), "two");
    // At most a connection more than at rest.
    let first = (descriptors(master), descriptors(worker));
    for i in 0..20 {
        let more = format!("server {{ listen 127.0.0.1:%%PORT_{}%%; }}", 1 + i % 2);
        reload(&server, &format!("server {{ listen 127.0.0.1:%%PORT%%; return 200 {i}; }} {more}"));
        assert_eq!(text(&server), i.to_string());
    }
    reload(&server, TWO);
    eventually("all descriptors are closed", || {
        descriptors(master) <= first.0 && descriptors(worker) <= first.1
    });
}

#[test]
fn a_dead_worker_is_replaced_and_nobody_who_waits_is_lost() {
    let server = serve(ONE);
    for signal in [Signal::KILL, Signal::ABORT] {
        let pid = worker(&server);
        kill(pid, Signal::STOP);
        eventually("the worker to stop", || {
            fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") T ")
        });
        // The accept queue is the master's, too: whoever waits there is served by the next worker.
        let mut waiting: Vec<_> = (0..100).map(|_| server.client()).collect();
        kill(pid, signal);
        // KILL does not wait for it to go on; then it may be gone already.
        let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::CONT);
        for client in &mut waiting {
            assert_eq!(client.get("/").text(), "one");
        }
        server.error_log().wait_for(&format!(
            "[alert] {}#{}: worker process {pid} exited on signal",
            server.pid(),
            server.pid()
        ));
        assert_ne!(worker(&server), pid);
    }
}

#[test]
fn a_restart_runs_what_was_checked() {
    let server = serve(ONE);
    server.rewrite("nonsense");
    kill(worker(&server), Signal::KILL);
    assert_eq!(text(&server), "one", "not what the file says by now");
}

#[test]
fn deaths_in_a_row_slow_restarts_down() {
    let server = serve(ONE);
    for _ in 0..4 {
        let pid = worker(&server);
        kill(pid, Signal::KILL);
        eventually("another worker", || server.workers().first().is_some_and(|new| *new != pid));
    }
    let lines = server.error_log().lines();
    assert_eq!(lines.iter().filter(|line| line.contains("exited on signal 9")).count(), 4);
    assert_eq!(text(&server), "one");
}

#[test]
fn logs_are_opened_anew() {
    let server = serve(ONE);
    assert_eq!(text(&server), "one");
    server.access_log().wait_lines(1);
    for name in ["error.log", "access.log"] {
        fs::rename(server.path(&format!("logs/{name}")), server.path(&format!("logs/{name}.1"))).unwrap();
    }
    server.signal(Signal::USR1);
    let mut requests = 1;
    eventually("the worker to write to the new file", || {
        assert_eq!(text(&server), "one");
        requests += 1;
        !server.access_log().lines().is_empty()
    });
    eventually("all lines, in one file or the other", || {
        server.log("logs/access.log.1").lines().len() + server.access_log().lines().len() == requests
    });
    assert!(server.path("logs/error.log").exists());
}

#[test]
fn a_shutdown_lets_requests_finish_and_leaves_nothing() {
    let mut server = serve(
        "server { listen 127.0.0.1:%%PORT%%; listen unix:%%DIR%%/a.sock; location / { return 200 one; } }",
    );
    // Who has said nothing yet is waited for, and nobody gives way in its place.
    let silent = server.client();
    let mut begun = server.client();
    begun.send("GET / HTTP/1.1\r\nHost: x\r\n");
    let mut idle = server.client();
    assert_eq!(idle.get("/").text(), "one");
    // What was sent before the signal is read before it, or the connection would be idle.
    eventually("the first bytes to be read", || {
        let text = server.get("/").text().to_owned();
        text == "one"
    });
    let pid = worker(&server);
    server.signal(Signal::QUIT);
    server.error_log().wait_for("gracefully shutting down");
    idle.expect_close();
    begun.send("\r\n");
    assert_eq!(begun.response().text(), "one");
    drop(silent);
    assert!(server.wait_exit().success());
    assert!(!server.path("logs/nginx.pid").exists() && !server.path("a.sock").exists());
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    let log = server.error_log().text();
    assert!(log.contains(&format!("worker process {pid} exited with code 0")), "{log}");
    assert!(log.trim_end().ends_with(": exit"), "{log}");
}

#[test]
fn a_fast_shutdown_waits_for_nobody() {
    let mut server = serve(ONE);
    let mut begun = server.client();
    begun.send("GET / HTTP/1.1\r\n");
    server.signal(Signal::TERM);
    assert!(server.wait_exit().success());
    begun.expect_close();
}

#[test]
fn without_a_master_it_serves_reloads_and_ends() {
    let mut server = serve(Site::new(format!(
        "master_process off; http {{ server {{ listen 127.0.0.1:%%PORT%%; {ONE} }} }}"
    )));
    assert_eq!(server.workers(), []);
    assert_eq!(text(&server), "one");
    reload(&server, &format!("master_process off; http {{ server {{ listen 127.0.0.1:%%PORT%%; {TWO} }} }}"));
    assert_eq!(text(&server), "two");
    server.signal(Signal::QUIT);
    assert!(server.wait_exit().success());
    assert!(!server.path("logs/nginx.pid").exists());
}

#[test]
fn a_worker_without_its_master_ends() {
    let mut server = serve(ONE);
    let pid = worker(&server);
    server.signal(Signal::KILL);
    server.wait_exit();
    eventually("the worker to end", || !Path::new(&format!("/proc/{pid}/exe")).exists());
}

#[test]
fn what_a_worker_cannot_change_takes_another_worker() {
    let server = serve(ONE);
    let pid = worker(&server);
    let other = "env PLIMSOLL_TEST=1; http { server { listen 127.0.0.1:%%PORT%%; location / { return 200 other; } } }";
    reload(&server, other);
    server.wait_other_workers(&[pid]);
    assert_eq!(text(&server), "other");
    let environment = fs::read(format!("/proc/{}/environ", worker(&server))).unwrap();
    assert!(environment.split(|b| *b == 0).any(|v| v == b"PLIMSOLL_TEST=1"));
    assert!(!environment.split(|b| *b == 0).any(|v| v.starts_with(b"PATH=")));
}

#[test]
fn the_worker_is_the_configured_user() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED: needs root");
    }
    let server =
        serve("user daemon; http { server { listen 127.0.0.1:%%PORT%%; location / { return 200 one; } } }");
    assert_eq!(text(&server), "one");
    let status = fs::read_to_string(format!("/proc/{}/status", worker(&server))).unwrap();
    let ids = status.lines().find(|line| line.starts_with("Uid:")).unwrap();
    assert!(ids.split_whitespace().skip(1).all(|id| id != "0"), "{ids}");
    assert_eq!(fs::read_to_string(format!("/proc/{}/comm", worker(&server))).unwrap(), "plimsoll\n");
    let title = fs::read(format!("/proc/{}/cmdline", worker(&server))).unwrap();
    assert_eq!(String::from_utf8_lossy(&title).trim_end_matches('\0'), "plimsoll: worker process");
}

#[test]
fn six_hundred_sockets_and_logs() {
    let server = serve(Site::new(many(0)).file("s/x", ""));
    assert_eq!(text(&server), "many");
    assert_eq!(server.client_unix("s/349").get("/").text(), "many");
    reload(&server, &many(100));
    assert_eq!(server.client_unix("s/449").get("/").text(), "many");
    assert!(!server.path("s/0").exists());
    server.log("logs/a449.log").wait_lines(1);
    kill(worker(&server), Signal::KILL);
    assert_eq!(server.client_unix("s/400").get("/").text(), "many");
}

/// 351 sockets and 351 logs, `first` and up.
fn many(first: usize) -> String {
    let servers: String = (first..first + 350)
        .map(|i| {
            format!(
                "server {{ listen unix:%%DIR%%/s/{i}; access_log logs/a{i}.log; location / {{ return 200 many; }} }}\n"
            )
        })
        .collect();
    let main = "server { listen 127.0.0.1:%%PORT%%; location / { return 200 many; } }";
    format!("worker_rlimit_nofile 4096; http {{ {main} {servers} }}")
}

#[test]
fn threads_come_and_go_without_losing_a_connection() {
    let server = serve(
        "worker_processes 1; http { server { listen 127.0.0.1:%%PORT%%; location / { return 200 1; } } }",
    );
    let pid = worker(&server);
    let mut clients: Vec<_> = (0..8).map(|_| server.client()).collect();
    for (i, threads) in [3, 1, 4, 2].into_iter().enumerate() {
        let option = if i % 2 == 0 { "reuseport" } else { "" };
        reload(
            &server,
            &format!(
                "worker_processes {threads}; \
                 http {{ server {{ listen 127.0.0.1:%%PORT%% {option}; location / {{ return 200 {threads}; }} }} }}"
            ),
        );
        for client in &mut clients {
            assert_eq!(client.get("/").text(), threads.to_string());
        }
        // Enough to meet every socket of the address, whoever's it was.
        for _ in 0..40 {
            assert_eq!(text(&server), threads.to_string());
        }
    }
    assert_eq!(worker(&server), pid);
}

#[test]
fn a_new_worker_takes_over_without_losing_a_request() {
    let conf = |i: usize| {
        format!(
            "env N={i}; http {{ server {{ listen 127.0.0.1:%%PORT%%; location / {{ return 200 {i}; }} }} }}"
        )
    };
    let server = serve(conf(0));
    for i in 1..6 {
        let mut fresh = server.client();
        let mut kept = server.client();
        kept.get("/");
        reload(&server, &conf(i));
        // Both are the old worker's: one has not said anything yet, the other goes on until it is told.
        eventually("to be told to close", || {
            let answer = kept.get("/");
            assert_eq!(answer.text(), (i - 1).to_string());
            answer.header("connection") == Some("close")
        });
        kept.expect_close();
        let first = fresh.get("/");
        assert_eq!((first.text(), first.header("connection")), ((i - 1).to_string(), Some("close")));
        assert_eq!(text(&server), i.to_string());
    }
    eventually("the old workers to leave", || server.workers().len() == 1);
}

#[test]
fn connections_of_a_removed_listener_are_answered_and_closed() {
    let server = serve("server { listen 127.0.0.1:%%PORT%%; listen 127.0.0.1:%%PORT_1%%; return 200 one; }");
    let mut kept = server.client_on(1);
    assert_eq!(kept.get("/").text(), "one");
    let mut fresh = server.client_on(1);
    let pid = worker(&server);
    reload(&server, "server { listen 127.0.0.1:%%PORT%%; return 200 two; }");
    for client in [&mut kept, &mut fresh] {
        let answer = client.get("/");
        assert_eq!((answer.text().as_str(), answer.header("connection")), ("one", Some("close")));
        client.expect_close();
    }
    assert!(std::net::TcpStream::connect(("127.0.0.1", server.port_n(1))).is_err());
    assert_eq!((text(&server).as_str(), worker(&server)), ("two", pid));
}

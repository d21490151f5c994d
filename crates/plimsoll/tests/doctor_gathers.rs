//! What the doctor finds out about a running server by itself: pages of status wherever they are, who is meant, what is
//! behind an upstream, containers, and what it could not read.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output};

use serde_json::Value;
use testkit::{App, Binary, Server, Site, eventually, peers};

fn doctor(args: &[&str]) -> Output {
    Command::new(Binary::Plimsoll.path()).arg("doctor").args(args).output().unwrap()
}

fn seen(args: &[&str]) -> Value {
    let output = doctor(&[args, &["--json", "--seconds", "0.05"]].concat());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&output.stderr));
    });
    report["facts"].clone()
}

fn of(server: &Server) -> Value {
    wait_for_a_worker(server);
    seen(&["--pid", &server.pid().to_string()])
}

/// A worker is known by its title, which it sets when it has come up.
fn wait_for_a_worker(server: &Server) {
    let title = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    eventually("a worker", || server.workers().iter().any(|pid| title(pid).contains("worker process")));
}

/// With a real nginx, if there is one.
fn on_nginx(site: impl Into<Site>, test: impl Fn(&Server)) {
    if Binary::wanted().contains(&Binary::Nginx) {
        test(&Binary::Nginx.serve(site));
    }
}

fn certificate() -> (Vec<u8>, Vec<u8>) {
    let args = "req -x509 -nodes -days 9 -subj /CN=s.test -newkey ec -pkeyopt ec_paramgen_curve:prime256v1";
    let output = Command::new("openssl").args(args.split(' ')).args(["-keyout", "-", "-out", "-"]).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let (key, certificate) = text.split_at(text.find("-----BEGIN CERT").unwrap());
    (certificate.into(), key.into())
}

/// Another server answers at the same address, so that only the name tells them apart.
fn status_at(listen: &str, more: &str) -> Site {
    let text = format!(
        "server {{ listen 127.0.0.1:%%PORT%%; return 200 other; }}
         server {{ listen {listen} default_server; {more} return 404; }}
         server {{ listen {listen}; server_name s.test; {more} location = /s {{ stub_status; allow 127.0.0.1; allow unix:; deny all; }} }}"
    );
    let (certificate, key) = certificate();
    Site::new(text).file("a.crt", certificate).file("a.key", key)
}

#[test]
fn status_is_found_wherever_it_is() {
    let tls = "ssl_certificate a.crt; ssl_certificate_key a.key;";
    for (listen, more) in [
        ("127.0.0.1:%%PORT_1%%", ""),
        ("%%PORT_1%%", ""),
        ("unix:%%DIR%%/s.sock", ""),
        ("127.0.0.1:%%PORT_1%% ssl", tls),
        ("unix:%%DIR%%/s.sock ssl", tls),
        ("127.0.0.1:%%PORT_1%% proxy_protocol", ""),
    ] {
        on_nginx(status_at(listen, more), |server| {
            let facts = of(server);
            assert_eq!(facts["status"]["active"], 1, "{listen}: {:#}", facts["unread"]);
            assert_eq!(facts["unread"].as_array().unwrap().len(), 0, "{listen}: {}", facts["unread"]);
        });
    }
}

#[test]
fn status_that_is_not_for_us() {
    let text = "server { listen 127.0.0.1:%%PORT%%; location /a { deny all; stub_status; } location ~ /b|/c { stub_status; } }";
    on_nginx(text, |server| {
        let unread = of(server)["unread"].to_string();
        assert!(
            unread.contains("/a: /a?format=json is answered with 403: `allow` this machine there"),
            "{unread}"
        );
        assert!(
            unread.contains("its location is a pattern; give the address with --stub-status"),
            "{unread}"
        );
        let given = format!("http://127.0.0.1:{}/x/b", server.port());
        let facts = seen(&["--pid", &server.pid().to_string(), "--stub-status", &given]);
        assert_eq!(facts["status"]["active"], 1, "{facts}");
    });
}

const PLAIN: &str = "server { listen 127.0.0.1:%%PORT%%; location / { return 200 x; } }";

#[test]
fn a_server_is_named_by_its_process_or_its_file() {
    on_nginx(PLAIN, |server| {
        wait_for_a_worker(server);
        let master = |which: &str| seen(&["--pid", which])["running"]["master"].clone();
        let file = server.path("logs/nginx.pid");
        assert_eq!(master(file.to_str().unwrap()), server.pid());
        assert_eq!(master(&server.workers()[0].to_string()), server.pid());
        let output = doctor(&["--pid", "/nowhere/nginx.pid"]);
        assert_eq!(output.status.code(), Some(3));
        let text = String::from_utf8(doctor(&["--pid", "none.service"]).stdout).unwrap();
        assert!(text.contains("no running nginx or plimsoll in none.service"), "{text}");
    });
}

#[test]
fn the_program_says_where_its_files_are_without_being_run() {
    on_nginx(PLAIN, |server| {
        let said = Command::new(Binary::Nginx.path()).arg("-v").output().unwrap().stderr;
        let said = String::from_utf8(said).unwrap();
        let version = of(server)["running"]["version"].as_str().unwrap().to_owned();
        assert!(!version.is_empty() && said.contains(&format!("/{version}")), "{version}: {said}");
    });
}

#[test]
fn an_application_says_how_much_it_takes() {
    let Some(app) = App::gunicorn_with_backlog(7) else { return };
    let site = "location / { proxy_pass http://%%APP%%; }";
    on_nginx(Site::new(site).with("APP", app.address()), |server| {
        let upstream = of(server)["upstreams"][0].clone();
        let application = &upstream["application"];
        assert_eq!((&application["kind"], &upstream["queue"]["ceiling"]), (&"gunicorn".into(), &7.into()));
        let settings = application["settings"].to_string();
        for (name, value) in [("workers", "1"), ("backlog", "7")] {
            let set = serde_json::json!({ "name": name, "value": value, "place": "its command line" });
            assert!(settings.contains(&set.to_string()), "{set}: {settings}");
        }
        assert_eq!(application["workers"], 1);
    });
}

#[test]
fn a_pool_of_php_says_how_much_it_takes() {
    let Some(app) = App::php_unix() else { return };
    let site = "location / { fastcgi_pass %%APP%%; }";
    on_nginx(Site::new(site).with("APP", app.address()), |server| {
        let application = of(server)["upstreams"][0]["application"].clone();
        let settings = application["settings"].to_string();
        assert!(
            settings.contains("pm.max_children") && settings.contains("fpm.conf, [app]"),
            "{application}"
        );
        assert_eq!((&application["kind"], &application["workers"]), (&"php-fpm".into(), &2.into()));
    });
}

/// A server with processes, files and a network of its own.
struct Container(Child);

impl Container {
    /// `None` where such a thing may not be made.
    fn start(folder: &Path) -> Option<Container> {
        let script = format!(
            "mount -t tmpfs none {0}/inside && cp {0}/nginx.conf {0}/inside && mkdir {0}/inside/logs \
             && echo 127.0.0.1 app.test > {0}/hosts && mount --bind {0}/hosts /etc/hosts \
             && ip link set lo up && cd {0} && exec {1} -p inside -c nginx.conf",
            folder.display(),
            Binary::Nginx.path().display()
        );
        let mut command = Command::new(peers::find("unshare")?);
        let flags = ["--fork", "--kill-child", "--pid", "--mount", "--net", "--mount-proc", "sh", "-c"];
        let child = command.args(flags).arg(script).spawn().ok()?;
        Some(Container(child))
    }

    /// The master, as it is known outside.
    fn master(&mut self) -> Option<u32> {
        let children = format!("/proc/{0}/task/{0}/children", self.0.id());
        let find = || {
            let pid: u32 = fs::read_to_string(&children).ok()?.split_whitespace().next()?.parse().ok()?;
            let workers = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
            let worker = workers.split_whitespace().next()?;
            let title = fs::read_to_string(format!("/proc/{worker}/cmdline")).ok()?;
            title.contains("worker process").then_some(pid)
        };
        let mut found = None;
        eventually("the container serves, or is not allowed to be", || {
            found = find();
            found.is_some() || self.0.try_wait().unwrap().is_some()
        });
        found
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // With its parent, all of it ends.
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_container() {
    if !Binary::wanted().contains(&Binary::Nginx) || !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("inside")).unwrap();
    let text = "user root; daemon off; pid logs/nginx.pid; error_log logs/error.log info; events { worker_connections 64; }
        http { access_log off; server { listen 127.0.0.1:80; location = /s { stub_status; }
        location / { proxy_pass http://app.test:9; } } }";
    fs::write(folder.path().join("nginx.conf"), text).unwrap();
    let mut container = Container::start(folder.path());
    let Some(master) = container.as_mut().and_then(Container::master) else {
        eprintln!("SKIPPED: no namespaces may be made here");
        return;
    };
    let facts = seen(&["--pid", &master.to_string()]);
    assert_eq!(facts["unread"].as_array().unwrap().len(), 0, "{}", facts["unread"]);
    assert_eq!(facts["config"]["connections"][0], 64);
    assert_eq!(facts["status"]["active"], 1);
    assert_eq!(facts["queues"][0]["address"], "127.0.0.1:80");
    assert_eq!(facts["upstreams"][0]["address"], "127.0.0.1:9");
    assert!(facts["events"]["lines"].as_u64() > Some(0) && facts["running"]["version"] != "", "{facts}");
}

#[test]
fn without_the_right_to_see() {
    let Some(setpriv) = peers::find("setpriv").filter(|_| rustix::process::geteuid().is_root()) else {
        return;
    };
    on_nginx(PLAIN, |server| {
        wait_for_a_worker(server);
        let mut command = Command::new(setpriv.clone());
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(Binary::Plimsoll.path());
        let pid = server.pid().to_string();
        let output = command.args(["doctor", "--seconds", "0", "--pid", &pid]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let said = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            said.contains(
                "descriptors of the workers: Permission denied (os error 13) (run as root to read it)"
            ),
            "{said}"
        );
        assert!(said.contains("namespaces of process") && !said.contains("descriptors 0 of"), "{said}");
    });
}

#[test]
fn progress_is_for_terminals() {
    let Some(script) = peers::find("script") else { return };
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("error.log");
    fs::write(&log, "2026/06/27 18:05:51 [notice] 7#7: nothing\n").unwrap();
    // Large enough for a bar, and nearly all of it a hole.
    fs::File::options().append(true).open(&log).unwrap().set_len(100 << 20).unwrap();
    let plimsoll = Binary::Plimsoll.path();
    let line = format!("{} doctor --log {}", plimsoll.display(), log.display());
    let mut command = Command::new(script);
    command.args(["-q", "-c", &line, "/dev/null"]).env("TERM", "xterm").env_remove("NO_COLOR");
    let shown = String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned();
    assert!(shown.contains("/s  ") && shown.contains("error.log") && shown.contains("exit 0"), "{shown}");
    let quiet = doctor(&["--log", log.to_str().unwrap()]);
    assert!(quiet.stderr.is_empty(), "{}", String::from_utf8_lossy(&quiet.stderr));
}

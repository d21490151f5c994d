//! What every incident needs: a server, clients, applications, and what the doctor says.

use std::fs;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use testkit::{Binary, Client, Origin, Server, Site, eventually, peers};

pub(crate) const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// A worker is known by its title, which it sets when it has come up.
pub(crate) fn wait_for_a_worker(server: &Server) {
    let title = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    eventually("a worker", || server.workers().iter().any(|pid| title(pid).contains("worker process")));
}

/// What the doctor said.
pub(crate) struct Report {
    pub(crate) exit: i32,
    pub(crate) json: Value,
}

impl Report {
    /// Of what these arguments make it look at.
    pub(crate) fn of(args: &[&str]) -> Report {
        Report::under(&["env"], args)
    }

    /// Started by this command.
    pub(crate) fn under(wrapper: &[&str], args: &[&str]) -> Report {
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(Binary::Plimsoll.path()).arg("doctor").args(args).arg("--json");
        let output = command.output().unwrap();
        let json = serde_json::from_slice(&output.stdout);
        let json =
            json.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        Report { exit: output.status.code().unwrap(), json }
    }

    pub(crate) fn server(server: &Server) -> Report {
        Report::server_with(server, &[])
    }

    /// With these arguments besides.
    pub(crate) fn server_with(server: &Server, args: &[&str]) -> Report {
        wait_for_a_worker(server);
        let pid = server.pid().to_string();
        Report::of(&[&["--pid", &pid, "--seconds", "0.05"], args].concat())
    }

    pub(crate) fn findings(&self) -> &[Value] {
        self.json["findings"].as_array().unwrap()
    }

    pub(crate) fn codes(&self) -> Vec<&str> {
        self.findings().iter().map(|finding| finding["code"].as_str().unwrap()).collect()
    }

    /// The first finding is this, and its text (evidence, changes and all) has these words.
    #[track_caller]
    pub(crate) fn first(&self, code: &str, words: &[&str]) {
        assert_eq!(self.codes().first(), Some(&code), "{:#}", self.json["findings"]);
        self.has(code, words);
    }

    #[track_caller]
    pub(crate) fn has(&self, code: &str, words: &[&str]) {
        let found = self.findings().iter().find(|finding| finding["code"] == code);
        let text = found.unwrap_or_else(|| panic!("no {code} in {:?}", self.codes())).to_string();
        for word in words {
            assert!(text.contains(word), "{word} is not in {text}");
        }
    }
}

/// Runs an incident with a real nginx, if there is one.
pub(crate) fn incident(site: impl Into<Site>, test: impl Fn(&Server)) {
    if Binary::wanted().contains(&Binary::Nginx) {
        test(&Binary::Nginx.serve(site));
    }
}

pub(crate) fn clients(server: &Server, count: usize) -> Vec<Client> {
    let client = |_| {
        let mut client = server.client();
        // A full server may have closed it already.
        let _ = client.try_send(GET);
        client
    };
    (0..count).map(client).collect()
}

/// An incident before an origin that answers nobody until the test is over.
pub(crate) fn held_up(site: impl Into<Site>, test: impl Fn(&Server, &Origin)) {
    let (gate, origin) = Origin::gated("late");
    incident(site.into().with("ORIGIN", origin.address()), |server| {
        test(server, &origin);
        gate.open();
    });
}

pub(crate) fn site(connections: u32, directives: &str) -> Site {
    Site::new(format!(
        "events {{ worker_connections {connections}; }} http {{ server {{ listen 127.0.0.1:%%PORT%%; {directives} }} }}"
    ))
}

/// An application that ends with the test.
pub(crate) struct Application(Child);

impl Application {
    pub(crate) fn start(command: &mut Command) -> Application {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Application(quiet.process_group(0).spawn().unwrap())
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

/// A gunicorn that listens in this folder, and whose only worker is busy for ever with its first request: then there is
/// a file `busy`.
pub(crate) fn gunicorn(folder: &Path, flags: &[&str]) -> Option<Application> {
    let socket = folder.join("gunicorn.sock");
    write_application(folder);
    let mut command = peers::gunicorn()?;
    command.args(flags).arg("--bind").arg(format!("unix:{}", socket.display()));
    command.arg("--chdir").arg(folder).arg("app:application").env("HOME", folder);
    let started = Application::start(&mut command);
    eventually("gunicorn listens", || UnixStream::connect(&socket).is_ok());
    Some(started)
}

/// Directives that pass requests to [`uwsgi`], listening to `%%UWSGI%%`.
pub(crate) const UWSGI: &str = "location / { uwsgi_pass %%UWSGI%%; uwsgi_param REQUEST_METHOD GET; uwsgi_param PATH_INFO /; \
                                uwsgi_param SERVER_NAME x; uwsgi_param SERVER_PORT 80; uwsgi_param SERVER_PROTOCOL HTTP/1.1; }";

/// A uWSGI with these settings, that listens there (`unix:/PATH`, `127.0.0.1:8000`), and whose processes are busy for
/// ever with their first request: then there is a file `busy`. Its log is `uwsgi.log`.
pub(crate) fn uwsgi(folder: &Path, listen: &str, settings: &str) -> Option<Application> {
    let program = peers::require("uwsgi")?;
    write_application(folder);
    let file = |name: &str| folder.join(name).display().to_string();
    let socket = listen.trim_start_matches("unix:");
    let text = format!(
        "[uwsgi]\nsocket = {socket}\nwsgi-file = {}\nmaster = true\nlogto = {}\n{settings}\n",
        file("app.py"),
        file("uwsgi.log")
    );
    fs::write(folder.join("uwsgi.ini"), text).unwrap();
    let mut command = Command::new(program);
    let started = Application::start(command.arg("--ini").arg(folder.join("uwsgi.ini")));
    let log = folder.join("uwsgi.log");
    eventually("uWSGI has begun", || {
        fs::read_to_string(&log).unwrap_or_default().contains("spawned uWSGI worker 1")
    });
    Some(started)
}

/// It writes `busy`, and then takes for ever.
fn write_application(folder: &Path) {
    let busy = folder.join("busy").display().to_string();
    let text = format!(
        "import time\ndef application(environ, start):\n    open({busy:?}, 'w').close()\n    time.sleep(60)\n"
    );
    fs::write(folder.join("app.py"), text).unwrap();
}

/// Directives that pass requests to a script that takes for ever, in the pool of [`php`].
pub(crate) const PHP: &str = "location / { fastcgi_pass unix:%%FOLDER%%/php.sock; fastcgi_param REQUEST_METHOD GET; \
                              fastcgi_param SCRIPT_FILENAME %%FOLDER%%/slow.php; }";

/// A php-fpm whose pool has these settings; its log is `fpm.log`.
pub(crate) fn php(folder: &Path, pool: &str) -> Option<Application> {
    let program = peers::require_php()?;
    let file = |name: &str| folder.join(name);
    fs::write(file("slow.php"), "<?php sleep(60);").unwrap();
    let text = format!(
        "[global]\nerror_log={}\ndaemonize=no\n[www]\nlisten={}\nuser=root\ngroup=root\nlisten.mode=0666\n{pool}\n",
        file("fpm.log").display(),
        file("php.sock").display()
    );
    fs::write(file("fpm.conf"), text).unwrap();
    let mut command = Command::new(program);
    let started = Application::start(command.arg("--allow-to-run-as-root").arg("-y").arg(file("fpm.conf")));
    eventually("php-fpm listens", || UnixStream::connect(file("php.sock")).is_ok());
    Some(started)
}

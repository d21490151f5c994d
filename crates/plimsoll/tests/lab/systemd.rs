//! A service of a real systemd: limits of its unit, drop-ins, and a log that only the journal has.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;
use testkit::{Binary, eventually};

use crate::bed::{GET, Report};

/// As Debian has it, with as little as can be around it.
const UNIT: &str = "[Unit]\nDefaultDependencies=no\n[Service]\nType=forking\nPIDFile=/run/nginx.pid\n\
                    ExecStart=/usr/sbin/nginx\nStandardError=journal\nKillMode=mixed\n";

/// A machine with systemd and nginx, gone after the test.
struct Machine {
    first: Child,
    group: PathBuf,
    shared: TempDir,
    _root: TempDir,
}

impl Machine {
    /// With this `nginx.conf`, whose `%%FOLDER%%` is shared with the test, and this drop-in of its service. `None`
    /// without the right to make one.
    fn boot(conf: &str, drop_in: &str) -> Option<Machine> {
        let (root, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let wanted = Path::new("/lib/systemd/systemd").exists() && Binary::wanted().contains(&Binary::Nginx);
        let Some(group) = wanted.then(|| group(root.path())).flatten() else {
            eprintln!("SKIPPED: no systemd, or no right to make a control group");
            return None;
        };
        let folder = shared.path().display().to_string();
        let conf = conf.replace("%%FOLDER%%", &folder);
        for (name, text) in [("nginx.conf", &*conf), ("nginx.service", UNIT), ("override.conf", drop_in)] {
            fs::write(shared.path().join(name), text).unwrap();
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/systemd.sh");
        let said = fs::File::create(shared.path().join("boot.log")).unwrap();
        let enter = format!("echo $$ > {}/cgroup.procs && exec unshare \"$@\"", group.display());
        let mut command = Command::new("sh");
        command.args(["-c", &enter, "sh", "-f", "--kill-child", "-p", "-m", "-C", "-u", "-i", "-n"]);
        command.args(["--propagation", "private", "sh"]).arg(script).args([root.path(), shared.path()]);
        command.arg(Binary::Plimsoll.path().parent().unwrap()).stdin(Stdio::null()).process_group(0);
        let first = command.stdout(said.try_clone().unwrap()).stderr(said).spawn().unwrap();
        let mut machine = Machine { first, group, shared, _root: root };
        machine.wait_for_the_service();
        Some(machine)
    }

    fn wait_for_the_service(&mut self) {
        eventually("nginx is active", || {
            let ended = self.first.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", self.read("boot.log"));
            self.try_run("systemctl is-active nginx.service").is_some_and(|output| output.status.success())
        });
    }

    /// How to be inside; `None`: it is not there yet.
    fn inside(&self) -> Option<[String; 4]> {
        let pid = self.first.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        let systemd = children.split_whitespace().next()?.to_owned();
        let running = fs::read_to_string(format!("/proc/{systemd}/comm")).ok()?;
        (running.trim() == "systemd")
            .then(|| ["nsenter".to_owned(), "-t".to_owned(), systemd, "-a".to_owned()])
    }

    fn try_run(&self, shell: &str) -> Option<Output> {
        let inside = self.inside()?;
        Command::new(&inside[0]).args(&inside[1..]).args(["sh", "-c", shell]).output().ok()
    }

    #[track_caller]
    fn run(&self, shell: &str) {
        let output = self.try_run(shell).unwrap();
        assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn doctor(&self, args: &[&str]) -> Report {
        let inside = self.inside().unwrap();
        let inside: Vec<&str> = inside.iter().map(String::as_str).collect();
        Report::under(&inside, &[&["--seconds", "0.05"], args].concat())
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.shared.path().join(name)
    }

    /// Requests over connections that stay, to the socket `web` that nginx listens to.
    fn clients(&self, count: usize) -> Vec<UnixStream> {
        let client = |_| {
            let mut client = UnixStream::connect(self.path("web")).unwrap();
            let _ = client.write_all(GET.as_bytes());
            client
        };
        (0..count).map(client).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.first.kill();
        let _ = self.first.wait();
        // systemd has made groups in it, and a dying process is still in one.
        eventually("an empty control group", || remove(&self.group));
    }
}

/// A control group of version 2, with a name that nothing else has.
fn group(unique: &Path) -> Option<PathBuf> {
    let name = format!("plimsoll-lab-{}", unique.file_name()?.display());
    let folders = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
    let version_2 = folders.into_iter().find(|folder| folder.join("cgroup.controllers").exists())?;
    let group = version_2.join(name);
    fs::create_dir(&group).ok().map(|()| group)
}

fn remove(group: &Path) -> bool {
    let inner = fs::read_dir(group).into_iter().flatten().flatten();
    inner.filter(|entry| entry.path().is_dir()).for_each(|entry| _ = remove(&entry.path()));
    fs::remove_dir(group).is_ok() || !group.exists()
}

/// From the configuration that the program itself names, by way of the unit and its drop-in, to a limit that is in force.
#[test]
fn the_limit_of_a_unit_is_raised() {
    let conf = "pid /run/nginx.pid; error_log %%FOLDER%%/error.log; worker_processes 1;\n\
                events { worker_connections 64; }\n\
                http { access_log off; server { listen unix:%%FOLDER%%/web; location / { return 200; } } }\n";
    let Some(machine) = Machine::boot(conf, "[Service]\nLimitNOFILE=24\n") else { return };
    let held = machine.clients(40);
    eventually("a refusal", || machine.read("error.log").contains("failed (24:"));
    let fix = machine.path("fix").display().to_string();
    let report = machine.doctor(&["--fix", &fix]);
    report.first("descriptors_full", &["soft limit 24", "LimitNOFILE=", "[Service] of nginx.service"]);
    assert_eq!(report.json["facts"]["running"]["unit"]["settings"]["LimitNOFILE"], "24");
    drop(held);

    machine.run(&format!(
        "cp {fix}/zz-limits.conf /etc/systemd/system/nginx.service.d/ && systemctl daemon-reload && : > {}",
        machine.path("error.log").display()
    ));
    machine.doctor(&[]).has("limit_not_landed", &["zz-limits.conf", "systemctl restart nginx.service"]);

    // nginx leaves its socket behind when it is killed, and then finds it taken.
    machine.run(&format!(
        "systemctl stop nginx && rm -f {} && systemctl start nginx",
        machine.path("web").display()
    ));
    for mut client in machine.clients(40) {
        let mut answer = [0; 12];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
    let report = machine.doctor(&[]);
    let codes = report.codes();
    assert!(!codes.contains(&"descriptors_full") && !codes.contains(&"limit_not_landed"), "{codes:?}");
}

/// It is said how to read it, and reading it so finds the cause. The connection to the journal is nobody's request.
#[test]
fn a_log_that_only_the_journal_has() {
    let conf = "pid /run/nginx.pid; error_log stderr; worker_processes 1; events { worker_connections 8; }\n\
                http { access_log off; server { listen unix:%%FOLDER%%/web; location / { proxy_pass http://unix:%%FOLDER%%/web; } } }\n";
    let Some(machine) = Machine::boot(conf, "[Service]\n") else { return };
    let healthy = machine.doctor(&[]);
    let slots =
        healthy.json["chain"]["links"].as_array().unwrap().iter().find(|link| link["kind"] == "slots");
    assert_eq!(slots.unwrap()["used"], 0, "{:#}", healthy.json["chain"]);
    let how = "journalctl -u nginx.service -o export | plimsoll doctor --pid nginx.service --log -";
    assert!(
        healthy.json["facts"]["unread"].to_string().contains(how),
        "{:#}",
        healthy.json["facts"]["unread"]
    );

    let _clients = machine.clients(1);
    let journal = |form: &str| format!("journalctl --sync; journalctl -u nginx.service -o {form}");
    let said = || machine.try_run(&journal("cat")).unwrap().stdout;
    eventually("a refusal", || {
        String::from_utf8_lossy(&said()).contains("worker_connections are not enough")
    });
    for form in ["export", "json", "short-iso"] {
        let log = machine.try_run(&journal(form)).unwrap().stdout;
        fs::write(machine.path(form), log).unwrap();
        let log = machine.path(form).display().to_string();
        Report::of(&["--log", &log]).first("slots_full", &["worker_connections are not enough"]);
    }
}

//! The command line, as nginx takes it: what is printed where, and the exit code.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output, Stdio};

use testkit::{Binary, Site, each, serve};

/// Runs a server with exactly these flags.
fn run(binary: Binary, flags: &[&str]) -> Output {
    Command::new(binary.path()).args(flags).stdin(Stdio::null()).output().unwrap()
}
/// What it says, with its own name taken out.
fn said(binary: Binary, bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace(&format!("{}:", binary.name()), "NAME:")
}

#[test]
fn wrong_flags_are_refused() {
    each(|binary| {
        for (flags, expected) in [
            (&["-x"][..], "NAME: invalid option: \"x\"\n"),
            (&["-tqx"], "NAME: invalid option: \"x\"\n"),
            (&["stop"], "NAME: invalid option: \"stop\"\n"),
            (&["-s"], "NAME: option \"-s\" requires parameter\n"),
            (&["-s", "restart"], "NAME: invalid option: \"-s restart\"\n"),
            (&["-p"], "NAME: option \"-p\" requires directory name\n"),
            (&["-c"], "NAME: option \"-c\" requires file name\n"),
            (&["-e"], "NAME: option \"-e\" requires file name\n"),
            (&["-g"], "NAME: option \"-g\" requires parameter\n"),
        ] {
            let output = run(binary, flags);
            assert_eq!(said(binary, &output.stderr), expected, "{flags:?}");
            assert_eq!((output.status.code(), &output.stdout[..]), (Some(1), &b""[..]), "{flags:?}");
        }
    });
}

#[test]
fn versions_and_help_go_to_standard_error() {
    each(|binary| {
        let version = run(binary, &["-v"]);
        let text = said(binary, &version.stderr);
        assert!(text.lines().any(|line| line.starts_with("nginx version: nginx/1.")), "{text}");
        assert_eq!((version.status.code(), &version.stdout[..]), (Some(0), &b""[..]));
        let configure = run(binary, &["-V"]);
        let text = said(binary, &configure.stderr);
        assert!(
            text.lines().any(|line| line.starts_with("configure arguments: ") && line.contains(" --with-")),
            "{text}"
        );
        for flag in ["-h", "-?"] {
            let help = run(binary, &[flag]);
            let text = said(binary, &help.stderr);
            assert_eq!(help.status.code(), Some(0));
            for part in [
                "nginx version: ",
                "Usage: ",
                "  -s signal     : send signal to a master process: stop, quit, reopen, reload\n",
            ] {
                assert!(text.contains(part), "{text}");
            }
        }
    });
}

/// What nginx's users do not look for, and everybody else does.
#[test]
fn the_help_names_the_commands_and_long_flags_ask_for_it() {
    let said = |flag| {
        let output = run(Binary::Plimsoll, &[flag]);
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b""[..]), "{flag}");
        said(Binary::Plimsoll, &output.stderr)
    };
    let help = said("--help");
    assert_eq!(help, said("-h"));
    assert_eq!(said("--version"), said("-v"));
    for command in ["doctor", "top", "size"] {
        let line = help.lines().find(|line| line.trim_start().starts_with(command));
        assert!(line.is_some_and(|line| line.len() <= 88), "{help}");
        assert_eq!(run(Binary::Plimsoll, &[command, "--help"]).status.code(), Some(0), "{command}");
    }
}

#[test]
fn a_check_says_so_and_touches_nothing() {
    each(|binary| {
        let site = Site::new("location / { return 200; }");
        let good = binary.check(&site);
        let name = binary.name();
        let expected = format!(
            "{name}: the configuration file %%DIR%%/nginx.conf syntax is ok\n\
             {name}: configuration file %%DIR%%/nginx.conf test is successful\n"
        );
        assert_eq!((good.code, good.stderr.as_str(), good.stdout.as_str()), (Some(0), expected.as_str(), ""));
        let quiet = binary.run(&site, &["-tq"]);
        assert!(quiet.code == Some(0) && !quiet.stderr.contains("syntax is ok"), "{quiet}");
        let bad = binary.check("lokation / {}");
        assert_eq!(bad.code, Some(1));
        let last = format!("{name}: configuration file %%DIR%%/nginx.conf test failed\n");
        assert!(bad.stderr.contains(&format!("{name}: [emerg] unknown directive \"lokation\" in ")), "{bad}");
        assert!(bad.stderr.ends_with(&last) && !bad.stderr.contains("syntax is ok"), "{bad}");
        assert!(bad.log.contains("[emerg]"), "{bad}");
    });
}

#[test]
fn a_check_opens_what_would_be_opened() {
    each(|binary| {
        let log = binary.check("access_log no/such/folder/a.log; location / {}");
        assert_eq!(log.code, Some(1));
        let expected =
            "[emerg] open() \"%%DIR%%/no/such/folder/a.log\" failed (2: No such file or directory)\n";
        assert!(log.stderr.contains(expected), "{log}");
        let address = binary.check("listen 192.0.2.1:80;");
        assert_eq!(address.code, Some(1));
        let expected = "[emerg] bind() to 192.0.2.1:80 failed (99: Cannot assign requested address)\n";
        assert!(address.stderr.contains(expected), "{address}");
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let site = Site::new("listen %%TAKEN%%;").with("TAKEN", taken.local_addr().unwrap());
        assert_eq!(binary.check(&site).code, Some(0), "the server may be running");
        let start = binary.run(&site, &[]);
        assert_eq!(start.code, Some(1));
        let tries = start.stderr.matches("failed (98: Address already in use)").count();
        assert_eq!(
            (tries, start.stderr.matches("[emerg] still could not bind()").count()),
            (5, 1),
            "{start}"
        );
    });
}

#[test]
fn a_dump_is_the_files() {
    each(|binary| {
        let site =
            Site::bare("events {}\nhttp {\n    include part.conf;\n}\n").file("part.conf", "# nothing\n");
        let dump = binary.run(&site, &["-T", "-q"]);
        let start =
            "# configuration file %%DIR%%/nginx.conf:\nevents {}\nhttp {\n    include part.conf;\n}\n\n";
        let stdout = &dump.stdout;
        assert!(
            stdout.contains("# configuration file ") && stdout.contains("/part.conf:\n# nothing\n\n"),
            "{dump}"
        );
        let first = start.split_once('\n').unwrap().1;
        assert!(stdout.contains(first), "{dump}");
    });
}

#[test]
fn signals_without_a_master_are_errors() {
    each(|binary| {
        let none = binary.run("pid logs/none.pid; http {}", &["-s", "reload"]);
        let expected = "[error] open() \"%%DIR%%/logs/none.pid\" failed (2: No such file or directory)\n";
        assert!(none.code == Some(1) && none.stderr.contains(expected), "{none}");
        let site = Site::new("pid logs/bad.pid; http {}").file("logs/bad.pid", "12 34\n");
        let bad = binary.run(&site, &["-s", "stop"]);
        let expected = "[error] invalid PID number \"12 34\" in \"%%DIR%%/logs/bad.pid\"\n";
        assert!(bad.code == Some(1) && bad.stderr.contains(expected), "{bad}");
    });
}

#[test]
fn signals_reach_the_master() {
    each(|binary| {
        let mut server = binary.serve("location / { return 200 one; }");
        server.rewrite("location / { return 200 two; }");
        assert!(server.again(&["-s", "reload"]).success());
        testkit::eventually("the reload", || server.get("/").text() == "two");
        assert!(server.again(&["-s", "quit"]).success());
        assert!(server.wait_exit().success());
        let log = server.error_log().text();
        for part in [
            "signal 1 (SIGHUP) received from ",
            ", reconfiguring",
            "signal 3 (SIGQUIT) received from ",
            ", shutting down",
        ] {
            assert!(log.contains(part), "{part:?} in {log}");
        }
        assert!(!server.path("logs/nginx.pid").exists());
    });
}

#[test]
fn without_a_configuration_there_is_a_welcome_page() {
    let check = Command::new(Binary::Plimsoll.path()).args(["-t", "-p", "/nonexistent/"]).output().unwrap();
    let text = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(check.status.success(), "{text}");
    let globals = ["-t", "-p", "/nonexistent/", "-g", "nonsense on;"];
    let check = Command::new(Binary::Plimsoll.path()).args(globals).output().unwrap();
    let text = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(text.contains("unknown directive \"nonsense\" in command line"), "{text}");
}

#[test]
fn in_the_background_the_parent_ends_with_success() {
    let server = serve(Site::new("location / {}").file("ports", "%%PORT_1%%"));
    server.rewrite(
        "daemon on; pid logs/bg.pid; error_log logs/bg.log info;
         http { server { listen 127.0.0.1:%%PORT_1%%; location / { return 200 bg; } } }",
    );
    let status = Command::new(Binary::Plimsoll.path())
        .arg("-p")
        .arg(server.path(""))
        .args(["-c", "nginx.conf"])
        .status()
        .unwrap();
    assert!(status.success());
    let pid = || {
        Some(String::from_utf8(server.read("logs/bg.pid")).unwrap().trim().to_owned())
            .filter(|p| !p.is_empty())
    };
    testkit::eventually("the pid file", || server.path("logs/bg.pid").exists() && pid().is_some());
    // Nothing fails before it is stopped: nobody else would stop it.
    let text = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| server.client_on(1).get("/").text()));
    let pid = pid().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let stop = Command::new(Binary::Plimsoll.path())
        .arg("-p")
        .arg(server.path(""))
        .args(["-c", "nginx.conf", "-s", "stop"])
        .status()
        .unwrap();
    assert!(stop.success());
    testkit::eventually("the end", || !server.path("logs/bg.pid").exists());
    assert_eq!(text.unwrap(), "bg");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    assert_eq!(fields.get(3), Some(&pid.as_str()), "a session of its own");
}

//! What the kernel refuses a worker, and directives that change nothing here: that is said, and all else is served.
#![forbid(unsafe_code)]

use testkit::{Binary, Site, each};

/// A core that no machine has.
fn no_core() -> String {
    format!("1{}", "0".repeat(1023))
}

#[test]
fn a_core_that_is_not_there() {
    each(|binary| {
        let text = format!(
            "worker_cpu_affinity {}; http {{ server {{ listen 127.0.0.1:%%PORT%%; return 200 on; }} }}",
            no_core()
        );
        let server = binary.serve(text);
        assert_eq!(server.get("/").text(), "on");
        server.error_log().wait_match(r"\[alert\] .*sched_setaffinity\(\) failed \(22: Invalid argument\)");
    });
}

#[test]
fn cores_that_do_not_fit() {
    let check = |binary: Binary, masks: &str| {
        let exit = binary.check(format!("worker_processes 2; worker_cpu_affinity {masks}; events {{}}"));
        (exit.code, exit.stderr)
    };
    each(|binary| {
        let (code, said) = check(binary, &format!("{}0", no_core()));
        let wanted = "[emerg] \"worker_cpu_affinity\" supports up to 1024 CPUs only in %%DIR%%/nginx.conf:1";
        assert!(code == Some(1) && said.contains(wanted), "{said}");
        let (code, said) = check(binary, "01 10 01");
        let wanted = "[warn] the number of \"worker_processes\" is not equal to the number of \"worker_cpu_affinity\" \
                      masks, using last mask for remaining worker processes";
        assert!(code == Some(0) && said.contains(wanted), "{said}");
        let (code, said) = check(binary, "01");
        assert!(code == Some(0) && !said.contains("[warn]"), "{said}");
    });
}

#[test]
fn a_priority_that_is_not_ours_to_take() {
    let without = ["setpriv", "--bounding-set", "-sys_nice"].map(str::to_owned);
    let may = std::process::Command::new("setpriv").args(&without[1..]).arg("true").status();
    if !may.is_ok_and(|status| status.success()) {
        return eprintln!("SKIPPED: a_priority_that_is_not_ours_to_take: needs root and setpriv");
    }
    each(|binary| {
        let text = "worker_priority -5; http { server { listen 127.0.0.1:%%PORT%%; return 200 on; } }";
        let server = binary.serve_under(&without, text);
        assert_eq!(server.get("/").text(), "on");
        server.error_log().wait_match(r"\[alert\] .*setpriority\(-5\) failed \(13: Permission denied\)");
    });
}

#[test]
fn directives_without_effect_are_named_once() {
    let settings = [
        "lock_file x;",
        "timer_resolution 100ms;",
        "events {",
        "use epoll;",
        "accept_mutex on;",
        "accept_mutex_delay 1s;",
        "multi_accept on;",
        "worker_aio_requests 8;",
        "}",
    ];
    each(|binary| {
        let exit = binary.check(Site::bare(format!("pid logs/nginx.pid;\n{}", settings.join("\n"))));
        assert_eq!(exit.code, Some(0), "{exit}");
        // nginx takes them at their word.
        let times = usize::from(binary == Binary::Plimsoll);
        for (line, setting) in settings.iter().enumerate().filter(|(_, setting)| setting.ends_with(';')) {
            let name = setting.split(' ').next().unwrap_or_default();
            let line = line + 2;
            let notice =
                format!("the \"{name}\" directive has no effect in plimsoll in %%DIR%%/nginx.conf:{line}\n");
            assert_eq!(exit.log.matches(&notice).count(), times, "{name}: {exit}");
        }
    });
}

//! Whatever stands in the small things that the doctor reads (answers of the kernel, control groups, units, settings of
//! applications, programs) is survived; and a changed configuration's diff is one, however the configuration is written.
#![no_main]

use std::path::Path;

use capacity::Place;
use doctor::fix::patch::Patch;
use doctor::probe::{built, settings};
use libfuzzer_sys::fuzz_target;
use machine::unit::Unit;
use sys::{cgroup, sock_diag};

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let _ = (sock_diag::tcp_in(data, |_| {}), sock_diag::unix_in(data, |_| {}));
    let _ = (cgroup::Throttling::of(&text), cgroup::kills(&text), cgroup::quota(&text));
    let _ = (built::of_program(data), built::own_version(data));
    Unit::default().add(&text, Path::new("/nginx.service"));
    settings::flags(text.split_whitespace(), &[("-w", "workers"), ("--backlog", "backlog")], "");
    settings::lines(&text, &["listen", "processes"], "");
    settings::pool(&text, "127.0.0.1:9000", "");
    settings::pool(&text, "unix:/run/php.sock", "");
    changed(&text);
});

fn changed(text: &str) {
    const FILE: &str = "/n.conf";
    let mut patch = Patch::of(FILE, text);
    for line in 0..text.lines().count().min(64) as u64 {
        let place = Place { file: FILE.to_owned(), line };
        patch.statement(&place, "listen", |words| Some(format!("{words} backlog=9")));
        patch.after(&place, "proxy_pass", "a", "x y;");
        patch.in_block(&place, "events", "worker_connections 9;");
    }
    patch.at_top(FILE, "worker_rlimit_nofile 9;");
    check(text, &patch.diff());
}

/// Each hunk has as many lines as it says, and those that were there are as they were.
fn check(text: &str, diff: &str) {
    let old: Vec<&str> = text.split('\n').collect();
    let mut lines = diff.split('\n').skip(2).filter(|line| !line.starts_with('\\')).peekable();
    while let Some(heading) = lines.next().filter(|line| !line.is_empty()) {
        let mut numbers = heading.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<usize>().ok());
        let mut next = || numbers.next().expect("a hunk begins with four numbers");
        let (from, had, _, has) = (next(), next(), next(), next());
        let (mut seen, mut made) = (0, 0);
        while seen < had || made < has {
            let line = lines.next().expect("a hunk is whole");
            let (sign, line) = line.split_at(1);
            if sign != "+" {
                assert_eq!(old.get(from - 1 + seen), Some(&line), "{diff}");
                seen += 1;
            }
            made += usize::from(sign != "-");
        }
        assert_eq!((seen, made), (had, has), "{diff}");
    }
}

//! `open_file_cache` and `disable_symlinks`.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::symlink;

use testkit::{Server, each, eventually, on_both};

/// Puts another file in the place of the one there is: whoever has that open keeps it.
fn replace(server: &Server, path: &str, content: &str) {
    server.write("other", content);
    fs::rename(server.path("other"), server.path(path)).expect("a file renamed");
}

#[test]
fn a_file_is_remembered() {
    on_both("open_file_cache max=10; open_file_cache_valid 1h;", |server| {
        server.write("html/a", "first");
        assert_eq!(server.get("/a").text(), "first");
        replace(server, "html/a", "second, and longer");
        let mut client = server.client();
        for _ in 0..3 {
            assert_eq!(client.get("/a").text(), "first");
        }
        fs::remove_file(server.path("html/a")).expect("a file removed");
        assert_eq!(client.get("/a").text(), "first");
    });
}

#[test]
fn only_for_as_long_as_it_is_valid() {
    on_both("open_file_cache max=10; open_file_cache_valid 1s;", |server| {
        server.write("html/a", "first");
        assert_eq!(server.get("/a").text(), "first");
        replace(server, "html/a", "second");
        eventually("the new file", || server.get("/a").text() == "second");
    });
}

#[test]
fn only_if_it_is_wanted_often_enough() {
    on_both("open_file_cache max=10; open_file_cache_valid 1h; open_file_cache_min_uses 3;", |server| {
        for content in ["first", "second", "third"] {
            replace(server, "html/a", content);
            assert_eq!(server.get("/a").text(), content);
        }
        replace(server, "html/a", "fourth");
        assert_eq!(server.get("/a").text(), "third");
    });
}

#[test]
fn failures_if_wanted() {
    let text = "location / { open_file_cache max=10; open_file_cache_valid 1h; open_file_cache_errors on; } \
                location /off/ { alias html/; open_file_cache max=10; open_file_cache_valid 1h; }";
    on_both(text, |server| {
        assert_eq!((server.get("/a").status, server.get("/off/a").status), (404, 404));
        server.write("html/a", "here");
        assert_eq!((server.get("/a").status, server.get("/off/a").status), (404, 200));
    });
}

#[test]
fn folders_indices_and_try_files() {
    let text = "open_file_cache max=10; open_file_cache_valid 1h; location / {} \
                location /try { try_files /d/index.html =404; } \
                location /if { root html/d; if (-f html/d/index.html) { return 200 yes; } return 200 no; }";
    on_both(text, |server| {
        server.write("html/d/index.html", "index");
        for _ in 0..2 {
            assert_eq!(server.get("/d").status, 301);
            assert_eq!(server.get("/d/").text(), "index");
            assert_eq!(server.get("/try").text(), "index");
        }
        fs::remove_dir_all(server.path("html/d")).expect("a folder removed");
        assert_eq!((server.get("/d").status, server.get("/try").text()), (301, "index".to_owned()));
    });
}

#[test]
fn links_are_not_followed() {
    let text = "location /on/ { alias html/; disable_symlinks on; } \
                location /from/ { alias %%DIR%%/html/linked/; disable_symlinks on from=%%DIR%%/html/linked; } \
                location /deep/ { alias %%DIR%%/html/linked/; disable_symlinks on; } \
                location /owner/ { alias html/; disable_symlinks if_not_owner; } \
                location /off/ { alias html/; disable_symlinks off; }";
    on_both(text, |server| {
        server.write("html/real/file", "content");
        symlink("real", server.path("html/linked")).expect("a link");
        symlink("file", server.path("html/real/link")).expect("a link");
        symlink("real/file", server.path("html/away")).expect("a link");
        for (target, status) in [
            ("/on/real/file", 200),
            ("/on/real/link", 403),
            ("/on/linked/file", 404),
            ("/on/away", 403),
            ("/on/real/none", 404),
            ("/on/real/file/x", 404),
            ("/on/real", 301),
            ("/from/file", 200),
            ("/from/link", 403),
            ("/deep/file", 404),
            ("/owner/away", 200),
            ("/owner/linked/file", 200),
            ("/off/linked/link", 200),
        ] {
            assert_eq!(server.get(target).status, status, "{target}");
        }
        let line = "openat\\(\\) \".*/html/real/link\" failed \\(40: Too many levels of symbolic links\\)";
        server.error_log().wait_match(line);
    });
}

#[test]
fn links_of_somebody_else() {
    on_both("disable_symlinks if_not_owner;", |server| {
        server.write("html/file", "content");
        symlink("file", server.path("html/own")).expect("a link");
        symlink("file", server.path("html/other")).expect("a link");
        // Only root may give a link away.
        if std::os::unix::fs::lchown(server.path("html/other"), Some(65_534), None).is_err() {
            return;
        }
        assert_eq!((server.get("/own").status, server.get("/other").status), (200, 403));
    });
}

#[test]
fn what_is_wrong_is_said_as_nginx_says_it() {
    for (text, said) in [
        ("open_file_cache inactive=1s;", "\"open_file_cache\" must have the \"max\" parameter"),
        ("open_file_cache max=0;", "invalid \"open_file_cache\" parameter \"max=0\""),
        ("open_file_cache max=1 x;", "invalid \"open_file_cache\" parameter \"x\""),
        ("disable_symlinks x;", "invalid parameter \"x\""),
        (
            "disable_symlinks from=/;",
            "\"disable_symlinks\" must have \"off\", \"on\" or \"if_not_owner\" parameter",
        ),
        ("disable_symlinks on off;", "duplicate parameters \"on off\""),
        ("disable_symlinks off from=/;", "\"from=\" cannot be used with \"off\" parameter"),
    ] {
        each(|binary| {
            let exit = binary.refuses(text);
            assert!(exit.stderr.contains(said), "{text}: {}", exit.stderr);
        });
    }
}

//! The rewrite module's script: the order of its steps, what an `if` puts in force, captures and their escapes.
#![forbid(unsafe_code)]

use testkit::{Binary, Server, Site, each, on_both};

#[track_caller]
fn expect(server: &Server, table: &[(&str, &str)]) {
    for (target, body) in table {
        assert_eq!(server.get(target).text(), *body, "{target}");
    }
}
#[track_caller]
fn expect_location(server: &Server, table: &[(&str, &str)]) {
    for (target, location) in table {
        let location = location.replace("SELF", &format!("http://localhost:{}", server.port()));
        assert_eq!(server.get(target).header("location"), Some(location.as_str()), "{target}");
    }
}

#[test]
fn steps_run_in_the_order_of_the_file() {
    let text = "location / { set $r a; if ($arg_x) { set $r \"${r}x\"; } set $r \"${r}b\"; if ($arg_y = 1) { set $r \"${r}y\"; }\n\
        if ($arg_z) { return 200 \"early $r\"; } set $r \"${r}c\"; return 200 $r; }";
    on_both(text, |server| {
        expect(
            server,
            &[
                ("/", "abc"),
                ("/?x=1", "axbc"),
                ("/?x=0&y=1", "abyc"),
                ("/?x=1&y=1", "axbyc"),
                ("/?x=1&z=1", "early axb"),
            ],
        );
    });
}

#[test]
fn the_last_true_if_is_in_force() {
    let text = "location / { add_header X out; if ($arg_a) { add_header X a; } if ($arg_b) { add_header X b; } try_files /f =404; }";
    on_both(text, |server| {
        server.write("html/f", "file");
        let x = |target: &str| {
            let response = server.get(target);
            (response.status, response.header("x").map(str::to_owned))
        };
        assert_eq!(x("/"), (200, Some("out".into())));
        // Inside an `if` there is no try_files: the path itself is looked for.
        assert_eq!(x("/none?a=1").0, 404);
        assert_eq!(x("/f?a=1"), (200, Some("a".into())));
        assert_eq!(x("/f?b=1"), (200, Some("b".into())));
        assert_eq!(x("/f?a=1&b=1"), (200, Some("b".into())));
    });
}

#[test]
fn break_ends_the_script_only() {
    let text = "location /b { set $x 1; if ($arg_a) { break; } set $x 2; return 200 $x; }\n\
        location /w { rewrite ^/w/(.*)$ /files/$1; break; return 200 never; }";
    on_both(text, |server| {
        server.write("html/b", "file b");
        server.write("html/files/f", "file f");
        expect(server, &[("/b", "2"), ("/b?a=1", "file b"), ("/w/f", "file f")]);
    });
}

#[test]
fn the_server_s_script_runs_again_after_an_internal_redirect() {
    let text = "server { listen 127.0.0.1:%%PORT%%; error_page 503 /page; return 503; location = /page { return 200 page; } }\n\
        server { listen 127.0.0.1:%%PORT_1%%; set $n \"${n}x\"; location / { try_files /none /two?; } location = /two { return 200 $n; } }";
    on_both(text, |server| {
        // The page is behind the same `return`: what is left is the page of the status itself.
        let response = server.get("/");
        assert_eq!(response.status, 503);
        assert!(response.text().contains("<h1>503 Service Temporarily Unavailable</h1>"));
        assert_eq!(server.client_on(1).get("/").text(), "xx");
    });
}

#[test]
fn captures_are_escaped_again_where_the_path_was() {
    let text = "location /r { rewrite ^/r/(.*)$ /to/$1 redirect; } location /a { rewrite ^/a/(.*)$ /to?a=$1 redirect; }\n\
        location /i { rewrite ^/i/(.*)$ /s/$1?q=$1; } location /s { return 200 \"$uri $args\"; }";
    on_both(text, |server| {
        expect_location(
            server,
            &[
                ("/r/a%20b%e9%22?o=1", "SELF/to/a%20b%E9%22?o=1"),
                ("/r/%3Cb%3E%26", "SELF/to/<b>&"),
                ("/r/a%3fb%5c", "SELF/to/a?b%5C"),
                ("/a/a%20b+c%26d?o=1", "SELF/to?a=a%20b%2Bc%26d&o=1"),
                ("/a/b;c", "SELF/to?a=b;c"),
            ],
        );
        expect(server, &[("/i/a%20b%26%3b+?o=1", "/s/a b&;+ q=a%20b%26%3B%2B&o=1")]);
    });
}

#[test]
fn a_question_mark_at_the_end_drops_the_arguments() {
    let text = "location /one { rewrite ^ /s?a=1?b=2; } location /two { rewrite ^ /s?a=1?; } location /three { rewrite ^ /s?; }\n\
        location /four { rewrite ^ /s; } location /s { return 200 \"$uri|$args\"; }";
    on_both(text, |server| {
        expect(
            server,
            &[("/one?o", "/s|a=1?b=2&o"), ("/two?o", "/s|a=1"), ("/three?o", "/s|"), ("/four?o", "/s|o")],
        );
    });
}

#[test]
fn rewriting_may_go_round_ten_times() {
    on_both("location / { rewrite ^(.*)$ $1x; }", |server| {
        assert_eq!(server.get("/").status, 500);
        server
            .error_log()
            .wait_for("rewrite or internal redirection cycle while processing \"/xxxxxxxxxxx\"");
    });
}

#[test]
fn what_a_path_may_not_become() {
    on_both("location / { set $none \"\"; rewrite ^ $none; }", |server| {
        assert_eq!(server.get("/").status, 500);
        server.error_log().wait_for("the rewritten URI has a zero length");
    });
    on_both("location /a { rewrite ^ /b break; alias %%DIR%%/html/; }", |server| {
        assert_eq!(server.get("/a").status, 500);
        let text = "\"alias\" cannot be used in location \"/a\" where URI was rewritten";
        server.error_log().wait_for(text);
    });
}

#[test]
fn the_log_of_rewriting() {
    let text =
        "rewrite_log on; location / { if ($arg_a ~ b) { rewrite ^/(x) /y$1? break; } return 200 $uri; }\n\
        location /r { rewrite ^ /to redirect; }
        location /sub { rewrite ^/sub$ /done last; } location /done { return 204; }
        location /page { auth_request /sub; try_files /none =204; }";
    on_both(text, |server| {
        assert_eq!(server.get("/page").status, 204);
        let of_sub = ", client: .*, subrequest: \"/sub\"";
        server.error_log().wait_match(&format!("matches \"/sub\"{of_sub}"));
        server.error_log().wait_match(&format!("rewritten data: \"/done\", args: \"\"{of_sub}"));
        server.get("/x?a=b");
        server.get("/r?a");
        let log = server.error_log();
        log.wait_for("\"b\" matches \"b\", client");
        log.wait_for("\"^/(x)\" matches \"/x\", client");
        log.wait_for("rewritten data: \"/yx\", args: \"\", client");
        log.wait_for("rewritten redirect: \"/to?a\", client");
        server.get("/z?a=c");
        log.wait_for("\"b\" does not match \"c\", client");
    });
}

#[test]
fn a_variable_that_was_never_set() {
    let text = "location /a { if ($arg_s) { set $v x; } return 200 \"[$v]\"; }\n\
        location /b { uninitialized_variable_warn off; return 200 \"[$v]\"; }";
    on_both(text, |server| {
        expect(server, &[("/b", "[]"), ("/a?s=1", "[x]")]);
        assert!(!server.error_log().text().contains("uninitialized"));
        expect(server, &[("/a", "[]")]);
        server.error_log().wait_for("[warn]");
        server.error_log().wait_for("using uninitialized \"v\" variable, client");
    });
}

#[test]
fn one_variable_of_a_family_may_be_set() {
    on_both(
        "location / { set $http_a x; set $args b=2; return 200 \"$http_a $http_c $arg_b\"; }",
        |server| {
            let response = server.get_with("/?b=1", &[("A", "from client"), ("C", "c")]);
            assert_eq!(response.text(), "x c 2");
        },
    );
}

/// Each is refused with these words, at this line.
#[track_caller]
fn refused(table: &[(&str, &str)]) {
    each(|binary: Binary| {
        for (text, words) in table {
            let site = format!(
                "events {{}} http {{ server {{ listen 127.0.0.1:%%PORT%%;\nlocation / {{ {text} }} }} }}"
            );
            let exit = binary.check(Site::bare(site));
            assert_eq!(exit.code, Some(1), "{text}: {exit}");
            let line = format!("[emerg] {words} in %%DIR%%/nginx.conf:2");
            assert!(exit.stderr.contains(&line), "{text}: {exit}");
        }
    });
}

#[test]
fn conditions_that_are_none() {
    refused(&[
        ("if $a { }", "invalid condition \"$a\""),
        ("if ($host = 1 { }", "invalid condition \"1\""),
        ("if () { }", "invalid condition \")\""),
        ("if (host = 1) { }", "invalid condition \"host\""),
        ("if ($host = 1 2) { }", "invalid condition \"$host\""),
        ("if ($host == 1) { }", "unexpected \"==\" in condition"),
        ("if (-q /a) { }", "invalid condition \"-q\""),
        ("if ($host) { if ($host) { } }", "\"if\" directive is not allowed here"),
        ("if ($host) { try_files a b; }", "\"try_files\" directive is not allowed here"),
    ]);
}

#[test]
fn rewrites_returns_and_sets_that_are_none() {
    refused(&[
        ("rewrite ^ \"\";", "empty replacement"),
        ("rewrite ^ /x bogus;", "invalid parameter \"bogus\""),
        ("rewrite ^/(?<uri>.*) /x;", "the duplicate \"uri\" variable"),
        ("return a;", "invalid return code \"a\""),
        ("return 1000;", "invalid return code \"1000\""),
        ("return 200 a b;", "invalid number of arguments in \"return\" directive"),
        ("set a b;", "invalid variable name \"a\""),
        ("set $uri b;", "the duplicate \"uri\" variable"),
        ("try_files a =1000;", "invalid code \"=1000\""),
        ("try_files a b; try_files a b;", "\"try_files\" directive is duplicate"),
    ]);
}

//! `limit_req` and `limit_conn`: who waits, who is turned away, and what is said about it.
#![forbid(unsafe_code)]

use testkit::{Binary, Gate, Origin, Site, each, on_both};

/// A zone inside `http`, and a server with these directives.
fn limited(zone: &str, server: &str) -> String {
    format!("{zone}\nserver {{ listen 127.0.0.1:%%PORT%%; {server} }}")
}

#[test]
fn what_comes_too_early_is_rejected() {
    let text = limited(
        "limit_req_zone $arg_k zone=a:32k rate=1r/m;
         log_format s '$uri $arg_k $status $limit_req_status'; access_log logs/s.log s;",
        "location / { limit_req zone=a; try_files /none =204; }
         location /burst { limit_req zone=a burst=1 nodelay; limit_req_status 429; limit_req_log_level info; try_files /none =204; }
         location /dry { limit_req zone=a; limit_req_dry_run on; try_files /none =204; }",
    );
    on_both(text, |server| {
        let mut client = server.client();
        let mut statuses =
            |targets: &[&str]| targets.iter().map(|t| client.get(t).status).collect::<Vec<_>>();
        assert_eq!(statuses(&["/?k=a", "/?k=a", "/?k=b", "/", "/"]), [204, 503, 204, 204, 204]);
        assert_eq!(statuses(&["/burst?k=c", "/burst?k=c", "/burst?k=c"]), [204, 204, 429]);
        assert_eq!(statuses(&["/dry?k=a"]), [204]);
        let lines = server.log("logs/s.log").wait_lines(9);
        let expected = [
            "/ a 204 PASSED",
            "/ a 503 REJECTED",
            "/ b 204 PASSED",
            "/ - 204 -",
            "/ - 204 -",
            "/burst c 204 PASSED",
            "/burst c 204 PASSED",
            "/burst c 429 REJECTED",
            "/dry a 204 REJECTED_DRY_RUN",
        ];
        assert_eq!(lines, expected);
        let log = server.error_log();
        log.wait_match(
            r#"\[error\] .*: \*1 limiting requests, excess: (1\.000|0\.99\d) by zone "a", client: 127.0.0.1, server: , request: "GET /\?k=a HTTP/1.1", host: "localhost"$"#,
        );
        log.wait_match(r#"\[info\] .* limiting requests, excess: (2\.000|1\.9\d\d) by zone "a""#);
        log.wait_match(r#"\[error\] .* limiting requests, dry run, excess: (1\.000|0\.99\d) by zone "a""#);
    });
}

#[test]
fn what_comes_early_waits() {
    let text = limited(
        "limit_req_zone $arg_k zone=a:32k rate=2r/s;
         log_format s '$status $limit_req_status $request_time'; access_log logs/s.log s;",
        "location / { limit_req zone=a burst=5; try_files /none =204; }
         location /some { limit_req zone=a burst=5 delay=1; try_files /none =204; }",
    );
    on_both(text, |server| {
        let mut client = server.client();
        assert_eq!([client.get("/?k=a").status, client.get("/?k=a").status], [204, 204]);
        assert_eq!([client.get("/some?k=b").status, client.get("/some?k=b").status], [204, 204]);
        let lines = server.log("logs/s.log").wait_lines(4);
        assert_eq!(lines[0], "204 PASSED 0.000");
        // Half a second, less what went by since the first.
        assert!(testkit::matches(r"^204 DELAYED 0\.[1-5]\d\d$", &lines[1]), "{lines:?}");
        assert!(lines[2..].iter().all(|line| line.starts_with("204 PASSED 0.0")), "{lines:?}");
        server
            .error_log()
            .wait_match(r#"\[warn\] .* delaying request, excess: (1\.000|0\.\d\d\d), by zone "a", client"#);
    });
}

#[test]
fn a_client_that_goes_away_does_not_wait() {
    let text = limited(
        "limit_req_zone $arg_k zone=a:32k rate=1r/m;",
        "location / { limit_req zone=a burst=5; try_files /none =204; }",
    );
    on_both(text, |server| {
        assert_eq!(server.get("/?k=a").status, 204);
        let mut client = server.client();
        client.send("GET /?k=a HTTP/1.1\r\nHost: a\r\n\r\n");
        server.error_log().wait_for("delaying request");
        drop(client);
        server.error_log().wait_for("client prematurely closed connection");
        assert!(server.access_log().wait_lines(2)[1].contains(" 499 "));
    });
}

#[test]
fn several_limits_all_have_to_let_a_request_pass() {
    let text = limited(
        "limit_req_zone $arg_a zone=a:32k rate=1r/m; limit_req_zone $arg_b zone=b:32k rate=1r/m;",
        "location / { limit_req zone=a burst=1 nodelay; limit_req zone=b; try_files /none =204; }",
    );
    on_both(text, |server| {
        let mut client = server.client();
        let targets = ["/?a=1&b=1", "/?a=1&b=1", "/?a=1&b=2", "/?a=1&b=3", "/?a=2&b=3", "/?a=3", "/?b=4"];
        let statuses = targets.map(|target| client.get(target).status);
        // The second was refused by `b` and left no trace in `a`; so did the fourth in `b`.
        assert_eq!(statuses, [204, 503, 204, 503, 204, 204, 204]);
    });
}

#[test]
fn the_oldest_keys_make_room() {
    let text = limited(
        "limit_req_zone $arg_k zone=a:32k rate=1r/m;",
        "location / { limit_req zone=a; try_files /none =204; }",
    );
    on_both(text, |server| {
        let mut client = server.client();
        assert_eq!(client.get("/?k=first").status, 204);
        assert_eq!(client.get("/?k=first").status, 503);
        for i in 0..500 {
            assert_eq!(client.get(&format!("/?k={i}")).status, 204);
        }
        assert_eq!(client.get("/?k=499").status, 503);
        assert_eq!(client.get("/?k=400").status, 503);
        assert_eq!(client.get("/?k=first").status, 204);
    });
}

#[test]
fn zones_go_on_over_a_reload() {
    let text = |key: &str, rate: &str, version: &str| {
        limited(
            &format!("limit_req_zone {key} zone=a:32k rate={rate};"),
            &format!(
                "location / {{ limit_req zone=a; try_files /none =204; }} location = /v {{ return 200 {version}; }}"
            ),
        )
    };
    on_both(text("$arg_k", "1r/m", "one"), |server| {
        assert_eq!(server.get("/?k=a").status, 204);
        server.reload(&text("$arg_k", "2r/m", "two"));
        testkit::eventually("the second configuration", || server.get("/v").text() == "two");
        assert_eq!(server.get("/?k=a").status, 503);
        server.reload(&text("$arg_other", "1r/m", "three"));
        server.error_log().wait_match(
            r#"\[emerg\] .*limit_req "a" uses the "\$arg_other" key while previously it used the "\$arg_k" key"#,
        );
        assert_eq!(server.get("/v").text(), "two");
    });
}

#[test]
fn so_many_at_once() {
    each(|binary| {
        let gate = Gate::new();
        let closed = gate.clone();
        let origin = Origin::new(move |exchange| {
            closed.pass();
            exchange.ok("done");
        });
        let text = limited(
            "limit_conn_zone $arg_k zone=a:32k;
             log_format s '$uri $status $limit_conn_status'; access_log logs/s.log s;",
            "location / { limit_conn a 1; limit_conn_status 429; try_files /none @origin; }
             location @origin { proxy_pass http://%%ORIGIN%%; }
             location /dry { limit_conn a 1; limit_conn_dry_run on; limit_conn_log_level warn; try_files /none =204; }",
        );
        let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
        let mut first = server.client();
        first.send("GET /?k=a HTTP/1.1\r\nHost: a\r\n\r\n");
        origin.wait_requests(1);
        assert_eq!([server.get("/?k=a").status, server.get("/dry?k=a").status], [429, 204]);
        gate.open();
        assert_eq!(first.response().text(), "done");
        assert_eq!([first.get("/?k=a").status, first.get("/?k=b").status, first.get("/").status], [200; 3]);
        let lines = server.log("logs/s.log").wait_lines(6);
        let expected = [
            "/ 429 REJECTED",
            "/dry 204 REJECTED_DRY_RUN",
            "/ 200 PASSED",
            "/ 200 PASSED",
            "/ 200 PASSED",
            "/ 200 -",
        ];
        assert_eq!(lines, expected);
        let log = server.error_log();
        log.wait_match(r#"\[error\] .* limiting connections by zone "a", client: 127.0.0.1, "#);
        log.wait_match(r#"\[warn\] .* limiting connections, dry run, by zone "a", client"#);
    });
}

const OTHER_USE: &str = "the shared memory zone \"a\" is already declared for a different use";

#[test]
fn limits_that_are_none() {
    each(|binary: Binary| {
        for (text, words) in [
            ("limit_req_zone $uri zone=a rate=1r/s;", "invalid zone size \"zone=a\""),
            ("limit_req_zone $uri zone=a:1k rate=1r/s;", "zone \"zone=a:1k\" is too small"),
            ("limit_req_zone $uri zone=a:1m rate=0r/s;", "invalid rate \"rate=0r/s\""),
            ("limit_req_zone $uri zone=a:1m x;", "invalid parameter \"x\""),
            ("limit_req_zone $uri rate=1r/s rate=1r/s;", "\"limit_req_zone\" must have \"zone\" parameter"),
            ("limit_req burst=5;", "\"limit_req\" must have \"zone\" parameter"),
            ("limit_req zone=a burst=x;", "invalid burst value \"burst=x\""),
            ("limit_req zone=a delay=0;", "invalid delay value \"delay=0\""),
            ("limit_req zone=a now;", "invalid parameter \"now\""),
            ("limit_req zone=a; limit_req zone=a;", "\"limit_req\" directive is duplicate"),
            ("limit_req_status 200;", "value must be between 400 and 599"),
            ("limit_req_log_level debug;", "invalid value \"debug\""),
            ("limit_conn_zone $uri zone=a:1k;", "zone \"zone=a:1k\" is too small"),
            ("limit_conn_zone $uri a:1m;", "invalid parameter \"a:1m\""),
            ("limit_conn a 0;", "invalid number of connections \"0\""),
            ("limit_conn a 65536;", "connection limit must be less 65536"),
            ("limit_conn a 1; limit_conn a 2;", "\"limit_conn\" directive is duplicate"),
            ("limit_conn_zone $uri zone=a:1m; limit_req_zone $uri zone=a:1m rate=1r/s;", OTHER_USE),
            (
                "limit_conn_zone $uri zone=a:1m; limit_req zone=a; server { listen 127.0.0.1:%%PORT%%; }",
                OTHER_USE,
            ),
            (
                "limit_conn a 1; limit_req_zone $uri zone=a:1m rate=1r/s; server { listen 127.0.0.1:%%PORT%%; }",
                OTHER_USE,
            ),
            (
                "limit_conn_zone $uri zone=a:1m; proxy_cache a; server { listen 127.0.0.1:%%PORT%%; }",
                OTHER_USE,
            ),
            (
                "proxy_cache_path %%DIR%%/cache keys_zone=a:1m; limit_conn a 1; server { listen 127.0.0.1:%%PORT%%; }",
                OTHER_USE,
            ),
            (
                "limit_conn_zone $uri zone=a:1m; limit_conn_zone $uri zone=a:2m;",
                "the size 2097152 of shared memory zone \"a\" conflicts with already declared size 1048576",
            ),
            (
                "limit_conn_zone $uri zone=a:1m; limit_conn_zone $host zone=a:1m;",
                "limit_conn_zone \"a\" is already bound to key \"$uri\"",
            ),
        ] {
            let exit = binary.check(Site::bare(format!("events {{}}\nhttp {{ {text} }}")));
            assert_eq!(exit.code, Some(1), "{text}: {exit}");
            assert!(
                exit.stderr.contains(&format!("[emerg] {words} in %%DIR%%/nginx.conf:2")),
                "{text}: {exit}"
            );
        }
    });
    let text = "events {}\nhttp { server { listen 127.0.0.1:%%PORT%%; limit_req zone=a; } }";
    let exit = Binary::Plimsoll.check(Site::bare(text));
    assert!(exit.stderr.contains("[emerg] zero size shared memory zone \"a\"\n"), "{exit}");
}

#[test]
fn what_is_asked_within_a_request_is_counted_with_it() {
    let text = "limit_req_zone $server_port zone=r:1m rate=1r/m; limit_conn_zone $server_port zone=c:1m;
        server { listen 127.0.0.1:%%PORT%%; default_type text/html;
        location /page { limit_req zone=r; limit_conn c 1; ssi on; mirror /mirror; try_files /page.html =404; }
        location /part { limit_req zone=r; limit_conn c 1; proxy_pass http://%%ORIGIN%%; }
        location /mirror { limit_req zone=r; limit_conn c 1; proxy_pass http://%%ORIGIN%%; } }";
    testkit::each(|binary| {
        let origin = testkit::Origin::new(|exchange| exchange.ok("part"));
        let site = testkit::Site::new(text).with("ORIGIN", origin.address());
        let server = binary.serve(site.file("html/page.html", "<!--#include virtual='/part' -->."));
        assert_eq!(server.get("/page").text(), "part.");
        let mut asked: Vec<_> =
            origin.wait_requests(2).iter().map(|request| request.target.clone()).collect();
        asked.sort();
        assert_eq!(asked, ["/mirror", "/part"]);
        assert_eq!(server.get("/page").status, 503);
    });
}

/// Of several that are within a request the first is counted, for all of them and for the request itself.
#[test]
fn one_of_a_family_is_counted() {
    let text = "limit_req_zone $server_port zone=r:1m rate=1r/m; limit_conn_zone $server_port zone=c:1m;
        log_format f '$uri $limit_req_status $limit_conn_status'; access_log logs/access.log f;
        server { listen 127.0.0.1:%%PORT%%; default_type text/html;
        location = /page { ssi on; try_files /page.html =404; }
        location /part { limit_req zone=r; limit_conn c 1; proxy_pass http://%%ORIGIN%%; } }";
    testkit::each(|binary| {
        let origin = testkit::Origin::new(|exchange| exchange.ok("part"));
        let site = testkit::Site::new(text).with("ORIGIN", origin.address());
        let page = "<!--#include virtual='/part/1' --><!--#include virtual='/part/2' -->.";
        let server = binary.serve(site.file("html/page.html", page));
        assert_eq!(server.get("/page").text(), "partpart.");
        let second = server.get("/page").text();
        // Refused once, then let through: nginx counts no second one, either.
        assert!(second.contains("503") && second.ends_with("part."), "{second}");
        let line = |status: &str, taken: &str| format!("/page.html {status} {taken}");
        assert_eq!(
            server.access_log().wait_lines(2),
            [line("PASSED", "PASSED"), line("REJECTED", "PASSED")],
            "{binary:?}"
        );
    });
}

//! Requests within requests: who is asked whether one may, and who hears of it besides.
#![forbid(unsafe_code)]

use testkit::{Binary, Gate, Origin, Site, each, on_both};

#[test]
fn another_location_decides() {
    let text = "map $http_x_want $want { default /check/; yes /check/yes; login /check/login; no /check/no; }
        server { listen 127.0.0.1:%%PORT%%;
            location / { auth_request /auth; auth_request_set $who \"$upstream_http_x_user/$upstream_status\"; try_files /none @shown; }
            location @shown { add_header X-Who $who; return 200 \"$uri $args $request_method $who\"; }
            location = /auth { internal; proxy_pass http://127.0.0.1:%%PORT_1%%$want; proxy_pass_request_body off;
                proxy_set_header X-Of $request_method; }
            location /local { auth_request /no; }
            location /no { return 403; }
            location /off { auth_request off; return 204; } }
        server { listen 127.0.0.1:%%PORT_1%%;
            location /check/yes { add_header X-User \"me, $request_method of $http_x_of\"; return 204; }
            location /check/login { add_header WWW-Authenticate Digest always; return 401; }
            location /check/no { return 403; }
            location /check/ { return 302 /elsewhere; } }";
    on_both(text, |server| {
        let get = |target: &str, want: &str| server.get_with(target, &[("X-Want", want)]);
        let yes = get("/a?b=c", "yes");
        assert_eq!(yes.text(), "/a b=c GET me, GET of GET/204");
        assert_eq!(yes.header("x-who"), Some("me, GET of GET/204"));
        let login = get("/", "login");
        assert_eq!((login.status, login.header("www-authenticate")), (401, Some("Digest")));
        assert_eq!(get("/", "no").status, 403);
        assert_eq!(get("/", "other").status, 500);
        assert_eq!(server.get("/local").status, 403);
        assert_eq!(server.get("/off").status, 204);
        assert_eq!(server.get("/auth").status, 404);
        server.error_log().wait_match(
            r#"\[error\] .* auth request unexpected status: 302( while sending to client)?, client: 127.0.0.1, server: , request: "GET / HTTP/1.1""#,
        );
        // A body that was sent stays for the location itself, or out of the way.
        let mut client = server.client();
        let posted = client.request("POST", "/a", &[("X-Want", "yes")], b"body");
        assert_eq!(posted.text(), "/a  POST me, GET of POST/204");
        assert_eq!(
            client.request("GET", "/b", &[("X-Want", "yes")], b"").text(),
            "/b  GET me, GET of GET/204"
        );
    });
}

#[test]
fn what_is_asked_before_and_what_after() {
    each(|binary| {
        let origin = Origin::new(|exchange| {
            let body = String::from_utf8_lossy(&exchange.request.body).into_owned();
            let text = format!("{} {} [{body}]", exchange.request.method, exchange.request.target);
            exchange.ok(text);
        });
        let text = "location / { auth_request /auth; proxy_pass http://%%ORIGIN%%; }
            location = /auth { internal; proxy_pass http://%%ORIGIN%%/may; proxy_pass_request_body off; proxy_set_header Content-Length \"\"; }
            location /any { satisfy any; deny all; auth_request /auth; proxy_pass http://%%ORIGIN%%; }";
        let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
        assert_eq!(server.post("/x?y", "hello").text(), "POST /x?y [hello]");
        assert_eq!(server.post("/any", vec![b'a'; 100_000]).text().len(), "POST /any []".len() + 100_000);
        let targets: Vec<String> =
            origin.wait_requests(4).iter().map(|r| format!("{} {}", r.method, r.target)).collect();
        assert_eq!(targets, ["GET /may", "POST /x?y", "GET /may", "POST /any"]);
    });
}

#[test]
fn a_mirror_hears_everything_and_delays_nothing() {
    each(|binary| {
        let gate = Gate::new();
        let closed = gate.clone();
        let mirror = Origin::new(move |exchange| {
            closed.pass();
            exchange.ok("nobody reads this");
        });
        let origin = Origin::new(|exchange| {
            let body = exchange.request.body.clone();
            exchange.ok(body);
        });
        let text = "location / { mirror /mirror; mirror /mirror; proxy_pass http://%%ORIGIN%%; }
            location /head { mirror /mirror; mirror_request_body off; proxy_pass http://%%ORIGIN%%; }
            location /off { mirror off; return 204; }
            location = /mirror { internal; proxy_pass http://%%MIRROR%%$request_uri; proxy_set_header X-Original $remote_addr:$request_method; }
            location = /bodiless { internal; proxy_pass http://%%MIRROR%%; }";
        let site = Site::new(text).with("ORIGIN", origin.address()).with("MIRROR", mirror.address());
        let server = binary.serve(site);
        assert_eq!(server.post("/a?b", "body").text(), "body");
        let seen = mirror.wait_requests(2);
        for request in &seen {
            assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/a?b"));
            assert_eq!(request.body, b"body");
            assert_eq!(request.header("x-original"), Some("127.0.0.1:POST"));
        }
        let long = vec![b'x'; 300_000];
        assert_eq!(server.post("/long", &long).body, long);
        assert!(mirror.wait_requests(4).iter().skip(2).all(|request| request.body == long));
        assert_eq!(server.get("/off").status, 204);
        gate.open();
        assert_eq!(mirror.requests().len(), 4);
        assert_eq!(server.access_log().wait_lines(3).len(), 3, "the mirrored ones are not logged");
    });
}

#[test]
fn what_is_added_to_pages() {
    let text = "location / { add_before_body /before; add_after_body /after; }
        location /plain { add_before_body /before; addition_types text/plain; default_type text/plain; try_files /page.html =404; types { } }
        location /other { add_before_body /before; types { } default_type image/png; try_files /page.html =404; }
        location = /before { return 200 \"<before $uri $args>\"; }
        location = /after { proxy_pass http://127.0.0.1:%%PORT%%/footer; }
        location = /footer { return 200 \"<after>\"; }
        location /missing { add_after_body /none.html; try_files /page.html =404; }";
    on_both(Site::new(text).file("html/page.html", "<page>"), |server| {
        let page = server.get("/page.html?x");
        assert_eq!(page.text(), "<before /before ><page><after>");
        assert_eq!((page.header("content-length"), page.is_chunked()), (None, true));
        assert!(page.header("etag").is_some_and(|tag| tag.starts_with("W/")));
        assert_eq!(server.get("/plain").text(), "<before /before ><page>");
        assert_eq!(server.get("/other").text(), "<page>");
        assert!(server.get("/missing").text().starts_with("<page><html>\r\n<head><title>404 Not Found"));
        assert_eq!(server.get("/none.html").status, 404);
        let mut client = server.client();
        assert_eq!(client.request("HEAD", "/page.html", &[], b"").header("content-length"), None);
        assert_eq!(client.get("/page.html").text(), "<before /before ><page><after>");
    });
}

#[test]
fn what_nginx_refuses_is_refused() {
    each(|binary: Binary| {
        for (text, words) in [
            ("auth_request_set v x;", "invalid variable name \"v\""),
            ("auth_request /a; auth_request /b;", "\"auth_request\" directive is duplicate"),
            ("mirror off; mirror /a;", "\"mirror\" directive is duplicate"),
            ("mirror /a; mirror off;", "\"mirror\" directive is duplicate"),
        ] {
            let exit = binary.check(Site::bare(format!("events {{}}\nhttp {{ {text} }}")));
            assert_eq!(exit.code, Some(1), "{text}: {exit}");
            assert!(
                exit.stderr.contains(&format!("[emerg] {words} in %%DIR%%/nginx.conf:2")),
                "{text}: {exit}"
            );
        }
    });
}

#[test]
fn a_mirror_that_names_no_path_hears_its_own() {
    let text = "location / { mirror /copy; proxy_pass http://%%ORIGIN%%/to; } location = /copy { internal; proxy_pass http://%%ORIGIN%%; }";
    each(|binary| {
        let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
        assert_eq!(server.get("/?a=b").text(), "ok");
        let mut targets: Vec<String> = origin.wait_requests(2).iter().map(|r| r.target.clone()).collect();
        targets.sort();
        assert_eq!(targets, ["/copy?a=b", "/to?a=b"]);
    });
}

/// That a request within it was logged is not what a request does from then on.
#[test]
fn after_a_subrequest_s_line_the_request_goes_on() {
    each(|binary| {
        let origin = Origin::echo();
        let text = "log_subrequest on; server { listen 127.0.0.1:%%PORT%%; \
            location / { auth_request /auth; proxy_pass http://%%O%%; } \
            location = /auth { internal; proxy_pass http://%%O%%; proxy_pass_request_body off; \
            proxy_set_header Content-Length ''; } }";
        let server = binary.serve(Site::new(text).with("O", origin.address()));
        let chunk = "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcXX";
        server.raw(format!("POST / HTTP/1.1\r\nHost: a\r\n{chunk}"));
        let line = server.error_log().wait_for("client sent invalid chunked body");
        assert!(line.contains("body while sending to client, client: "), "{line}");
    });
}

/// Whoever says neither yes nor no lets nobody in.
#[test]
fn an_answer_without_a_head_is_no_permission() {
    each(|binary| {
        let origin = Origin::answering("anything at all\r\n\r\n");
        let text = "location / { auth_request /check; return 200 in; } location /file { auth_request /check; root html; }
            location = /check { proxy_pass http://%%ORIGIN%%; }";
        let server = binary.serve(Site::new(text).file("html/file", "in").with("ORIGIN", origin.address()));
        assert_eq!(server.get("/file").status, 500);
        server.error_log().wait_for("auth request unexpected status: 0");
    });
}

/// As in nginx: 444 is for the client, also where another location says it.
#[test]
fn who_is_to_get_nothing_gets_nothing_by_whatever_was_asked() {
    let text = "location = /no { return 444; }
        location /asked/ { auth_request /no; }
        location /includes/ { ssi on; }";
    let page = "before<!--#include virtual=\"/no\" -->behind";
    let site = Site::new(text)
        .file("html/asked/a", "a")
        .file("html/includes/a.html", page)
        .file("html/includes/b.html", "<!--#include virtual=\"/includes/a.html\" -->");
    on_both(site, |server| {
        for (target, lines) in [("/asked/a", 1), ("/includes/a.html", 2), ("/includes/b.html", 3)] {
            let got = server.raw(format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
            assert_eq!(String::from_utf8_lossy(&got), "", "{target}");
            assert!(server.access_log().wait_lines(lines)[lines - 1].contains(" 444 0 "), "{target}");
        }
        assert!(!server.error_log().text().contains("auth request unexpected status"));
    });
}

/// What was to be added is given up while it is on its way; the thread's next requests know nothing of it.
#[test]
fn an_answer_that_breaks_off_between_others() {
    each(|binary| {
        let half = Origin::new(|exchange| {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 99\r\n\r\nhalf");
            exchange.close();
        });
        let text = "location / { add_before_body /own; add_after_body /own; proxy_pass http://%%HALF%%; }
            location /own { return 200 own; }";
        let server = binary.serve(Site::new(text).with("HALF", half.address()));
        for _ in 0..3 {
            let answer = server.raw("GET / HTTP/1.0\r\n\r\n");
            assert!(answer.ends_with(b"\r\n\r\nownhalf"), "{}", String::from_utf8_lossy(&answer));
        }
        let log = server.error_log();
        log.wait_for("upstream prematurely closed connection while");
        assert_eq!(server.get("/own").text(), "own");
        assert!(!log.text().contains("[alert]"), "{}", log.text());
    });
}

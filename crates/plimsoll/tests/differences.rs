//! What cases by chance found: answers and log lines in which the two servers once differed.
#![forbid(unsafe_code)]

use testkit::{Binary, Origin, Response, Server, Site, each, on_both};

/// Runs the test on each server in front of an origin that always answers so.
fn answered_with(text: &str, answer: &'static str, test: impl Fn(&Server)) {
    each(|binary| {
        let origin = Origin::answering(answer);
        test(&binary.serve(Site::new(text).with("ORIGIN", origin.address())));
    });
}
/// An application behind SCGI or uwsgi, which reads nothing and answers.
fn application(text: &str, answer: &'static str, test: impl Fn(&Response)) {
    each(|binary| {
        let origin = Origin::wires(move |wire| {
            let _ = wire.read_some(64 * 1024);
            let _ = wire.send(answer);
        });
        let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
        test(&server.get("/"));
    });
}

#[test]
fn applications_answer_with_our_server_and_date_unless_they_have_their_own() {
    let text = "location / { scgi_pass %%ORIGIN%%; }";
    application(text, "Content-Type: a/b\r\n\r\nok", |answer| {
        assert!(answer.header("server").is_some() && answer.header("date").is_some());
    });
    application(text, "Server: own\r\nDate: now\r\n\r\nok", |answer| {
        assert_eq!((answer.all("server"), answer.all("date")), (vec!["own"], vec!["now"]));
    });
}

#[test]
fn uwsgi_lets_the_status_through_and_scgi_does_not() {
    for (module, status) in [("uwsgi", Some("201 Made")), ("scgi", None)] {
        application(
            &format!("location / {{ {module}_pass %%ORIGIN%%; }}"),
            "Status: 201 Made\r\n\r\nok",
            |answer| {
                assert_eq!((answer.status, answer.header("status")), (201, status), "{module}");
            },
        );
    }
}

#[test]
fn an_upstreams_status_without_a_reason_stays_so() {
    answered_with(
        "location / { proxy_pass http://%%ORIGIN%%; }",
        "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
        |server| {
            let answer = server.normal("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            assert!(answer.starts_with("HTTP/1.1 200\r\n"), "{answer}");
        },
    );
}

#[test]
fn expires_goes_by_the_upstreams_date_and_takes_its_header_over_in_its_place() {
    let answer = "HTTP/1.1 200 OK\r\nCache-Control: private\r\nX-A: b\r\nCache-Control: no-store\r\n\
        Last-Modified: Sat, 01 Jan 2000 00:00:00 GMT\r\nContent-Length: 2\r\n\r\nok";
    let text = "expires modified +1d; location / { proxy_pass http://%%ORIGIN%%; }";
    answered_with(text, answer, |server| {
        let answer = server.normal("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let fields = "Cache-Control: no-cache\r\nX-A: b\r\nLast-Modified: Sat, 01 Jan 2000 00:00:00 GMT\r\n\
            Expires: Sun, 02 Jan 2000 00:00:00 GMT\r\n\r\nok";
        assert!(answer.ends_with(fields), "{answer}");
    });
}

#[test]
fn conditions_are_ours_where_an_answer_might_be_kept() {
    let text = "proxy_cache_path cache keys_zone=zone:1m; server { listen 127.0.0.1:%%PORT%%; \
        location / { proxy_pass http://%%ORIGIN%%; proxy_cache zone; } }";
    answered_with(text, "HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 2\r\n\r\nok", |server| {
        assert_eq!(server.get_with("/", &[("If-None-Match", "\"x\"")]).status, 304);
        assert_eq!(server.get_with("/", &[("If-None-Match", "\"y\"")]).status, 200);
    });
}

#[test]
fn only_three_methods_are_kept() {
    for module in ["proxy", "fastcgi"] {
        each(|binary| {
            let exit = binary.refuses(format!("{module}_cache_methods GET PUT;"));
            assert!(exit.stderr.contains("invalid value \"PUT\" in"), "{}", exit.stderr);
        });
    }
}

#[test]
fn who_is_asked_to_continue_is_told_even_without_a_body() {
    answered_with("location / { proxy_pass http://%%ORIGIN%%; }", "HTTP/1.1 204 No\r\n\r\n", |server| {
        let answer =
            server.normal("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n"), "{answer}");
    });
}

#[test]
fn chunks_that_nobody_reads_have_no_length() {
    on_both("add_header X-L $content_length always; location / { deny all; }", |server| {
        let answer = server.normal(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        );
        assert!(answer.contains("403 Forbidden") && answer.contains("\r\nX-L: 0\r\n"), "{answer}");
    });
}

#[test]
fn a_put_needs_a_body_and_a_folder_to_be_put_in() {
    on_both("location / { dav_methods PUT; }", |server| {
        assert_eq!(server.request("PUT", "/a.txt", &[("Content-Length", "0")], b"").status, 201);
        let begin = "PUT /b.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        assert!(server.normal(begin).starts_with("HTTP/1.1 500 "));
        server.error_log().wait_for("PUT request body must be in a file");
        assert_eq!(server.request("PUT", "/a.txt/x", &[], b"x").status, 500);
        server.error_log().wait_for("html/a.txt/x\" failed (20: Not a directory)");
        assert_eq!(server.request("PUT", "/none/x", &[], b"x").status, 500);
        let log = server.error_log().wait_for("html/none/x\" failed (2: No such file or directory)");
        assert!(log.contains("[crit]") && log.contains("rename() \""), "{log}");
        assert!(!server.path("html/b.txt").exists());
    });
}

#[test]
fn an_agent_is_old_by_a_whole_version() {
    on_both("location / { return 405; } keepalive_disable msie6;", |server| {
        for (agent, kept) in [("MSIE 6.", "keep-alive"), ("MSIE 6.0", "close"), ("MSIE 7.0", "keep-alive")] {
            let mut client = server.client();
            let answer = client.request("POST", "/", &[("User-Agent", agent)], b"x");
            assert_eq!(answer.header("connection"), Some(kept), "{agent}");
        }
    });
}

#[test]
fn any_type_is_also_none() {
    let text = "default_type ''; location = /sub { sub_filter a b; sub_filter_types *; } \
        location = /add { add_after_body /more; addition_types *; } location = /more { return 200 more; }";
    let site = Site::new(text).file("html/sub", "aa").file("html/add", "aa");
    on_both(site, |server| {
        assert_eq!(server.get("/sub").text(), "ba");
        assert_eq!(server.get("/add").text(), "aamore");
    });
}

#[test]
fn additions_leave_not_modified_alone() {
    let site = Site::new("location / { add_after_body /x.html; }").file("html/x.html", "x");
    on_both(site, |server| {
        let tag = server.get("/x.html");
        let tag = tag.header("etag").expect("a tag").to_owned();
        let answer = server.get_with("/x.html", &[("If-None-Match", &tag)]);
        assert_eq!((answer.status, answer.header("etag")), (304, Some(tag.trim_start_matches("W/"))));
    });
}

#[test]
fn nobody_is_asked_to_add_to_what_is_not_modified() {
    let text =
        "log_subrequest on; location / { add_after_body /more; } location = /more { return 200 more; }";
    on_both(Site::new(text).file("html/x.html", "x"), |server| {
        let tag = server.get("/x.html").header("etag").expect("a tag").replace("W/", "");
        assert_eq!(server.get_with("/x.html", &[("If-None-Match", &tag)]).status, 304);
        assert_eq!(server.get("/end").status, 404);
        let log = server.access_log();
        log.wait_for("\"GET /end HTTP/1.1\" 404");
        let lines = log.lines();
        assert_eq!(lines.iter().filter(|line| line.contains("/x.html")).count(), 3, "{lines:#?}");
    });
}

#[test]
fn substitutions_leave_what_is_said_of_ranges() {
    let answer =
        "HTTP/1.1 200 OK\r\nAccept-Ranges: bytes\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nok";
    answered_with("location / { proxy_pass http://%%ORIGIN%%; sub_filter k h; }", answer, |server| {
        let answer = server.get("/");
        assert_eq!((answer.text().as_str(), answer.header("accept-ranges")), ("oh", Some("bytes")));
    });
}

#[test]
fn what_has_no_path_finds_no_named_location() {
    on_both("error_page 400 = @named; location @named { return 200 named; }", |server| {
        assert_eq!(server.status("get / HTTP/1.1\r\nHost: a\r\n\r\n"), "500");
        server.error_log().wait_for("empty URI in redirect to named location \"@named\"");
        assert_eq!(server.status("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n"), "200");
    });
}

#[test]
fn a_broken_body_is_not_passed_on_and_spoils_no_other() {
    each(|binary| {
        let origin = Origin::echo();
        let text = "error_page 400 = @up; location / { proxy_pass http://%%ORIGIN%%; } location @up { proxy_pass http://%%ORIGIN%%; }";
        let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
        let mut client = server.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nx\r\n");
        client.wire().read_what_comes();
        let whole = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
        assert_eq!(server.status(whole), "200");
        assert!(origin.requests().iter().all(|seen| seen.body.is_empty() || seen.body == b"a"));
    });
}

#[test]
fn a_page_is_all_that_http_09_gets() {
    on_both("", |server| {
        let answer = server.normal("HEAD /\r\n");
        assert!(answer.starts_with("<html>") && answer.contains("400 Bad Request"), "{answer}");
    });
}

#[test]
fn folders_are_opened_as_folders() {
    on_both("disable_symlinks on; location / { random_index on; }", |server| {
        assert_eq!(server.get("/none/").status, 404);
        server.error_log().wait_for("opendir() \"");
    });
}

/// Since 1.29, nginx does as here.
#[test]
fn host_comes_first_and_is_never_missing() {
    let origin = Origin::echo();
    let text = "proxy_set_header X-A b; proxy_set_header Connection ''; \
        location = / { proxy_pass http://%%ORIGIN%%; proxy_set_header X-A b; proxy_set_header Host h; proxy_set_header Host $arg_h; }\n\
        location = /none { proxy_pass http://%%ORIGIN%%; proxy_set_header Host ''; }\n\
        location = /old { proxy_pass http://%%ORIGIN%%; proxy_set_header Host ''; proxy_http_version 1.0; }";
    let server = Binary::Plimsoll.serve(Site::new(text).with("ORIGIN", origin.address()));
    let there = origin.address();
    for (path, head) in [
        ("/?h=me", "GET /?h=me HTTP/1.1\r\nHost: me\r\nX-A: b\r\n\r\n".to_owned()),
        ("/", format!("GET / HTTP/1.1\r\nHost: {there}\r\nX-A: b\r\n\r\n")),
        ("/none", format!("GET /none HTTP/1.1\r\nHost: {there}\r\n\r\n")),
        ("/old", "GET /old HTTP/1.0\r\n\r\n".to_owned()),
    ] {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: a\r\nProxy-Connection: x\r\nConnection: close\r\n\r\n");
        let answer = server.normal(request);
        let seen = origin.last().head;
        assert_eq!(seen, head, "{path}: {answer}");
    }
}

/// Since 1.29, nginx does as here.
#[test]
fn connect_has_an_authority() {
    let server = Binary::Plimsoll.serve("");
    server.expect_statuses(&[
        ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "405"),
        ("CONNECT [::1]:443 HTTP/1.1\r\nHost: a\r\n\r\n", "405"),
        ("CONNECT 127.0.0.1:443 HTTP/1.0\r\n\r\n", "405"),
        ("CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("CONNECT a: HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("CONNECT a:443/x HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("CONNECT http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
    ]);
}

#[test]
fn a_chunked_body_that_breaks_at_once_is_not_made_to_look_whole() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nfirst\r\n0\r\n\r\n";
    let text = "location / { proxy_http_version 1.1; proxy_pass http://%%ORIGIN%%; }";
    answered_with(text, answer, |server| {
        let answer = server.normal("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(!answer.contains("\r\n0\r\n"), "{answer}");
        server.error_log().wait_for("upstream sent invalid chunked response while reading upstream");
    });
}

#[test]
fn who_asks_for_a_head_hears_nothing_of_the_body() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n";
    let text = "location / { proxy_method GET; proxy_pass http://%%ORIGIN%%; }";
    answered_with(text, answer, |server| {
        assert_eq!(server.request("HEAD", "/", &[], b"").status, 200);
        server.raw("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        server.error_log().wait_for("upstream sent invalid chunked response while reading upstream");
        let of_head = |line: &&String| line.contains("\"HEAD / ") && line.contains("[error]");
        assert_eq!(server.error_log().lines().iter().filter(of_head).count(), 0);
    });
}

#[test]
fn messages_say_what_was_being_done() {
    let text = "error_log logs/error.log info; lingering_close off; server { listen 127.0.0.1:%%PORT%%; error_page 400 = @named; \
        location @named { return 200; } location /ssi { ssi on; } \
        location /accel { proxy_pass http://%%ORIGIN%%; } }";
    let accel = "HTTP/1.1 200 OK\r\nX-Accel-Redirect: /a/%2e./%2e%2e/b?c\r\nContent-Length: 0\r\n\r\n";
    each(|binary| {
        let origin = Origin::answering(accel);
        let site = Site::new(text).with("ORIGIN", origin.address());
        let server = binary.serve(site.file("html/ssi.html", "<!--#unknown -->").file("html/a.html", ""));
        server.raw("GET ht!p://x/ HTTP/1.1\r\n\r\n");
        // Of two mistakes that of the line counts, which was read first.
        server.raw("GET /.. HTTP/1.1\r\n : v\r\n\r\n");
        let of_line = "client sent invalid request while reading client request line, client: ";
        let two = server.error_log().wait_match(&format!(r#"{of_line}.*"GET /\.\. "#));
        assert!(!two.contains("header"), "{two}");
        server.get("/ssi.html");
        server.get("/accel");
        for (message, action) in [
            ("empty URI in redirect to named location \"@named\"", "reading client request line"),
            ("invalid SSI command: \"unknown\"", "sending response to client"),
            ("unsafe URI \"/a/../../b\" was detected", "reading response header from upstream"),
        ] {
            server.error_log().wait_for(&format!("{message} while {action}, client: "));
        }
        let chunks = "POST /a.html HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n";
        server.raw(chunks);
        server.error_log().wait_for("client sent invalid chunked body, client: ");
    });
}

#[test]
fn a_page_for_an_error_has_nothing_added() {
    let text = "add_after_body /more.txt; error_page 404 /page.html;";
    let site = Site::new(text).file("html/page.html", "page\n").file("html/more.txt", "more\n");
    on_both(site, |server| {
        assert_eq!(server.get("/page.html").text(), "page\nmore\n");
        assert_eq!(server.get("/none").text(), "page\n");
    });
}

#[test]
fn a_failed_precondition_leaves_nothing_of_the_answer_that_failed() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nX-A: b\r\nContent-Length: 2\r\n\r\nok";
    let text = "proxy_cache_path cache keys_zone=zone:1m; server { listen 127.0.0.1:%%PORT%%; \
        location / { proxy_pass http://%%ORIGIN%%; proxy_cache zone; proxy_cache_valid 1h; } }";
    answered_with(text, answer, |server| {
        let answer = server.get_with("/", &[("If-Match", "\"x\"")]);
        assert_eq!(
            (answer.status, answer.header("x-a"), answer.header("content-encoding")),
            (412, None, None)
        );
    });
}

#[test]
fn a_body_in_chunks_that_came_with_its_head_has_a_length() {
    let text = "location / { fastcgi_request_buffering off; fastcgi_param CONTENT_LENGTH $content_length; \
        fastcgi_pass %%ORIGIN%%; }";
    each(|binary| {
        let origin = Origin::wires(|wire| {
            let request = wire.read_some(64 * 1024).unwrap_or_default();
            let said = String::from_utf8_lossy(&request).contains("CONTENT_LENGTH5");
            let _ = wire.send(records(format!("X-Said: {said}\r\n\r\n").as_bytes()));
        });
        let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
        let answer = server.normal(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        );
        assert!(answer.contains("X-Said: true\r\n"), "{answer}");
    });
}

/// An answer of a FastCGI application.
fn records(text: &[u8]) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short text").to_be_bytes();
    let end = [1, 3, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    [&[1, 6, 0, 1, length[0], length[1], 0, 0], text, &end].concat()
}

#[test]
fn an_application_that_names_no_length_for_its_length_has_none() {
    let origin = Origin::wires(|wire| {
        let _ = wire.read_some(64 * 1024);
        let _ = wire.send(records(b"Content-Length: two\r\n\r\nok"));
    });
    let text = "location / { fastcgi_pass %%ORIGIN%%; }";
    let server = testkit::serve(Site::new(text).with("ORIGIN", origin.address()));
    assert_eq!(server.get("/").status, 502);
}

#[test]
fn http_0_9_has_no_head_and_so_no_charset_in_the_log() {
    let text = "charset utf-8; default_type text/html; log_format t $sent_http_content_type; \
        access_log logs/t.log t; server { listen 127.0.0.1:%%PORT%%; location / { return 200 ok; } }";
    on_both(text, |server| {
        server.raw("GET /\r\n\r\n");
        server.log("logs/t.log").wait_for("text/html");
        assert_eq!(server.log("logs/t.log").lines(), ["text/html"]);
    });
}

#[test]
fn what_is_not_there_to_be_deleted_is_named_with_its_slash() {
    on_both("location / { dav_methods DELETE; }", |server| {
        assert_eq!(server.request("DELETE", "/none/", &[], b"").status, 404);
        server.error_log().wait_for("/none/\" failed (2: No such file or directory)");
    });
}

#[test]
fn a_broken_body_is_refused_once() {
    let text = "lingering_close off; error_page 400 /page; \
        location = /read { proxy_pass http://127.0.0.1:1; } location = /page { return 200 page; }";
    on_both(text, |server| {
        let bad = "Host: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n";
        // For the page of the error there is no body any more.
        let answer = server.normal(format!("POST /read HTTP/1.1\r\n{bad}"));
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n") && answer.ends_with("\r\n\r\npage"),
            "{answer}"
        );
        assert!(answer.contains("Connection: close\r\n"), "{answer}");
        // A page that finds it broken is itself an error.
        let answer = server.normal(format!("POST /page HTTP/1.1\r\n{bad}"));
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("\r\n\r\npage"), "{answer}");
        // What is answered with a page of its own keeps its status.
        let answer = server.normal(format!("POST /none HTTP/1.1\r\n{bad}"));
        assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("Connection: close\r\n"), "{answer}");
    });
}

#[test]
fn a_cache_asks_with_get_even_for_what_it_does_not_keep_yet() {
    each(|binary| {
        let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let text = "proxy_cache_path cache keys_zone=zone:1m; server { listen 127.0.0.1:%%PORT%%; \
            location / { proxy_pass http://%%ORIGIN%%; proxy_cache zone; proxy_cache_min_uses 2; } }";
        let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
        assert_eq!(server.request("HEAD", "/", &[], b"").status, 200);
        assert_eq!(origin.last().method, "GET");
    });
}

#[test]
fn msie_6_with_its_second_service_pack_keeps_connections() {
    on_both("location / { return 200 ok; }", |server| {
        for (version, kept) in
            [("5.5", false), ("6.0", false), ("6.0; Windows NT 5.1; SV1", true), ("7.0", true)]
        {
            let agent = format!("Mozilla/4.0 (compatible; MSIE {version})");
            let answer = server.client().request("POST", "/", &[("User-Agent", &agent)], b"");
            assert_eq!(answer.header("connection") == Some("keep-alive"), kept, "{version}");
        }
    });
}

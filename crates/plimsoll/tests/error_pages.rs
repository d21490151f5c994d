//! The pages of statuses: those built in, and all that `error_page` can put in their place.
#![forbid(unsafe_code)]

use testkit::{Binary, PAGES, Server, Site, each, error_page, on_both};

const CHROME: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36";
const PADDING: &str = "<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n";

fn each_status(statuses: impl Iterator<Item = u16>) -> String {
    let locations: String =
        statuses.map(|status| format!("location = /{status} {{ return {status}; }}\n")).collect();
    format!("server_tokens off; {locations}")
}

#[test]
fn every_built_in_page() {
    on_both(each_status(PAGES.iter().map(|(status, _)| *status)), |server| {
        for (status, title) in PAGES {
            let response = server.get(&format!("/{status}"));
            assert_eq!(response.status, *status);
            assert_eq!(response.header("content-type"), Some("text/html"), "{status}");
            assert_eq!(response.text(), error_page(server.binary(), title), "{status}");
        }
    });
}

#[test]
fn statuses_without_a_page() {
    let statuses = [417, 418, 420, 430, 493, 506, 508, 599];
    on_both(each_status(statuses.into_iter()), |server| {
        for status in statuses {
            let response = server.get(&format!("/{status}"));
            assert_eq!((response.status, response.text().as_str()), (status, ""), "{status}");
            assert_eq!(response.header("content-type"), None, "{status}");
            assert_eq!(response.header("content-length"), Some("0"), "{status}");
        }
    });
}

#[test]
fn statuses_that_clients_see_as_400() {
    let table = [
        (494, "Request Header Or Cookie Too Large", "keep-alive"),
        (495, "The SSL certificate error", "close"),
        (496, "No required SSL certificate was sent", "close"),
        (497, "The plain HTTP request was sent to HTTPS port", "close"),
    ];
    on_both(each_status(table.iter().map(|(status, ..)| *status)), |server| {
        for (status, text, connection) in table {
            let response = server.client().get(&format!("/{status}"));
            assert_eq!(response.status, 400, "{status}");
            assert_eq!(response.header("connection"), Some(connection), "{status}");
            let page = response.text();
            assert!(page.contains(&format!("<title>400 {text}</title>")), "{page}");
            assert!(
                page.contains(&format!(
                    "<h1>400 Bad Request</h1></center>\r\n<center>{text}</center>\r\n<hr>"
                ))
            );
        }
    });
}

#[test]
fn statuses_that_end_the_connection() {
    on_both(each_status([400, 413, 414, 500, 501].into_iter()), |server| {
        for status in [400, 413, 414, 500, 501] {
            let response = server.client().get(&format!("/{status}"));
            assert_eq!(response.header("connection"), Some("close"), "{status}");
        }
    });
    on_both(each_status([404, 502, 503, 505].into_iter()), |server| {
        for status in [404, 502, 503, 505] {
            let response = server.client().get(&format!("/{status}"));
            assert_eq!(response.header("connection"), Some("keep-alive"), "{status}");
        }
    });
}

#[test]
fn statuses_that_are_no_answer() {
    on_both(each_status([408, 444, 499].into_iter()), |server| {
        for status in [408, 444, 499] {
            let bytes = server.raw(format!("GET /{status} HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert!(bytes.is_empty(), "{status}");
            server.access_log().wait_match(&format!("\"GET /{status} HTTP/1.1\" {status} 0 "));
        }
    });
}

#[test]
fn padding_for_browsers() {
    let text = "server_tokens off; location /on { return 404; } location /off { msie_padding off; return 404; }\n\
        location /to { return 301 /x; }";
    on_both(text, |server| {
        let page = error_page(server.binary(), "404 Not Found");
        let get = |target: &str, agent: &str| server.get_with(target, &[("User-Agent", agent)]).text();
        for agent in [CHROME, "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 5.1)"] {
            assert_eq!(get("/on", agent), format!("{page}{}", PADDING.repeat(6)), "{agent}");
            assert_eq!(get("/off", agent), page, "{agent}");
            assert_eq!(get("/to", agent), error_page(server.binary(), "301 Moved Permanently"));
        }
        for agent in ["curl/8.0", "Mozilla/5.0 (X11; rv:109.0) Gecko/20100101 Firefox/115.0"] {
            assert_eq!(get("/on", agent), page, "{agent}");
        }
    });
}

#[test]
fn refresh_for_msie() {
    on_both("msie_refresh on; location / { return 301 \"/a'b<c>\\\"d%20 x\"; }", |server| {
        let response = server.get_with("/", &[("User-Agent", "Mozilla/4.0 (compatible; MSIE 7.0; Windows)")]);
        assert_eq!((response.status, response.header("location")), (200, None));
        assert_eq!(
            response.text(),
            "<html><head><meta http-equiv=\"Refresh\" content=\"0; URL=/a%27b%3Cc%3E%22d%20%20x\"></head>\
             <body></body></html>\r\n"
        );
        assert_eq!(server.get("/").status, 301);
    });
}

/// Where a request went: status, body, and `Location`.
fn outcome(server: &Server, target: &str) -> (u16, String, Option<String>) {
    let response = server.get(target);
    let location = response.header("location").map(|to| to.replace(&format!(":{}", server.port()), ""));
    let body = if response.text().starts_with("<html>") { "page".into() } else { response.text() };
    (response.status, body, location)
}

#[test]
fn where_error_page_leads() {
    let pages = [
        ("/var", "error_page 404 /show/$arg_x?y=$uri;", 404, "/show/ y=/var", None),
        ("/none", "error_page 404 =410 \"\";", 302, "page", Some("")),
        ("/named200", "error_page 404 =200 @named;", 200, "named /named200", None),
        ("/named0", "error_page 404 = @named;", 200, "named /named0", None),
        ("/nowhere", "error_page 404 @nowhere;", 500, "page", None),
        ("/asis", "error_page 404 =301 /show;", 301, "/show ", None),
        ("/url", "error_page 404 =404 http://x.example/;", 302, "page", Some("http://x.example/")),
        ("/relative", "error_page 404 x/y;", 302, "page", Some("x/y")),
        ("/empty", "error_page 404 =204 /show;", 204, "", None),
        ("/dir", "error_page 404 /folder;", 301, "page", Some("http://localhost/folder/")),
        ("/file", "error_page 404 /f;", 404, "file", None),
        ("/file200", "error_page 404 =200 /f;", 200, "file", None),
    ];
    let locations: String = pages
        .iter()
        .map(|(path, page, ..)| format!("location = {path} {{ {page} return 404; }}\n"))
        .collect();
    let text = format!(
        "{locations} location @named {{ return 200 \"named $uri\"; }} location /show {{ return 200 \"$uri $args\"; }}"
    );
    on_both(text, |server| {
        server.write("html/f", "file");
        server.write("html/folder/index.html", "index");
        for (path, _, status, body, location) in pages {
            let (got, text, to) = outcome(server, path);
            assert_eq!((got, text.as_str(), to.as_deref()), (status, body, location), "{path}");
        }
    });
}

#[test]
fn a_page_s_file_is_described_by_the_status_that_goes_out() {
    let text = "location = /a { error_page 404 /f; return 404; } location = /b { error_page 404 =200 /f; return 404; }";
    on_both(text, |server| {
        server.write("html/f", "file");
        let (a, b) = (server.get("/a"), server.get("/b"));
        assert_eq!((a.header("last-modified"), a.header("accept-ranges")), (None, None));
        assert!(a.header("etag").is_some());
        assert!(b.header("last-modified").is_some());
        assert_eq!(b.header("accept-ranges"), Some("bytes"));
    });
}

#[test]
fn redirects_too_have_error_pages() {
    let text = "location /a { error_page 301 /show; return 301 /x; } location /show { return 200 shown; }\n\
        location /b { error_page 302 =200 /show; rewrite ^ /zz redirect; }";
    on_both(text, |server| {
        assert_eq!(outcome(server, "/a"), (301, "shown".into(), Some("http://localhost/x".into())));
        assert_eq!(outcome(server, "/b"), (200, "shown".into(), Some("http://localhost/zz".into())));
    });
}

#[test]
fn a_level_with_its_own_error_pages_has_no_others() {
    let text = "error_page 403 /outer; error_page 404 /outer; location /outer { return 200 outer; }\n\
        location /inner { return 200 inner; }\n\
        location /a { return 403; } location /b/ { error_page 404 /inner; location /b/c { return 403; } location /b/d { return 404; } }\n\
        location /e { if ($arg_x) { error_page 404 /inner; } return 404; }";
    on_both(text, |server| {
        let body = |target| outcome(server, target).1;
        assert_eq!(body("/a"), "outer");
        assert_eq!(body("/b/c"), "page");
        assert_eq!(body("/b/d"), "inner");
        assert_eq!(body("/e"), "outer");
        assert_eq!(body("/e?x=1"), "inner");
    });
}

#[test]
fn methods_on_the_way_to_a_page() {
    let text = "location / { error_page 404 /show; return 404; } location /n { error_page 404 @show; return 404; }\n\
        location /show { return 200 $request_method; } location @show { return 200 $request_method; }";
    on_both(text, |server| {
        assert_eq!(server.post("/", "").text(), "GET");
        assert_eq!(server.post("/n", "").text(), "POST");
        let head = server.request("HEAD", "/", &[], b"");
        assert_eq!((head.status, head.header("content-length")), (404, Some("4")));
    });
}

#[test]
fn a_named_location_may_limit_methods() {
    let text = "location / { error_page 404 @n; return 404; } location @n { limit_except GET { deny all; } return 200 n; }";
    on_both(text, |server| {
        assert_eq!(server.get("/").text(), "n");
        assert_eq!(server.post("/", "").status, 403);
    });
}

#[test]
fn a_file_is_no_answer_to_a_post_even_as_an_error_page() {
    let text = "location /a { error_page 404 @a; return 404; } location @a { rewrite ^ /page.html last; } \
        location /loop { try_files /none @loop; } location @loop { try_files /none @loop; }";
    on_both(testkit::Site::new(text).file("html/page.html", "page"), |server| {
        assert_eq!(server.get("/a").text(), "page");
        assert_eq!(server.post("/a", "").status, 405);
        assert_eq!(server.get("/loop").status, 500);
        let line = "rewrite or internal redirection cycle while redirect to named location \"@loop\"";
        server.error_log().wait_for(line);
    });
}

#[test]
fn error_pages_that_are_none() {
    each(|binary: Binary| {
        for (text, words) in [
            ("error_page 404;", "invalid number of arguments in \"error_page\" directive"),
            ("error_page =200 /x;", "invalid value \"=200\""),
            ("error_page 404 =abc /x;", "invalid value \"=abc\""),
            ("error_page abc /x;", "invalid value \"abc\""),
            ("error_page 499 /x;", "invalid value \"499\""),
            ("error_page 299 /x;", "value \"299\" must be between 300 and 599"),
            ("error_page 600 /x;", "value \"600\" must be between 300 and 599"),
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
fn a_method_that_is_refused_may_have_a_body() {
    let text = "error_page 405 = @asked; location @asked { proxy_pass http://%%ORIGIN%%; } location / { return 200 x; }";
    testkit::each(|binary| {
        let origin = testkit::Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nasked");
        let server = binary.serve(testkit::Site::new(text).with("ORIGIN", origin.address()));
        let chunks = "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        for body in ["Content-Length: 3\r\n\r\nabc", chunks] {
            let answer =
                server.normal(format!("TRACE /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{body}"));
            assert!(answer.ends_with("asked"), "{answer}");
            let asked = origin.last();
            assert_eq!((asked.method.as_str(), &asked.body[..]), ("TRACE", &b"abc"[..]));
        }
    });
}

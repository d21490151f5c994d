//! Which server and location answer, after which normalisation, and who may.
#![forbid(unsafe_code)]

use std::io::{Read, Write};

use testkit::{Binary, Port, Server, Site, on_both};

/// Requests each target and compares the bodies.
#[track_caller]
fn expect(server: &Server, table: &[(&str, &str)]) {
    for (target, body) in table {
        assert_eq!(server.get(target).text(), *body, "{target}");
    }
}

#[test]
fn the_order_of_matching() {
    let text = "location / { return 200 root; } location = / { return 200 exact-root; }\n\
        location /images/ { return 200 images; } location ^~ /images/static/ { return 200 static; }\n\
        location ~ \\.png$ { return 200 png; } location ~* \\.(gif|jpg)$ { return 200 picture; }\n\
        location = /images/a.png { return 200 exact; } location /ab { return 200 ab; } location /abc { return 200 abc; }\n\
        location ~ ^/abc/x { return 200 regex; }";
    on_both(text, |server| {
        let table = [
            ("/", "exact-root"),
            ("/other", "root"),
            ("/images/x", "images"),
            ("/images/b.png", "png"),
            ("/images/static/b.png", "static"),
            ("/images/a.png", "exact"),
            ("/x.GIF", "picture"),
            ("/x.PNG", "root"),
            ("/ab", "ab"),
            ("/abd", "ab"),
            ("/abcd", "abc"),
            ("/abc/x", "regex"),
            ("/images", "root"),
        ];
        expect(server, &table);
    });
}

#[test]
fn nested_locations() {
    let text = "location /a/ { location /a/b/ { return 200 ab; } location ~ \\.x$ { return 200 inner; } return 200 a; }\n\
        location ~ \\.x$ { return 200 outer; } location ^~ /c/ { location ~ \\.x$ { return 200 c-inner; } return 200 c; }";
    on_both(text, |server| {
        let table = [
            ("/a/", "a"),
            ("/a/b/c", "ab"),
            ("/a/q.x", "inner"),
            ("/a/b/q.x", "inner"),
            ("/z.x", "outer"),
            ("/c/q.x", "c-inner"),
            ("/c/q", "c"),
        ];
        expect(server, &table);
    });
}

#[test]
fn captures_of_a_regular_expression() {
    let text = "location ~ ^/u/(?<name>[^/]+)/(\\d+)$ { return 200 \"$name $1 $2 [$3]\"; }\n\
        location ~* ^/i/(.*)$ { set $x $1; return 200 \"$x\"; }";
    on_both(text, |server| expect(server, &[("/u/ann/42", "ann ann 42 []"), ("/I/AbC", "AbC")]));
}

#[test]
fn the_uri_is_normalised_before_matching() {
    on_both("location / { return 200 \"$uri|$request_uri\"; }", |server| {
        let table = [
            ("/a//b", "/a/b|/a//b"),
            ("/a/./b/../c", "/a/c|/a/./b/../c"),
            ("/%61%2fb", "/a/b|/%61%2fb"),
            ("/a%20b", "/a b|/a%20b"),
            ("/a+b", "/a+b|/a+b"),
            ("/a%3fb?c", "/a?b|/a%3fb?c"),
            ("/a/..", "/|/a/.."),
            ("/a/.", "/a/|/a/."),
            ("/%2e/x", "/x|/%2e/x"),
            ("//", "/|//"),
            ("/x?a//b/../c", "/x|/x?a//b/../c"),
            ("/x#frag", "/x|/x#frag"),
            ("/...", "/...|/..."),
            ("/a..b/..c", "/a..b/..c|/a..b/..c"),
        ];
        expect(server, &table);
    });
    on_both("merge_slashes off; location / { return 200 $uri; }", |server| {
        expect(server, &[("/a//b", "/a//b"), ("//", "//"), ("/a//../b", "/a/b")]);
    });
}

#[test]
fn servers_by_name() {
    let text = "server { listen 127.0.0.1:%%PORT%%; server_name a.example; return 200 first; }\n\
        server { listen 127.0.0.1:%%PORT%% default_server; server_name _; return 200 default; }\n\
        server { listen 127.0.0.1:%%PORT%%; server_name *.b.example; return 200 star-before; }\n\
        server { listen 127.0.0.1:%%PORT%%; server_name www.b.*; return 200 star-after; }\n\
        server { listen 127.0.0.1:%%PORT%%; server_name .c.example; return 200 dot; }\n\
        server { listen 127.0.0.1:%%PORT%%; server_name .b.example; return 200 never; }\n\
        server { listen 127.0.0.1:%%PORT%%; server_name \"~^(?<sub>\\w+)\\.d\\.example$\"; return 200 \"regex $sub\"; }\n\
        server { listen 127.0.0.1:%%PORT%%; server_name \"\"; return 200 empty; }\n\
        server { listen 127.0.0.1:%%PORT%%; server_name exact.b.example; return 200 exact; }";
    on_both(text, |server| {
        for (host, body) in [
            ("a.example", "first"),
            ("A.Example:81", "first"),
            ("a.example.", "first"),
            ("other", "default"),
            ("x.b.example", "star-before"),
            ("y.x.b.example", "star-before"),
            ("b.example", "default"),
            (".b.example", "star-before"),
            ("www.b.example", "star-before"),
            ("www.b.org", "star-after"),
            ("exact.b.example", "exact"),
            ("c.example", "dot"),
            ("x.c.example", "dot"),
            ("sub.d.example", "regex sub"),
            ("a.b.d.example", "default"),
        ] {
            assert_eq!(server.get_with("/", &[("Host", host)]).text(), body, "{host}");
        }
        assert!(server.raw("GET / HTTP/1.0\r\n\r\n").ends_with(b"empty"));
    });
}

#[test]
fn a_server_that_is_alone_has_the_groups_of_its_name() {
    let text = "server { listen 127.0.0.1:%%PORT%%; server_name ~^(www\\.)?(.+)$; location / { root %%DIR%%/sites/$2; } \
        location /groups { return 200 $1|$2; } }";
    on_both(text, |server| {
        server.write("sites/a.example/index.html", "of a");
        assert_eq!(server.get_with("/", &[("Host", "www.a.example")]).text(), "of a");
        assert_eq!(server.get_with("/groups", &[("Host", "b.example")]).text(), "|b.example");
    });
}

#[test]
fn a_request_that_names_no_host_is_sent_to_the_address() {
    let text = "server { listen 127.0.0.1:%%PORT%%; server_name a.example; location / { return 302 /b; } \
        location /name { server_name_in_redirect on; return 302 /b; } }";
    on_both(text, |server| {
        let location = |target: &str| {
            let answer = server.raw(format!("GET {target} HTTP/1.0\r\n\r\n"));
            let text = String::from_utf8_lossy(&answer).into_owned();
            text.lines().find_map(|line| line.strip_prefix("Location: ").map(str::to_owned))
        };
        let at = |host: &str| Some(format!("http://{host}:{}/b", server.port()));
        assert_eq!(location("/"), at("127.0.0.1"));
        assert_eq!(location("/name"), at("a.example"));
    });
}

#[test]
fn what_is_refused_early_belongs_to_the_address() {
    let text = "server { listen %%PORT%%; access_log logs/any; }\n\
        server { listen 127.0.0.2:%%PORT%%; access_log logs/two; error_page 400 /bad; location /bad { return 200 two; } }";
    on_both(text, |server| {
        let mut client = server.client_at("127.0.0.2", 0);
        client.send("GET /../.. HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response().text(), "two");
        assert!(server.log("logs/two").wait_lines(1)[0].contains("GET /../.. HTTP/1.1"));
    });
}

#[test]
fn ports_in_a_row() {
    // Nobody else is at this address.
    let first = Port::free().number();
    let text = "server { listen 127.0.0.1:%%PORT%%; return 200 one; } \
        server { listen 127.0.0.3:%%FIRST%%-%%LAST%%; return 200 $server_port; }";
    on_both(Site::new(text).with("FIRST", first).with("LAST", first + 1), |server| {
        for port in [first, first + 1] {
            let mut stream = std::net::TcpStream::connect(("127.0.0.3", port)).expect("a server");
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("sent");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("an answer");
            assert!(answer.ends_with(&format!("\r\n\r\n{port}")), "{answer}");
        }
        assert_eq!(server.get("/").text(), "one");
    });
}

#[test]
fn servers_by_address() {
    let text = "server { listen 127.0.0.1:%%PORT%%; return 200 \"one $server_addr $server_port\"; }\n\
        server { listen %%PORT_1%%; return 200 \"two $server_addr\"; }\n\
        server { listen 127.0.0.2:%%PORT_1%%; return 200 \"three $server_addr\"; }\n\
        server { listen unix:%%DIR%%/s.sock; return 200 \"four $server_addr $remote_addr\"; }\n\
        server { listen [::1]:%%PORT_2%%; return 200 \"five $server_addr $remote_addr\"; }";
    on_both(text, |server| {
        assert_eq!(server.client().get("/").text(), format!("one 127.0.0.1 {}", server.port()));
        assert_eq!(server.client_on(1).get("/").text(), "two 127.0.0.1");
        assert_eq!(server.client_at("127.0.0.2", 1).get("/").text(), "three 127.0.0.2");
        let unix = server.client_unix("s.sock").get("/").text();
        assert_eq!(unix, format!("four unix:{} unix:", server.path("s.sock").display()));
        assert_eq!(server.client_at("::1", 2).get("/").text(), "five ::1 ::1");
    });
}

#[test]
fn proxy_protocol() {
    let text = "server { listen 127.0.0.1:%%PORT%% proxy_protocol; \
        return 200 \"$proxy_protocol_addr $proxy_protocol_port $remote_addr\"; }";
    on_both(text, |server| {
        let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut client = server.client();
        client.send(format!("PROXY TCP4 192.0.2.1 192.0.2.2 1234 80\r\n{get}"));
        assert_eq!(client.response().text(), "192.0.2.1 1234 127.0.0.1");
        client.send(get);
        assert_eq!(client.response().text(), "192.0.2.1 1234 127.0.0.1");

        let mut client = server.client();
        let mut two = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc0\0\x02\x08\x04\xd2\0P".to_vec();
        two.extend_from_slice(get.as_bytes());
        client.send(two);
        assert_eq!(client.response().text(), "192.0.2.7 1234 127.0.0.1");

        assert_eq!(server.raw(get), b"");
        let line = server.error_log().wait_for("broken header: \"GET / HTTP/1.1");
        // An older nginx writes all that came, on several lines.
        if server.binary() == Binary::Plimsoll {
            let server = format!("server: 127.0.0.1:{}", server.port());
            let end = format!("HTTP/1.1\" while reading PROXY protocol, client: 127.0.0.1, {server}");
            assert!(line.ends_with(&end), "{line}");
        }
    });
}

#[test]
fn allow_and_deny() {
    let text = "location /no { deny all; return 200 x; } location /files/ { deny all; }\n\
        location /net/ { allow 127.0.0.0/8; deny all; alias html/; } location /one/ { deny 127.0.0.1; alias html/; }\n\
        location /order/ { allow all; deny all; alias html/; } location /other/ { allow 10.0.0.0/8; allow ::1; deny all; alias html/; }";
    on_both(text, |server| {
        server.write("html/f", "x");
        for (target, status) in [
            // return runs before access, as in nginx
            ("/no", 200),
            ("/files/f", 403),
            ("/net/f", 200),
            ("/one/f", 403),
            ("/order/f", 200),
            ("/other/f", 403),
        ] {
            assert_eq!(server.get(target).status, status, "{target}");
        }
        server
            .error_log()
            .wait_for("access forbidden by rule, client: 127.0.0.1, server: , request: \"GET /files/f");
    });
}

#[test]
fn satisfy_and_limit_except() {
    let text = "location /m/ { limit_except GET { deny all; } alias html/; }\n\
        location /p/ { limit_except GET POST { deny all; } return 200 ok; }";
    on_both(text, |server| {
        server.write("html/f", "x");
        assert_eq!(server.get("/m/f").status, 200);
        assert_eq!(server.request("HEAD", "/m/f", &[], b"").status, 200);
        assert_eq!(server.post("/m/f", "x").status, 403);
        assert_eq!(server.request("PUT", "/m/f", &[], b"").status, 403);
    });
}

#[test]
fn error_page_forms() {
    let text = "location /file { return 404; error_page 404 /page; } location = /page { return 200 \"page $uri $request_uri\"; }\n\
        location /code { return 404; error_page 404 =202 /page; } location /keep { return 404; error_page 404 = /page; }\n\
        location /named { return 404; error_page 404 @n; } location @n { return 200 \"named $uri\"; }\n\
        location /url { return 404; error_page 404 http://x.example/; } location /url2 { return 404; error_page 404 =301 http://x.example/$uri; }\n\
        location /many { return 503; error_page 500 502 503 /page; } location /var { return 404; error_page 404 /page?u=$uri; }\n\
        location /chain { return 404; error_page 404 =200 /chain2; } location /chain2 { return 403; error_page 403 /page; }\n\
        location /gone { return 410; error_page 410 /nothing; }";
    on_both(text, |server| {
        for (target, status, body) in [
            ("/file", 404, "page /page /file"),
            ("/code", 202, "page /page /code"),
            ("/keep", 200, "page /page /keep"),
            ("/named", 404, "named /named"),
            ("/many", 503, "page /page /many"),
            ("/var", 404, "page /page /var"),
        ] {
            let response = server.get(target);
            assert_eq!((response.status, response.text().as_str()), (status, body), "{target}");
        }
        for (target, status, location) in
            [("/url", 302, "http://x.example/"), ("/url2", 301, "http://x.example//url2")]
        {
            let response = server.get(target);
            assert_eq!((response.status, response.header("location")), (status, Some(location)), "{target}");
        }
        assert_eq!(server.get("/gone").status, 404);
        assert_eq!(server.get("/chain").status, 403);
    });
}

#[test]
fn recursive_error_pages() {
    let chain = "location /a { return 404; error_page 404 /b; } location /b { return 403; error_page 403 /c; } location = /c { return 200 c; }";
    on_both(chain, |server| assert_eq!(server.get("/a").status, 403));
    on_both(format!("recursive_error_pages on; {chain}"), |server| {
        assert_eq!(server.get("/a").text(), "c");
    });
}

#[test]
fn error_pages_of_early_refusals() {
    on_both(
        "error_page 400 /bad; error_page 414 /long; location /bad { return 200 bad; } location /long { return 200 long; }",
        |server| {
            let answer = server.normal("GET / HTTP/1.1\r\n\r\n");
            assert!(answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("\r\n\r\nbad"), "{answer}");
            let answer = server.normal(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9000)));
            assert!(answer.starts_with("HTTP/1.1 414 ") && answer.ends_with("\r\n\r\nlong"), "{answer}");
        },
    );
}

#[test]
fn a_loop_of_internal_redirects_is_ended() {
    on_both("location / { try_files /none /x?$args; } ", |server| {
        assert_eq!(server.get("/").status, 500);
        server
            .error_log()
            .wait_for("rewrite or internal redirection cycle while internally redirecting to \"/x\"");
    });
}

#[test]
fn reload_of_the_index_by_internal_redirect_picks_another_location() {
    on_both("location ~ \\.txt$ { return 200 \"text $uri\"; } index i.txt;", |server| {
        server.write("html/i.txt", "file");
        assert_eq!(server.get("/").text(), "text /i.txt");
    });
}

/// `internal` holds for the locations inside, too.
#[test]
fn locations_inside_an_internal_one_are_internal() {
    let text =
        "location /a/ { internal; location /a/b/ { return 200 inside; } location ~ x$ { return 200 x; } }
                location /to { rewrite ^ /a/b/ last; } location / { return 200 other; }";
    on_both(text, |server| {
        for (path, status) in [("/a/", 404), ("/a/b/", 404), ("/a/x", 404), ("/to", 200), ("/", 200)] {
            assert_eq!(server.get(path).status, status, "{path}");
        }
    });
}

/// `alias` holds for the locations inside: it replaces the prefix of the one where it is written.
#[test]
fn an_alias_holds_for_the_locations_inside() {
    let text = "location /a/ { alias %%DIR%%/b/; location ~ /([^/]+\\.php)$ { return 200 \"$request_filename $document_root\"; } \
        location /a/in/ { location ~ txt$ { add_header X $uri; } return 200 $request_filename; } \
        location ~ \\.try$ { try_files /$arg_x $uri =404; add_header X $uri; } }";
    let site = Site::new(text).file("b/in/x.txt", "a text").file("b/c/x.try", "tried").file("b/y", "other");
    on_both(site, |server| {
        let dir = server.path("b").display().to_string();
        assert_eq!(server.get("/a/c/d.php").text(), format!("{dir}/c/d.php {dir}/"));
        assert_eq!(server.get("/a/in/x").text(), format!("{dir}/in/x"));
        let tried = server.get("/a/c/x.try");
        assert_eq!((tried.text().as_str(), tried.header("x")), ("tried", Some("/a/c/x.try")));
        let other = server.get("/a/c/x.try?x=y");
        assert_eq!((other.text().as_str(), other.header("x")), ("other", Some("/a//y")));
    });
}

#[test]
fn who_is_to_get_nothing_is_reset_where_that_is_wanted() {
    let text = "location / { return 444; } location /reset { reset_timedout_connection on; return 444; }";
    on_both(text, |server| {
        for (target, reset) in [("/", false), ("/reset", true)] {
            let mut client = server.client();
            client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
            let (bytes, error) = client.wire().read_what_comes();
            let error = error.map(|error| error.kind());
            assert_eq!((bytes, error), (Vec::new(), reset.then_some(std::io::ErrorKind::ConnectionReset)));
        }
    });
}

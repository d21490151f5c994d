//! `fastcgi_pass` in front of scripted applications: what they are sent, and what becomes of their answers.
#![forbid(unsafe_code)]

use std::sync::{Arc, Mutex};

use testkit::{Origin, Server, Site, Wire, each, eventually};

/// A request as an application got it.
#[derive(Clone, Debug, Default)]
struct Asked {
    keep: bool,
    params: Vec<(String, String)>,
    body: Vec<u8>,
}
impl Asked {
    fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

fn read_record(wire: &mut Wire) -> Option<(u8, Vec<u8>)> {
    let header = wire.read_exact(8).ok()?;
    assert_eq!((header[0], &header[2..4]), (1, &[0, 1][..]), "version and number");
    let length = usize::from(header[4]) << 8 | usize::from(header[5]);
    let content = wire.read_exact(length).ok()?;
    wire.read_exact(usize::from(header[6])).ok()?;
    Some((header[1], content))
}

/// Reads one request; `None` at the end of the connection.
fn read_request(wire: &mut Wire) -> Option<Asked> {
    let (mut asked, mut params) = (Asked::default(), Vec::new());
    loop {
        let (kind, content) = read_record(wire)?;
        match (kind, content.is_empty()) {
            (1, _) => {
                assert_eq!(content[..2], [0, 1], "a responder");
                asked.keep = content[2] == 1;
            }
            (4, false) => params.extend(content),
            (4, true) => asked.params = pairs(&params),
            (5, false) => asked.body.extend(content),
            (5, true) => return Some(asked),
            other => panic!("a record of kind {}", other.0),
        }
    }
}

fn pairs(mut bytes: &[u8]) -> Vec<(String, String)> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (name, value) = (length(&mut bytes), length(&mut bytes));
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        all.push((text(&bytes[..name]), text(&bytes[name..name + value])));
        bytes = &bytes[name + value..];
    }
    all
}
fn length(bytes: &mut &[u8]) -> usize {
    let (size, rest) = match bytes {
        [short, ..] if *short < 128 => (usize::from(*short), 1),
        [a, b, c, d, ..] => (u32::from_be_bytes([a & 0x7f, *b, *c, *d]) as usize, 4),
        _ => panic!("a cut length"),
    };
    *bytes = &bytes[rest..];
    size
}

fn record(kind: u8, content: &[u8], padding: u8) -> Vec<u8> {
    let length = (content.len() as u16).to_be_bytes();
    let mut all = vec![1, kind, 0, 1, length[0], length[1], padding, 0];
    all.extend(content);
    all.resize(all.len() + usize::from(padding), 0);
    all
}
fn stdout(content: impl AsRef<[u8]>) -> Vec<u8> {
    record(6, content.as_ref(), 0)
}
fn stderr(content: &str) -> Vec<u8> {
    record(7, content.as_bytes(), 3)
}
/// The end of an answer.
fn end() -> Vec<u8> {
    [stdout(""), record(3, &[0; 8], 0)].concat()
}

/// An application that keeps what it was asked and answers always the same.
struct Application {
    origin: Origin,
    asked: Arc<Mutex<Vec<Asked>>>,
}
impl Application {
    fn answering(answer: impl Into<Vec<u8>>) -> Application {
        let answer = answer.into();
        Application::new(move |_, wire| {
            wire.send(&answer).ok();
        })
    }
    fn new(answer: impl Fn(&Asked, &mut Wire) + Send + Sync + 'static) -> Application {
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let list = asked.clone();
        let origin = Origin::wires(move |wire| {
            while let Some(request) = read_request(wire) {
                list.lock().expect("the list").push(request.clone());
                answer(&request, wire);
                if !request.keep {
                    return;
                }
            }
        });
        Application { origin, asked }
    }
    fn last(&self) -> Asked {
        self.asked.lock().expect("the list").last().cloned().expect("a request")
    }
    fn site(&self, text: &str) -> Site {
        Site::new(text).with("APP", self.origin.address())
    }
}

fn ok(body: &str) -> Vec<u8> {
    [stdout(format!("Content-Type: text/plain\r\n\r\n{body}")), end()].concat()
}

/// Runs the test on each server in front of an application that answers so.
fn with_answer(text: &str, answer: impl Into<Vec<u8>>, test: impl Fn(&Server, &Application)) {
    let answer = answer.into();
    each(|binary| {
        let app = Application::answering(answer.clone());
        test(&binary.serve(app.site(text)), &app);
    });
}

#[test]
fn parameters_and_headers() {
    let text = "location / { fastcgi_pass %%APP%%; fastcgi_param A $request_method-$arg_x; \
        fastcgi_param EMPTY $arg_none; fastcgi_param GONE $arg_none if_not_empty; \
        fastcgi_param HTTP_X_SET set; fastcgi_param HTTP_X_HIDDEN ''; fastcgi_param LONG $arg_long; } \
        location /none { fastcgi_pass %%APP%%; fastcgi_pass_request_headers off; fastcgi_param A b; }";
    with_answer(text, ok("yes"), |server, app| {
        let long = "v".repeat(300);
        let fields = [
            ("X-Set", "client's"),
            ("X-Hidden", "h"),
            ("X_y", "1"),
            ("X-Some-Thing", "2"),
            ("Cookie", "c=d"),
        ];
        let response = server.get_with(&format!("/?x=1&long={long}"), &fields);
        assert_eq!((response.status, response.text().as_str()), (200, "yes"));
        assert_eq!(response.header("content-type"), Some("text/plain"));
        let asked = app.last();
        assert!(!asked.keep);
        for (name, value) in [
            ("A", Some("GET-1")),
            ("EMPTY", Some("")),
            ("GONE", None),
            ("HTTP_X_SET", Some("set")),
            ("HTTP_X_HIDDEN", None),
            ("HTTP_X_Y", None),
            ("HTTP_X_SOME_THING", Some("2")),
            ("HTTP_COOKIE", Some("c=d")),
            ("LONG", Some(long.as_str())),
        ] {
            assert_eq!(asked.param(name), value, "{name}: {asked:?}");
        }
        assert_eq!(asked.params.iter().filter(|(name, _)| name.starts_with("HTTP_X_SET")).count(), 1);
        server.get_with("/none", &fields);
        let names: Vec<String> = app.last().params.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names.iter().filter(|name| *name != "HTTP_HOST").collect::<Vec<_>>(), ["A"]);
    });
}

#[test]
fn headers_of_one_name_become_one() {
    let app = Application::answering(ok(""));
    let server = testkit::serve(app.site("location / { fastcgi_pass %%APP%%; }"));
    server.get_with("/", &[("X-A", "1"), ("x-a", "2"), ("Cookie", "a"), ("X-A", "3"), ("Cookie", "b")]);
    let asked = app.last();
    assert_eq!((asked.param("HTTP_X_A"), asked.param("HTTP_COOKIE")), (Some("1, 2, 3"), Some("a; b")));
    assert_eq!(asked.param("HTTP_HOST"), Some("localhost"));
}

#[test]
fn scripts_and_what_is_behind_them() {
    let text = "location / { fastcgi_pass %%APP%%; fastcgi_index index.php; \
        fastcgi_split_path_info ^(.+?\\.php)(/.*)$; \
        fastcgi_param S $fastcgi_script_name; fastcgi_param P $fastcgi_path_info; } \
        location ~ ^/re(.*) { fastcgi_pass %%APP%%; fastcgi_split_path_info ^(/re/)(.*); \
        fastcgi_param S $fastcgi_script_name; fastcgi_param P $fastcgi_path_info; fastcgi_param C $1; }";
    with_answer(text, ok(""), |server, app| {
        for (path, script, info) in [
            ("/a.php", "/a.php", ""),
            ("/a.php/b/c", "/a.php", "/b/c"),
            ("/d/", "/d/index.php", ""),
            ("/a%20b.php/x%3f", "/a b.php", "/x?"),
            ("/re/x", "/re/", "x"),
        ] {
            server.get(path);
            let asked = app.last();
            assert_eq!((asked.param("S"), asked.param("P")), (Some(script), Some(info)), "{path}");
        }
        assert_eq!(app.last().param("C"), Some("/x"));
    });
}

#[test]
fn bodies_arrive_whole() {
    let text = "client_body_buffer_size 1k; location / { fastcgi_pass %%APP%%; fastcgi_param L $content_length; } \
        location /stream { fastcgi_pass %%APP%%; fastcgi_request_buffering off; fastcgi_param L $content_length; } \
        location /not { fastcgi_pass %%APP%%; fastcgi_pass_request_body off; }";
    with_answer(text, ok("got it"), |server, app| {
        let body: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        for (path, size) in [("/", 0), ("/", 10), ("/", 100_000), ("/stream", 10), ("/stream", 300_000)] {
            let response = server.post(path, &body[..size]);
            assert_eq!((response.status, response.text().as_str()), (200, "got it"), "{path} {size}");
            let asked = app.last();
            assert!(asked.body == body[..size], "{path} {size}: {}", asked.body.len());
            let length = if size == 0 { String::new() } else { size.to_string() };
            assert_eq!(asked.param("L"), Some(length.as_str()), "{path} {size}");
        }
        server.post("/not", "nobody wants it");
        assert_eq!(app.last().body, b"");
        for path in ["/", "/stream"] {
            let chunked = "HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
            assert_eq!(server.status(format!("POST {path} {chunked}")), "200");
            assert_eq!(app.last().body, b"hello", "{path}");
            assert!(path == "/stream" || app.last().param("L") == Some("5"));
        }
    });
}

#[test]
fn statuses_and_headers_of_answers() {
    let head = "Status: 404 Nope\r\nX-Powered-By: me\r\nX-Secret: s\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\nsorry";
    // A header may be split anywhere, and be followed by its body in the same record.
    let answer: Vec<u8> =
        head.as_bytes().chunks(7).flat_map(|part| record(6, part, 5)).chain(end()).collect();
    with_answer("location / { fastcgi_pass %%APP%%; fastcgi_hide_header X-Secret; }", answer, |server, _| {
        let response = server.get("/");
        assert_eq!(
            (response.status, response.reason.as_str(), response.text().as_str()),
            (404, "Nope", "sorry")
        );
        assert_eq!((response.header("x-powered-by"), response.header("x-secret")), (Some("me"), None));
        assert_eq!((response.all("set-cookie"), response.header("status")), (vec!["a=1", "b=2"], None));
    });
    with_answer(
        "location / { fastcgi_pass %%APP%%; }",
        [stdout("Location: /x\r\n\r\n"), end()].concat(),
        |server, _| {
            let response = server.get("/");
            assert_eq!((response.status, response.header("location")), (302, Some("/x")));
            assert_eq!(response.reason, "Moved Temporarily");
        },
    );
    let known = [stdout("Content-Length: 5\r\n\r\n12345"), end()].concat();
    with_answer("location / { fastcgi_pass %%APP%%; }", known, |server, _| {
        let mut client = server.client();
        let response = client.get("/");
        assert_eq!((response.header("content-length"), response.text().as_str()), (Some("5"), "12345"));
        assert_eq!(client.request("HEAD", "/", &[], b"").header("content-length"), Some("5"));
        assert_eq!(client.get("/").text(), "12345");
    });
}

#[test]
fn what_an_application_says_on_its_standard_error() {
    let answer = [
        stderr("PHP message: oops:\n#0 {main}\n  thrown.\n\n"),
        stdout("A: b\r\n\r\nbody"),
        stderr("late "),
        end(),
    ]
    .concat();
    with_answer("location / { fastcgi_pass %%APP%%; }", answer, |server, _| {
        assert_eq!(server.get("/").text(), "body");
        let last = server.error_log().wait_for("  thrown\"");
        assert!(last.contains(", upstream: \"fastcgi://127.0.0.1:"), "{last}");
        let text = server.error_log().text();
        assert!(
            text.contains("FastCGI sent in stderr: \"PHP message: oops:\n#0 {main}\n  thrown\""),
            "{text}"
        );
        server.error_log().wait_for("FastCGI sent in stderr: \"late\"");
    });
}

/// `$upstream_response_length`: all from the end of the part on in which the head ends, and what is left of that part.
#[test]
fn the_length_of_an_answer_counts_its_records() {
    let head = "Content-Type: text/plain\r\n\r\n";
    let text = "log_format l '$upstream_response_length'; access_log logs/access.log l;
        server { listen 127.0.0.1:%%PORT%%; location / { fastcgi_pass %%APP%%; } }";
    let answers: [(Vec<u8>, &str); 4] = [
        (ok("hello"), "29"),
        (
            [stderr("oops"), record(6, format!("{head}hello").as_bytes(), 3), record(6, b"world", 5), end()]
                .concat(),
            "50",
        ),
        (
            [stdout("Content-"), stdout(&head["Content-".len()..]), stdout("hello"), stderr("oops"), end()]
                .concat(),
            "52",
        ),
        ([stdout(head), stdout("x".repeat(30_000)), stdout("y".repeat(30_000)), end()].concat(), "60040"),
    ];
    for (answer, length) in answers {
        with_answer(text, answer, |server, _| {
            assert_eq!(server.get("/").status, 200);
            assert_eq!(server.access_log().wait_lines(1), [length]);
        });
    }
}

#[test]
fn answers_that_are_none() {
    for (answer, error) in [
        (b"\x02".to_vec(), "upstream sent unsupported FastCGI protocol version: 2"),
        (b"\x01\x0a".to_vec(), "upstream sent invalid FastCGI record type: 10"),
        (b"\x01\x06\x00\x02".to_vec(), "upstream sent unexpected FastCGI request id low byte: 2"),
        (stdout(""), "upstream prematurely closed FastCGI stdout"),
        (record(3, &[0; 8], 0), "upstream sent unexpected FastCGI record: 3"),
        (stdout("Status: none\r\n\r\n"), "upstream sent invalid status \"none\""),
        (stdout("X: y\r\n"), "upstream prematurely closed connection"),
        (stderr("only this"), "FastCGI sent in stderr: \"only this\""),
    ] {
        with_answer("location / { fastcgi_pass %%APP%%; }", answer, |server, _| {
            assert_eq!(server.get("/").status, 502, "{error}");
            server.error_log().wait_for(&format!("{error} while reading response header from upstream"));
        });
    }
}

#[test]
fn an_answer_that_ends_too_early() {
    let answer = [stdout("Content-Length: 10\r\n\r\n12345"), end()].concat();
    with_answer("location / { fastcgi_pass %%APP%%; }", answer, |server, _| {
        let mut client = server.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(client.read_to_end().ends_with(b"\r\n\r\n12345"));
        server.error_log().wait_for("upstream prematurely closed FastCGI stdout while reading upstream");
    });
}

#[test]
fn what_comes_behind_the_announced_length_is_said() {
    for head in ["Content-Length: 5", "Status: 204 No", "Content-Length: 0"] {
        let answer = [stdout(format!("{head}\r\n\r\nhelloMORE")), end()].concat();
        with_answer("location / { fastcgi_pass %%APP%%; }", answer, |server, _| {
            let body = if head.ends_with('5') { "hello" } else { "" };
            assert_eq!(server.get("/").text(), body);
            server.error_log().wait_for(
                "upstream sent more data than specified in \"Content-Length\" header while reading upstream, ",
            );
        });
    }
}

/// What is no status of an answer goes on as it came. Not compared: Debian's sends no reason with a number alone.
#[test]
fn a_status_that_is_a_number_alone_has_the_usual_words() {
    for (status, line) in
        [("404", "404 Not Found"), ("200 Fine", "200 Fine"), ("103", "103 "), ("299", "299 ")]
    {
        let origin = Origin::wires(move |wire| {
            while read_request(wire).is_some() {
                let answer = [stdout(format!("Status: {status}\r\n\r\nhello")), end()].concat();
                if wire.send(answer).is_err() {
                    return;
                }
            }
        });
        let text = "location / { fastcgi_pass %%APP%%; }";
        let server = testkit::serve(Site::new(text).with("APP", origin.address()));
        let got = server.raw("GET / HTTP/1.0\r\n\r\n");
        let got = String::from_utf8_lossy(&got);
        assert!(got.starts_with(&format!("HTTP/1.1 {line}\r\n")) && got.ends_with("\r\n\r\nhello"), "{got}");
    }
}

#[test]
fn connections_are_kept_where_both_sides_want() {
    let text = "upstream app { server %%APP%%; keepalive 4; } \
        server { listen 127.0.0.1:%%PORT%%; fastcgi_keep_conn on; location / { fastcgi_pass app; } }";
    with_answer(text, ok("kept"), |server, app| {
        for _ in 0..3 {
            assert_eq!(server.get("/").text(), "kept");
            assert!(app.last().keep);
        }
        assert_eq!(app.origin.connections(), 1);
    });
}

#[test]
fn another_application_is_asked() {
    each(|binary| {
        let bad = Application::answering([stderr("PHP Fatal error: x"), ok("never seen")].concat());
        let busy = Application::answering([stdout("Status: 503 Busy\r\n\r\n"), end()].concat());
        let good = Application::answering(ok("good"));
        let text = "upstream app { server %%BAD%%; server %%BUSY%%; server %%APP%%; } \
            server { listen 127.0.0.1:%%PORT%%; fastcgi_catch_stderr 'PHP Fatal'; \
            fastcgi_next_upstream error invalid_header http_503; location / { fastcgi_pass app; } }";
        let site = good.site(text).with("BAD", bad.origin.address()).with("BUSY", busy.origin.address());
        let server = binary.serve(site);
        assert_eq!(server.get("/").text(), "good");
        server.error_log().wait_for("FastCGI sent in stderr: \"PHP Fatal error: x\"");
        assert_eq!(bad.asked.lock().expect("the list").len(), 1);
    });
}

#[test]
fn answers_from_elsewhere() {
    let text = "location / { fastcgi_pass %%APP%%; fastcgi_intercept_errors on; error_page 404 /sorry; } \
        location = /sorry { return 200 'not here'; } location /files/ { internal; alias html/; }";
    with_answer(text, [stdout("Status: 404\r\n\r\nno"), end()].concat(), |server, _| {
        let response = server.get("/");
        assert_eq!((response.status, response.text().as_str()), (404, "not here"));
    });
    let answer = [stdout("X-Accel-Redirect: /files/a.txt\r\nContent-Type: text/x\r\n\r\n"), end()].concat();
    with_answer(text, answer, |server, _| {
        server.write("html/a.txt", "from a file");
        let response = server.get("/");
        assert_eq!(
            (response.text().as_str(), response.header("content-type")),
            ("from a file", Some("text/x"))
        );
    });
}

#[test]
fn large_answers_buffered_or_not() {
    let body: Vec<u8> = (0..700_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut answer = stdout("Content-Type: x/y\r\n\r\n");
    body.chunks(65_535).for_each(|part| answer.extend(record(6, part, 1)));
    answer.extend(end());
    let text = "location / { fastcgi_pass %%APP%%; } \
        location /direct { fastcgi_pass %%APP%%; fastcgi_buffering off; }";
    with_answer(text, answer, |server, _| {
        for path in ["/", "/direct"] {
            assert!(server.get(path).body == body, "{path}");
        }
    });
}

#[test]
fn addresses_with_variables_and_redirects_to_slash() {
    let text = "location / { fastcgi_pass $arg_to; } location /d/ { fastcgi_pass %%APP%%; }";
    with_answer(text, ok("there"), |server, app| {
        assert_eq!(server.get(&format!("/?to={}", app.origin.address())).text(), "there");
        assert_eq!(server.get("/d").status, 301);
        assert_eq!(server.get("/?to=nobody.invalid:1").status, 502);
        server.error_log().wait_for("no resolver defined to resolve nobody.invalid");
    });
}

#[test]
fn a_client_that_leaves_frees_the_application() {
    each(|binary| {
        let app = Application::new(|_, wire| {
            wire.send(stdout("A: b\r\n\r\nbegun")).ok();
            wire.read_what_comes();
        });
        let server = binary.serve(app.site("location / { fastcgi_pass %%APP%%; fastcgi_buffering off; }"));
        let mut client = server.client();
        client.send("GET / HTTP/1.0\r\n\r\n");
        eventually("the answer begins", || client.read(1) == b"n");
        client.reset();
        app.origin.wait_open(0);
    });
}

#[test]
fn mistakes_in_the_configuration() {
    each(|binary| {
        for (text, error) in [
            ("location / { fastcgi_pass 127.0.0.1; }", "no port in upstream \"127.0.0.1\""),
            ("location / { fastcgi_pass unix:; }", "no path in the unix domain socket in upstream \"unix:\""),
            ("location / { fastcgi_pass a:1; fastcgi_pass a:1; }", "\"fastcgi_pass\" directive is duplicate"),
            ("fastcgi_param A b sometimes;", "invalid parameter \"sometimes\""),
            ("location / { fastcgi_split_path_info ^(.+)$; }", "pattern \"^(.+)$\" must have 2 captures"),
            ("fastcgi_buffers 1 4k;", "there must be at least 2 \"fastcgi_buffers\""),
        ] {
            let exit = binary.check(Site::new(format!("{text} location /x {{ fastcgi_pass 127.0.0.1:1; }}")));
            assert!(exit.stderr.contains(error), "{text}: {}", exit.stderr);
        }
    });
}

#[test]
fn name_and_date_are_the_servers_unless_the_application_has_its_own() {
    let own = "Content-Type: text/plain\r\nServer: app\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\nyes";
    with_answer("location / { fastcgi_pass %%APP%%; }", ok("yes"), |server, _| {
        let answer = server.get("/");
        assert!(answer.header("server").is_some_and(|name| name.starts_with(server.binary().name())));
        assert!(answer.header("date").is_some_and(|date| !date.contains("1970")));
    });
    with_answer("location / { fastcgi_pass %%APP%%; }", [stdout(own), end()].concat(), |server, _| {
        let answer = server.get("/");
        assert_eq!(answer.all("server"), ["app"]);
        assert_eq!(answer.all("date"), ["Thu, 01 Jan 1970 00:00:00 GMT"]);
    });
}

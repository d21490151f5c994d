//! How answers go out: rates, pieces, ways to read files.
#![forbid(unsafe_code)]

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use testkit::http2::{Frames, kind};
use testkit::{Origin, Site, each, on_both, serve};

#[test]
fn limit_rate_makes_a_client_wait() {
    let text = "sendfile_max_chunk 20k; location /fixed/ { alias html/; limit_rate 400k; } \
                location /set/ { alias html/; set $limit_rate 400k; } \
                location /given/ { alias html/; limit_rate $arg_rate; }";
    for sendfile in ["on", "off"] {
        on_both(format!("sendfile {sendfile}; {text}"), |server| {
            let content = vec![b'x'; 50 << 10];
            server.write("html/file", &content);
            for target in ["/fixed/file", "/set/file", "/given/file?rate=400k"] {
                let begun = Instant::now();
                assert!(server.get(target).body == content, "{target}");
                // 50 ms after each of two pieces.
                assert!(begun.elapsed() >= Duration::from_millis(90), "{target}: {:?}", begun.elapsed());
            }
        });
    }
}

#[test]
fn the_beginning_may_go_out_at_once() {
    let text = "location / { limit_rate 1k; limit_rate_after 10m; } \
                location /given/ { alias html/; limit_rate 1k; limit_rate_after $arg_after; }";
    on_both(text, |server| {
        let content = vec![b'x'; 100 << 10];
        server.write("html/file", &content);
        // At the configured rate either would last longer than a test waits.
        assert!(server.get("/file").body == content);
        assert!(server.get("/given/file?after=10m").body == content);
    });
}

#[test]
fn the_rate_is_a_variable() {
    let text = "log_format rate \"$uri <$limit_rate>\"; access_log logs/rate.log rate; \
                server { listen 127.0.0.1:%%PORT%%; \
                location / { limit_rate 5k; return 200 $limit_rate; } \
                location /none { return 200 $limit_rate; } \
                location /set { limit_rate 5k; set $limit_rate 1m; return 200 $limit_rate; } \
                location /bad { set $limit_rate 1x; return 200 \"<$limit_rate>\"; } \
                location /arg { limit_rate $arg_rate; return 200 $limit_rate; } }";
    on_both(text, |server| {
        for (target, rate, logged) in [
            ("/", "0", "/ <5120>"),
            ("/none", "0", "/none <0>"),
            ("/set", "1048576", "/set <1048576>"),
            ("/bad", "<0>", "/bad <0>"),
            ("/arg?rate=2k", "0", "/arg <2048>"),
            ("/arg", "0", "/arg <0>"),
            ("/arg?rate=zz", "0", "/arg <0>"),
        ] {
            assert_eq!(server.get(target).text(), rate, "{target}");
            server.log("logs/rate.log").wait_for(logged);
        }
        server.error_log().wait_for("invalid $limit_rate \"1x\", client: 127.0.0.1");
        server.error_log().wait_for("invalid size \"zz\", client: 127.0.0.1");
    });
}

#[test]
fn an_upstream_says_the_rate() {
    let origin = Origin::new(|exchange| {
        let rate = exchange.request.target.rsplit('/').next().unwrap_or_default();
        let to = if exchange.request.target.starts_with("/to") { "X-Accel-Redirect: /own\r\n" } else { "" };
        exchange.send(format!(
            "HTTP/1.1 200 OK\r\nX-Accel-Limit-Rate: {rate}\r\n{to}Content-Length: 60000\r\n\r\n"
        ));
        exchange.send("x".repeat(60_000));
    });
    let text = "log_format rate \"$uri <$limit_rate>\"; access_log logs/rate.log rate; limit_rate 1; \
                server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%ORIGIN%%; } \
                location /to/ { proxy_pass http://%%ORIGIN%%; } location = /own { return 200 own; } \
                location /ignored/ { proxy_ignore_headers X-Accel-Limit-Rate; limit_rate 9m; proxy_pass http://%%ORIGIN%%; } }";
    each(|binary| {
        let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
        for (target, length, logged) in [
            // At the configured rate this would take a day.
            ("/1000000", 60_000, "/1000000 <1000000>"),
            ("/0", 60_000, "/0 <0>"),
            ("/to/2000000", 3, "/own <2000000>"),
            ("/ignored/1", 60_000, "/ignored/1 <9437184>"),
        ] {
            let answer = server.get(target);
            assert_eq!(answer.body.len(), length, "{target}");
            assert_eq!(answer.header("x-accel-limit-rate"), None, "{target}");
            server.log("logs/rate.log").wait_for(logged);
        }
    });
}

#[test]
fn files_past_the_cache_and_in_pieces() {
    for way in
        ["directio 1;", "directio 4k; directio_alignment 4k;", "directio off; read_ahead 1k; aio threads;"]
    {
        for sendfile in ["on", "off"] {
            on_both(format!("sendfile {sendfile}; aio_write off; output_buffers 2 64k; {way}"), |server| {
                let content: Vec<u8> = (0..80_001_u32).flat_map(u32::to_le_bytes).collect();
                server.write("html/file", &content);
                let mut client = server.client();
                assert!(client.get("/file").body == content, "{way}");
                for (range, part) in
                    [("1-7", 1..8), ("4095-70000", 4095..70_001), ("319999-", 319_999..320_004)]
                {
                    let response =
                        client.request("GET", "/file", &[("Range", &format!("bytes={range}"))], b"");
                    assert!(response.body == content[part], "{way} {range}");
                }
            });
        }
    }
}

#[test]
fn a_deadline_of_the_head_does_not_end_the_answer() {
    let origin = Origin::new(|exchange| {
        // Longer than the head's deadline, which is looked at every 32 ms.
        std::thread::sleep(Duration::from_millis(250));
        exchange.ok(vec![b'x'; 16 << 20]);
    });
    let text = "client_header_timeout 100ms; proxy_max_temp_file_size 0; location / { proxy_pass http://%%ORIGIN%%; }";
    each(|binary| {
        let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
        assert_eq!(server.get("/").body.len(), 16 << 20);
    });
}

#[test]
fn what_is_wrong_is_said_as_nginx_says_it() {
    for (text, said) in [
        ("limit_rate 1x;", "\"limit_rate\" directive invalid value"),
        ("limit_rate 1; limit_rate 2;", "\"limit_rate\" directive is duplicate"),
        ("sendfile_max_chunk 1x;", "\"sendfile_max_chunk\" directive invalid value"),
        ("output_buffers 0 1k;", "\"output_buffers\" directive invalid value"),
        ("aio threads=none;", "unknown thread pool \"none\""),
        ("directio x;", "\"directio\" directive invalid value"),
    ] {
        each(|binary| {
            let exit = binary.refuses(text);
            assert!(exit.stderr.contains(said), "{text}: {}", exit.stderr);
        });
    }
    for (text, said) in [
        ("thread_pool a;", "invalid number of arguments in \"thread_pool\" directive"),
        ("thread_pool a max_queue=1;", "\"thread_pool\" must have \"threads\" parameter"),
        ("thread_pool a threads=0;", "invalid threads value \"threads=0\""),
        ("thread_pool a threads=1; thread_pool a threads=1;", "duplicate thread pool \"a\""),
    ] {
        each(|binary| {
            let exit = binary.refuses(format!("{text} http {{ server {{}} }}"));
            assert!(exit.stderr.contains(said), "{text}: {}", exit.stderr);
        });
    }
}

#[test]
fn a_declared_pool_may_be_used() {
    let text = "thread_pool slow threads=4 max_queue=100;\n\
                http { aio threads=slow; server { listen 127.0.0.1:%%PORT%%; } }";
    on_both(text, |server| {
        server.write("html/file", "content");
        assert_eq!(server.get("/file").text(), "content");
    });
}

#[test]
fn settings_of_nginx_insides_are_taken() {
    let text = "connection_pool_size 512; request_pool_size 4k; subrequest_output_buffer_size 4k; \
                client_body_in_single_buffer on; postpone_output 0; send_lowat 0; return 200 fine;";
    on_both(text, |server| assert_eq!(server.get("/").text(), "fine"));
}

#[test]
fn one_header_line_too_many() {
    let server = serve("max_headers 3; return 200 fine;");
    let lines = |n: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(n - 1));
    assert_eq!(server.client().request("GET", "/", &[], b"").status, 200);
    assert_eq!(server.status(lines(4)), "400");
    server.error_log().wait_for("client sent too many header lines");
}

#[test]
fn early_hints_go_on() {
    let origin = Origin::answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nX-Hidden: h\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let text = "proxy_hide_header X-Hidden; location / { early_hints $arg_h; proxy_pass http://%%ORIGIN%%; } \
                location /never { proxy_pass http://%%ORIGIN%%; }";
    let server = serve(Site::new(text).with("ORIGIN", origin.address()));
    let answer = |target: &str, version: &str| {
        server.normal(format!("GET {target} HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n"))
    };
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\n";
    assert!(answer("/?h=1", "1.1").starts_with(hints), "{}", answer("/?h=1", "1.1"));
    for (target, version) in [("/?h=0", "1.1"), ("/", "1.1"), ("/never", "1.1"), ("/?h=1", "1.0")] {
        let answer = answer(target, version);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("ok"), "{target}: {answer}");
    }
}

#[test]
fn early_hints_go_on_over_http2() {
    let origin = Origin::answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: close\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let text = "http2 on; location / { early_hints $arg_h; proxy_pass http://%%ORIGIN%%; }";
    let server = serve(Site::new(text).with("ORIGIN", origin.address()));
    let mut client = Frames::connect(&server, &[]);
    client.request(1, "GET", "/?h=1", &[], true);
    let hints = client.wait(kind::HEADERS, 1).payload;
    // A status of three digits that is not in HPACK's table, then `link`, which is.
    assert!(hints.windows(3).any(|text| text == b"103") || hints.len() > 20, "{hints:?}");
    let answer = client.answer(1);
    assert_eq!((answer.0, &answer.1[..]), (0x88, &b"ok"[..]));
    client.request(3, "GET", "/?h=0", &[], true);
    assert_eq!(client.wait(kind::HEADERS, 3).payload[0], 0x88);
}

#[test]
fn what_the_kernel_knows_of_a_connection() {
    on_both("return 200 \"$tcpinfo_rtt $tcpinfo_rttvar $tcpinfo_snd_cwnd $tcpinfo_rcv_space\";", |server| {
        let text = server.get("/").text();
        let values: Vec<u64> = text.split(' ').map(|word| word.parse().expect(&text)).collect();
        assert!(values.len() == 4 && values[2] > 0 && values[3] > 0, "{text}");
    });
    let text = "server { listen unix:%%DIR%%/s; return 200 \"<$tcpinfo_rtt>\"; } server { listen %%PORT%%; }";
    on_both(text, |server| {
        assert_eq!(server.client_unix("s").get("/").text(), "<>");
    });
}

#[test]
fn a_shutdown_leaves_idle_connections_for_a_while() {
    let server =
        serve("location / { keepalive_min_timeout 1h; return 200 x; } location /other { return 200 x; }");
    let (mut kept, mut other) = (server.client(), server.client());
    kept.get("/");
    other.get("/other");
    server.signal(Signal::QUIT);
    // Longer than others have for one more request.
    other.expect_close();
    kept.wire().set_timeout(Duration::from_millis(100));
    let silent = kept.wire().read_some(1).expect_err("it is open and silent").kind();
    assert!(matches!(silent, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{silent}");
    kept.wire().set_timeout(testkit::PATIENCE);
    assert_eq!(kept.get("/").header("connection"), Some("close"));
    kept.expect_close();
}

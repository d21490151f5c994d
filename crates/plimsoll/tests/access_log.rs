//! `access_log` and `log_format`: which lines are written where, and what is in them.
#![forbid(unsafe_code)]

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::process::Signal;
use testkit::{Binary, Server, Site, each, eventually, on_both};

const STATUSES: &str = "location / { return 200 hello; } location /missing { return 404; }";

/// The end of a request that closes its connection.
const CLOSE: &str = " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

fn http(more: &str, server: &str) -> String {
    format!("{more}\nserver {{ listen 127.0.0.1:%%PORT%%; server_name srv; {server} }}")
}

#[test]
fn combined_is_what_there_is_without_a_format() {
    on_both(STATUSES, |server| {
        let request = "GET /a?b HTTP/1.1\r\nHost: a\r\nReferer: http://x/\"\r\nUser-Agent: me\\é\r\n\
                       Authorization: Basic dXNlcjpwdw==\r\nConnection: close\r\n\r\n";
        server.raw(request);
        let line = server.access_log().wait_lines(1).remove(0);
        let (before, rest) = line.split_once('[').expect("a time");
        let (time, after) = rest.split_once(']').expect("a time's end");
        assert_eq!(before, "127.0.0.1 - user ");
        assert_eq!(time.len(), "06/Nov/1994:08:49:37 +0000".len(), "{time}");
        assert_eq!(after, " \"GET /a?b HTTP/1.1\" 200 5 \"http://x/\\x22\" \"me\\x5C\\xC3\\xA9\"");
    });
}

#[test]
fn requests_that_come_together_have_their_lines_in_order() {
    on_both(http("log_format u '$request_uri'; access_log logs/u u;", STATUSES), |server| {
        let text: String = (0..300).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
        let mut client = server.client();
        client.send(text.as_bytes());
        (0..300).for_each(|_| drop(client.response()));
        let expected: Vec<String> = (0..300).map(|n| format!("/{n}")).collect();
        assert_eq!(server.log("logs/u").wait_lines(300), expected);
    });
}

#[test]
fn values_are_escaped_as_the_format_says() {
    let formats = "log_format d '\"$request\" $http_x \"$http_none\"';
        log_format j escape=json '{\"r\":\"$request\",\"x\":\"$http_x\",\"n\":\"$http_none\"}';
        log_format n escape=none '$request' ' ' '${http_x}y$http_none';
        access_log logs/d d; access_log logs/j j; access_log logs/n n;";
    on_both(http(formats, STATUSES), |server| {
        server.raw("GET /\"\\ HTTP/1.1\r\nHost: a\r\nX: a\tb\"\\\r\nConnection: close\r\n\r\n");
        assert_eq!(
            server.log("logs/d").wait_lines(1),
            ["\"GET /\\x22\\x5C HTTP/1.1\" a\\x09b\\x22\\x5C \"-\""]
        );
        let json = r#"{"r":"GET /\"\\ HTTP/1.1","x":"a\tb\"\\","n":""}"#;
        assert_eq!(server.log("logs/j").wait_lines(1), [json]);
        assert_eq!(server.log("logs/n").wait_lines(1), ["GET /\"\\ HTTP/1.1 a\tb\"\\y"]);
    });
}

#[test]
fn a_level_with_logs_of_its_own_takes_none_from_around_it() {
    let site = http(
        "log_format u $uri; access_log logs/outer u;",
        "location / { return 200; }
         location /own { access_log logs/own u; access_log logs/second u; return 200; }
         location /off { access_log off; return 200; }
         location /both { access_log logs/never u; access_log off; return 200; }",
    );
    on_both(site, |server| {
        for target in ["/a", "/own", "/off", "/both", "/b"] {
            assert_eq!(server.get(target).status, 200);
        }
        assert_eq!(server.log("logs/outer").wait_lines(2), ["/a", "/b"]);
        assert_eq!(server.log("logs/own").wait_lines(1), ["/own"]);
        assert_eq!(server.log("logs/second").wait_lines(1), ["/own"]);
        assert_eq!(server.log("logs/never").text(), "");
    });
}

#[test]
fn blocks_inside_a_location_have_logs_of_their_own() {
    let site = http(
        "log_format u $uri; access_log logs/outer u;",
        "location / { if ($arg_off) { access_log off; } if ($arg_own) { access_log logs/own u; } return 200; }
         location /limited { limit_except GET { access_log logs/limited u; } root html; }",
    );
    on_both(site, |server| {
        for target in ["/a", "/b?off=1", "/c?own=1", "/d"] {
            server.get(target);
        }
        server.get("/limited");
        server.request("DELETE", "/limited/delete", &[], b"");
        assert_eq!(server.log("logs/limited").wait_lines(1), ["/limited/delete"]);
        assert_eq!(server.log("logs/own").wait_lines(1), ["/c"]);
        assert_eq!(server.log("logs/outer").wait_lines(3), ["/a", "/d", "/limited"]);
    });
}

#[test]
fn a_condition_chooses_the_requests() {
    let site = http(
        "log_format u $uri; access_log logs/if u if=$arg_log; access_log logs/all u;",
        "location / { return 200; }",
    );
    on_both(site, |server| {
        for target in ["/1?log=1", "/2?log=0", "/3?log=", "/4", "/5?log=00", "/6?log=x"] {
            server.get(target);
        }
        server.log("logs/all").wait_lines(6);
        assert_eq!(server.log("logs/if").wait_lines(3), ["/1", "/5", "/6"]);
    });
}

#[test]
fn a_path_with_variables_is_a_file_for_each_value() {
    let site = http(
        "log_format u $uri; access_log logs/by-$arg_who.log u;",
        "root html; location / { return 200; } location /nowhere { root missing; return 200; }",
    );
    on_both(site, |server| {
        for target in ["/1?who=a", "/2?who=b", "/3?who=a", "/nowhere?who=c", "/4?who=x/y", "/5?who=b"] {
            server.get(target);
        }
        assert_eq!(server.log("logs/by-a.log").wait_lines(2), ["/1", "/3"]);
        assert_eq!(server.log("logs/by-b.log").wait_lines(2), ["/2", "/5"]);
        let line = server.error_log().wait_for("existence failed");
        assert!(line.contains(
            "missing\" existence failed (2: No such file or directory) while logging request, client"
        ));
        assert!(!server.path("logs/by-c.log").exists());
        let line = server.error_log().wait_for("logs/by-x/y.log");
        assert!(line.contains("[crit]") && line.contains("open() "), "{line}");
    });
}

#[test]
fn buffered_lines_come_together() {
    let site = http(
        "log_format u $uri; access_log logs/buffered u buffer=4k; access_log logs/flushed u buffer=4k flush=50ms;
         access_log logs/all u;",
        "location / { return 200; }",
    );
    on_both(site, |server| {
        let mut client = server.client();
        client.get("/first");
        assert_eq!(server.log("logs/flushed").wait_lines(1), ["/first"]);
        assert_eq!(server.log("logs/buffered").text(), "");
        let name = "n".repeat(1100);
        for i in 0..4 {
            client.get(&format!("/{i}{name}"));
        }
        let lines = ["first".to_owned()].into_iter().chain((0..4).map(|i| format!("{i}{name}")));
        let expected: Vec<String> = lines.map(|line| format!("/{line}")).collect();
        // The last one did not fit behind the others.
        assert_eq!(server.log("logs/buffered").wait_lines(4), expected[..4]);
        assert_eq!(server.log("logs/flushed").wait_lines(5), expected);
    });
}

#[test]
fn buffered_lines_are_written_at_the_end() {
    each(|binary| {
        let site =
            http("log_format u $uri; access_log logs/buffered u buffer=4k;", "location / { return 200; }");
        let mut server = binary.serve(site);
        server.get("/last");
        assert_eq!(server.log("logs/buffered").text(), "");
        server.stop();
        assert_eq!(server.log("logs/buffered").lines(), ["/last"]);
    });
}

#[test]
fn a_reopened_log_is_another_file() {
    let site = http(
        "log_format u $uri; access_log logs/a u; access_log logs/b u buffer=4k;",
        "location / { return 200; }",
    );
    on_both(site, |server| {
        server.get("/old");
        server.log("logs/a").wait_lines(1);
        for name in ["a", "b"] {
            let from = server.path(&format!("logs/{name}"));
            std::fs::rename(from, server.path(&format!("logs/{name}.1"))).expect("the log can be renamed");
        }
        server.signal(Signal::USR1);
        eventually("the logs are there again", || {
            server.path("logs/a").exists() && server.path("logs/b").exists()
        });
        assert_eq!(server.log("logs/b.1").wait_lines(1), ["/old"]);
        eventually("lines go to the new file", || {
            server.get("/new");
            !server.log("logs/a").text().is_empty()
        });
        assert!(server.log("logs/a").lines().iter().all(|line| line == "/new"));
    });
}

/// Requests that never became one are logged too.
#[test]
fn broken_requests_are_logged() {
    let formats =
        "log_format b '$status $body_bytes_sent|$request|$uri|$host|$request_method|$request_completion|';
        access_log logs/b b;";
    on_both(http(formats, "location / { return 200 hello; }"), |server| {
        let log = |n: usize| server.log("logs/b").wait_lines(n).remove(n - 1);
        server.raw(format!("GET /{CLOSE}"));
        assert_eq!(log(1), "200 5|GET / HTTP/1.1|/|a|GET|OK|");
        let mut client = server.client();
        client.send("GET / HT");
        client.half_close();
        client.expect_close();
        assert_eq!(log(2), "400 0|GET / HT|-|srv|-||");
        let mut client = server.client();
        client.send("GET /x HTTP/1.1\r\nHost: q\r\nX: ");
        client.half_close();
        client.expect_close();
        assert_eq!(log(3), "400 0|GET /x HTTP/1.1|/x|q|GET||");
        server.raw("X\x01 / HTTP/1.1\r\n\r\n");
        assert!(log(4).ends_with("|X\\x01 / HTTP/1.1|-|srv|-|OK|"), "{}", log(4));
        server.raw("GET /y HTTP/1.1\r\nHost: a b\r\n\r\n");
        assert!(log(5).ends_with("|GET /y HTTP/1.1|/y|srv|GET|OK|"), "{}", log(5));
    });
}

#[test]
fn a_reload_writes_what_waits_for_a_log_that_is_gone() {
    let with =
        |log: &str| http(&format!("log_format u $uri; access_log {log};"), "location / { return 200; }");
    on_both(with("logs/old u buffer=4k"), |server| {
        server.get("/old");
        assert_eq!(server.log("logs/old").text(), "");
        server.reload(&with("logs/new u"));
        assert_eq!(server.log("logs/old").wait_lines(1), ["/old"]);
        server.get("/new");
        assert_eq!(server.log("logs/new").wait_lines(1), ["/new"]);
    });
}

fn receive(socket: &UdpSocket) -> String {
    let mut bytes = [0; 4096];
    let n = socket.recv(&mut bytes).expect("a message");
    String::from_utf8_lossy(&bytes[..n]).into_owned()
}

/// `<190>Nov  6 08:49:37 `, and what follows.
fn split_syslog(message: &str) -> (&str, &str) {
    let after = message.find('>').expect("a priority") + 1;
    let (priority, rest) = message.split_at(after);
    assert_eq!((&rest[3..4], &rest[6..7], &rest[15..16]), (" ", " ", " "), "{message}");
    (priority, &rest[16..])
}

#[test]
fn syslog_over_udp() {
    each(|binary| {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.set_read_timeout(Some(testkit::PATIENCE)).expect("a time limit");
        let site = Site::new(http(
            "log_format u '$uri \"$http_none\"'; access_log syslog:server=%%SYSLOG%%,nohostname u;
             access_log syslog:server=%%SYSLOG%%,facility=mail,severity=warn,tag=web u;",
            "location / { return 200; }",
        ))
        .with("SYSLOG", socket.local_addr().expect("an address"));
        let server = binary.serve(site);
        server.get("/a");
        assert_eq!(split_syslog(&receive(&socket)), ("<190>", "nginx: /a \"-\""));
        let host = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
        assert_eq!(split_syslog(&receive(&socket)), ("<20>", format!("{host} web: /a \"-\"").as_str()));
    });
}

#[test]
fn syslog_that_takes_nothing_holds_up_nobody() {
    each(|binary: Binary| {
        let folder =
            std::env::temp_dir().join(format!("plimsoll-syslog-{}-{}", binary.name(), std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("socket");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        open_to_all(&folder, &path);
        let site = Site::new(http(
            "log_format u $uri; access_log syslog:server=unix:%%SYSLOG%% u;",
            "location / { return 200 hello; }",
        ))
        .with("SYSLOG", path.display());
        let server: Server = binary.serve(site);
        let mut client = server.client();
        // More than any queue of a datagram socket holds, unless somebody reads.
        for i in 0..1000 {
            assert_eq!(client.get(&format!("/{i}")).text(), "hello");
        }
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a time limit");
        let mut bytes = [0; 1000];
        let n = socket.recv(&mut bytes).expect("the first message");
        assert!(bytes[..n].ends_with(b" nginx: /0"));
        std::fs::remove_dir_all(&folder).expect("the folder goes");
    });
}

#[test]
fn that_a_syslog_server_is_not_there_is_said() {
    each(|binary| {
        let server = binary.serve(Site::new(http(
            "access_log syslog:server=unix:%%DIR%%/nobody;",
            "location / { return 200 hello; }",
        )));
        assert_eq!(server.get("/a").text(), "hello");
        let line = server.error_log().wait_for("connect() failed (2: No such file or directory)");
        assert!(line.contains("[alert]"), "{line}");
        let line =
            server.error_log().wait_for("send() to syslog failed while logging request, client: 127.0.0.1");
        assert!(line.contains("[warn]"), "{line}");
    });
}

fn open_to_all(folder: &std::path::Path, socket: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    for path in [folder, socket] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).expect("permissions");
    }
}

#[test]
fn faults_in_the_words_of_nginx() {
    for (directives, message) in [
        ("access_log off x;", "invalid parameter \"x\" in"),
        ("access_log l buffer=32k;", "unknown log format \"buffer=32k\" in"),
        ("access_log l combined buffer=0;", "invalid buffer size \"0\" in"),
        ("access_log l combined flush=x buffer=1k;", "invalid flush time \"x\" in"),
        ("access_log l combined flush=1s;", "no buffer is defined for access_log \"l\" in"),
        ("access_log l combined bogus;", "invalid parameter \"bogus\" in"),
        ("access_log l$host combined buffer=1k;", "buffered logs cannot have variables in name in"),
        (
            "access_log l combined buffer=1k; access_log l combined buffer=2k;",
            "access_log \"l\" already defined with conflicting parameters in",
        ),
        ("access_log syslog:server=127.0.0.1 combined buffer=1k;", "logs to syslog cannot be buffered in"),
        ("access_log syslog:server=127.0.0.1,facility=x;", "unknown syslog facility \"x\" in"),
        ("log_format combined x;", "duplicate \"log_format\" name \"combined\" in"),
        ("log_format a escape=x x;", "unknown log format escaping \"x\" in"),
        ("log_format a '$-';", "invalid parameter \"$-\" in"),
        ("log_format a '$nosuch';", "unknown \"nosuch\" variable"),
    ] {
        each(|binary| {
            let exit = binary.check(http(directives, "location / { return 200; }"));
            assert_eq!(exit.code, Some(1), "{directives}");
            assert!(exit.stderr.contains(message), "{directives}: {}", exit.stderr);
        });
    }
}

#[test]
fn an_action_behind_the_answer() {
    let text = "log_format p '$request_uri $uri $status $body_bytes_sent $upstream_status'; server { listen %%PORT%%; access_log logs/p.log p;\n\
        location / { post_action @done; return 200 hello; }\n\
        location /path { post_action /other; proxy_pass http://%%ORIGIN%%; }\n\
        location /none { return 200 x; }\n\
        location /file { post_action /other; }\n\
        location = /other { internal; proxy_pass http://%%ORIGIN%%/posted?$body_bytes_sent,$status; }\n\
        location @done { proxy_pass http://%%ORIGIN%%; proxy_set_header X-Sent $body_bytes_sent; proxy_method POST; } }";
    testkit::each(|binary| {
        let origin = testkit::Origin::new(|exchange| {
            exchange.send("HTTP/1.1 201 Created\r\nContent-Length: 3\r\n\r\nabc")
        });
        let server = binary.serve(testkit::Site::new(text).with("ORIGIN", origin.address()));
        let mut client = server.client();
        assert_eq!(client.get("/a?b").text(), "hello");
        server.log("logs/p.log").wait_for("/a?b /a 201 5 201");
        let asked = origin.last();
        assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/a?b"));
        assert_eq!(asked.header("x-sent"), Some("5"));
        assert_eq!(client.get("/path").text(), "abc");
        server.log("logs/p.log").wait_for("/path /other 201 3 201 : 201");
        assert_eq!(origin.last().target, "/posted?3,201");
        assert_eq!(client.get("/none").text(), "x");
        server.log("logs/p.log").wait_for("/none /none 200 1 -");
        assert_eq!(origin.requests().len(), 3);
        // A body that nobody read is gone.
        assert_eq!(client.request("POST", "/file", &[], b"hello").status, 404);
        server.log("logs/p.log").wait_match("^/file /other 404 [0-9]+ 201$");
        let asked = origin.last();
        assert_eq!((asked.header("content-length"), asked.body.len()), (Some("0"), 0));
        assert_eq!(client.get("/none").text(), "x");
    });
}

/// A query string that was made empty is a value, one that never was is none: `-`.
#[test]
fn query_strings_that_are_empty() {
    let text = "log_format q '$request_uri $uri$is_args$args|$query_string'; access_log logs/q q;
        server { listen 127.0.0.1:%%PORT%%; location /r { return 200; }
            location /try { try_files /none /r?$args; } location /try2 { try_files /none /r; }
            location /rewrite { rewrite ^ /r? last; } location /rewrite2 { rewrite ^ /r?$args last; }
            location /set { set $args ''; return 200; }
            location /page { error_page 403 /r; return 403; } location /page2 { error_page 403 /r?$arg_a; return 403; } }";
    on_both(text, |server| {
        let expected = [
            ("/r", "/r-|-"),
            ("/r?", "/r-|-"),
            ("/r?a=1", "/r?a=1|a=1"),
            ("/try", "/r|"),
            ("/try?a=1", "/r?a=1|a=1"),
            ("/try2?a=1", "/r|"),
            ("/rewrite", "/r-|-"),
            ("/rewrite?a=1", "/r|"),
            ("/rewrite2", "/r|"),
            ("/set?a=1", "/set|"),
            ("/page?a=1", "/r-|-"),
            ("/page2", "/r|"),
        ];
        for (target, _) in expected {
            server.get(target);
        }
        let lines = server.log("logs/q").wait_lines(expected.len());
        for (line, (target, logged)) in lines.iter().zip(expected) {
            assert_eq!(line, &format!("{target} {logged}"));
        }
    });
}

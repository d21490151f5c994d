//! `tunnel_pass`: CONNECT, and what passes through the connection that it opens. Debian's nginx has no such module.
#![forbid(unsafe_code)]

use testkit::{Client, Origin, Server, Site, error_page, serve};

/// A server of no particular protocol: greets, then says everything again in capitals, and leaves after `bye`.
fn shouting() -> Origin {
    Origin::wires(|wire| {
        let _ = wire.send("hello ");
        while let Ok(bytes) = wire.read_some(1024) {
            if bytes.is_empty() || wire.send(bytes.to_ascii_uppercase()).is_err() || bytes.ends_with(b"bye") {
                break;
            }
        }
    })
}

/// `text` stands in `http {}`; the peer is `%%ORIGIN%%`, and group `peer`.
fn site(origin: &Origin, text: &str) -> Server {
    let log = "log_format t '$status $body_bytes_sent $upstream_addr $upstream_status $upstream_bytes_sent \
               $upstream_bytes_received $remote_user'; access_log logs/access.log t;";
    let group = "upstream peer { server %%ORIGIN%%; }";
    serve(Site::new(format!("{log} {group} {text}")).with("ORIGIN", origin.address()))
}

fn connect(server: &Server, to: &str, lines: &str) -> Client {
    let mut client = server.client();
    client.send(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n{lines}\r\n"));
    client
}
/// The status of the answer, and, if it is 200, what comes after `bye` was said.
fn through(mut client: Client) -> (u16, String) {
    let answer = client.response_to("HEAD");
    if answer.status != 200 {
        return (answer.status, String::new());
    }
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!((answer.header("content-length"), answer.header("transfer-encoding")), (None, None));
    client.send("bye");
    (200, String::from_utf8_lossy(&client.read_to_end()).into_owned())
}

#[test]
fn bytes_pass_both_ways_to_whom_the_client_names() {
    let origin = shouting();
    let server = site(
        &origin,
        "server { listen 127.0.0.1:%%PORT%%; tunnel_pass; location /page { return 200 page; } }",
    );
    assert_eq!(through(connect(&server, origin.address(), "")), (200, "hello BYE".into()));
    let logged = server.access_log().wait_lines(1);
    assert_eq!(logged, [format!("200 9 {} - 3 9 -", origin.address())]);
    // What came with the request is the first that passes.
    let mut client = server.client();
    client.send(format!("CONNECT {0} HTTP/1.1\r\nHost: a\r\n\r\nearly ", origin.address()));
    assert_eq!(through(client), (200, "hello EARLY BYE".into()));
    // A location, and other methods, are not the tunnel's.
    assert_eq!(server.get("/page").text(), "page");
    assert_eq!(server.get("/").status, 405);
}

#[test]
fn the_end_of_either_side_ends_both() {
    let origin = shouting();
    let server = site(&origin, "server { listen 127.0.0.1:%%PORT%%; tunnel_pass peer; }");
    let mut client = connect(&server, "any:1", "");
    assert_eq!(client.response_to("HEAD").status, 200);
    assert_eq!(client.read(6), b"hello ");
    client.half_close();
    client.expect_close();
    origin.wait_open(0);
}

#[test]
fn a_silent_tunnel_is_closed_in_time() {
    let origin = shouting();
    let server =
        site(&origin, "server { listen 127.0.0.1:%%PORT%%; tunnel_pass peer; tunnel_read_timeout 100ms; }");
    let mut client = connect(&server, "any:1", "");
    assert_eq!(client.response_to("HEAD").status, 200);
    assert_eq!(client.read_to_end(), b"hello ");
    server
        .error_log()
        .wait_for("upstream timed out (110: Connection timed out) while proxying upgraded connection");
}

#[test]
fn a_client_that_takes_nothing_is_to_blame_itself() {
    let flood = Origin::wires(|wire| {
        let block = [b'x'; 64 * 1024];
        while wire.send(block).is_ok() {}
    });
    let server = site(
        &flood,
        "server { listen 127.0.0.1:%%PORT%% sndbuf=8k; tunnel_pass peer; send_timeout 100ms; tunnel_buffer_size 1k; }",
    );
    let mut client = connect(&server, "any:1", "");
    assert_eq!(client.response_to("HEAD").status, 200);
    server
        .error_log()
        .wait_for("client timed out (110: Connection timed out) while proxying upgraded connection");
    flood.wait_open(0);
}

#[test]
fn a_server_that_takes_nothing_is_given_up() {
    let (gate, held) = (testkit::Gate::new(), testkit::Gate::new());
    let (opened, waits) = (gate.clone(), held.clone());
    let deaf = Origin::wires(move |_| {
        opened.open();
        waits.pass();
    });
    let server =
        site(&deaf, "server { listen 127.0.0.1:%%PORT%%; tunnel_pass peer; tunnel_send_timeout 100ms; }");
    let mut client = connect(&server, "any:1", "");
    assert_eq!(client.response_to("HEAD").status, 200);
    assert!(gate.pass());
    let block = [b'x'; 64 * 1024];
    while client.try_send(block).is_ok() {}
    server
        .error_log()
        .wait_for("upstream timed out (110: Connection timed out) while proxying upgraded connection");
    held.open();
}

#[test]
fn servers_that_cannot_be_reached() {
    let origin = shouting();
    let server = site(
        &origin,
        "upstream two { server 127.0.0.1:1; server %%ORIGIN%%; } upstream off { server 127.0.0.1:1; server %%ORIGIN%%; }
         upstream none { server 127.0.0.1:1; }
         server { listen 127.0.0.1:%%PORT%%; location / { return 400; } }
         server { listen 127.0.0.1:%%PORT%%; server_name two; location / { tunnel_pass two; } }
         server { listen 127.0.0.1:%%PORT%%; server_name off; location / { tunnel_pass off; tunnel_next_upstream off; } }
         server { listen 127.0.0.1:%%PORT%%; server_name no; location / { tunnel_pass peer; tunnel_allow_upstream 0; } }
         server { listen 127.0.0.1:%%PORT%%; server_name page; location / { tunnel_pass none; error_page 502 = @sorry; }
                  location @sorry { return 202 sorry; } }
         server { listen 127.0.0.1:%%PORT%%; server_name name; tunnel_pass; }
         server { listen 127.0.0.1:%%PORT%%; server_name empty; location / { tunnel_pass $arg_none; } }",
    );
    assert_eq!(through(connect(&server, "two:1", "")), (200, "hello BYE".into()));
    let log = server.error_log();
    log.wait_for("connect() failed (111: Connection refused) while connecting to upstream, client: 127.0.0.1, \
                  server: two, request: \"CONNECT two:1 HTTP/1.1\", upstream: \"127.0.0.1:1\", host: \"two:1\"");
    assert_eq!(through(connect(&server, "off:1", "")).0, 502);
    assert_eq!(through(connect(&server, "no:1", "")).0, 502);
    log.wait_for("access to upstream was denied while connecting to upstream");
    let answer = connect(&server, "page:1", "").response_to("CONNECT");
    assert_eq!((answer.status, answer.text()), (202, "sorry".into()));
    assert_eq!(through(connect(&server, "name:80", "")).0, 502);
    log.wait_for("no resolver defined to resolve name, client");
    assert_eq!(through(connect(&server, "empty:80", "")).0, 500);
    log.wait_for("no host in upstream \"\", client");
}

#[test]
fn requests_that_are_refused() {
    let origin = shouting();
    let server = site(
        &origin,
        "server { listen 127.0.0.1:%%PORT%%; server_name t; tunnel_pass peer; }
         server { listen 127.0.0.1:%%PORT%%; server_name plain; return 200; }",
    );
    let table = [
        (
            "CONNECT t:80 HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello",
            400,
            "CONNECT request with body",
        ),
        (
            "CONNECT t:80 HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            "CONNECT request with body",
        ),
        ("CONNECT t:80 HTTP/1.0\r\nHost: t\r\n\r\n", 405, "client sent CONNECT method"),
        ("CONNECT plain:80 HTTP/1.1\r\nHost: t\r\n\r\n", 405, "client sent CONNECT method"),
        ("CONNECT t HTTP/1.1\r\nHost: t\r\n\r\n", 400, "client sent invalid request while"),
        ("CONNECT / HTTP/1.1\r\nHost: t\r\n\r\n", 400, "client sent invalid"),
        ("CONNECT t:80/ HTTP/1.1\r\nHost: t\r\n\r\n", 400, "client sent invalid request while"),
        (
            "CONNECT t:99999 HTTP/1.1\r\nHost: t\r\n\r\n",
            400,
            "client sent invalid host in request line while",
        ),
        ("CONNECT t:80 HTTP/1.1\r\n\r\n", 400, "client sent HTTP/1.1 request without \"Host\" header"),
    ];
    for (request, status, said) in table {
        let mut client = server.client();
        client.send(request);
        assert_eq!(client.response_to("GET").status, status, "{request}");
        client.expect_close();
        server.error_log().wait_for(said);
    }
    // A length of nothing is no body.
    assert_eq!(through(connect(&server, "t:80", "Content-Length: 0\r\n")), (200, "hello BYE".into()));
}

#[test]
fn a_proxy_asks_for_credentials_of_its_own() {
    let origin = shouting();
    let text = "server_tokens off; auth_basic home; auth_basic_user_file users; tunnel_pass peer;";
    let server = serve(
        Site::new(format!(
            "upstream peer {{ server %%ORIGIN%%; }}
             log_format t '$status $remote_user'; access_log logs/access.log t;
             server {{ listen 127.0.0.1:%%PORT%%; location / {{ {text} }} }}
             server {{ listen 127.0.0.1:%%PORT%%; server_name any; location / {{ satisfy any; deny all; {text} }} }}"
        ))
        .with("ORIGIN", origin.address())
        .file("users", "ann:{PLAIN}secret\n"),
    );
    for host in ["all:1", "any:1"] {
        let mut client = connect(&server, host, "Authorization: Basic YW5uOnNlY3JldA==\r\n");
        let answer = client.response_to("CONNECT");
        assert_eq!((answer.status, answer.header("proxy-authenticate")), (407, Some("Basic realm=\"home\"")));
        assert_eq!(answer.text(), error_page(server.binary(), "407 Proxy Authentication Required"));
        client.expect_close();
        let known = "Proxy-Authorization: Basic YW5uOnNlY3JldA==\r\n";
        assert_eq!(through(connect(&server, host, known)), (200, "hello BYE".into()));
        let twice = connect(&server, host, &known.repeat(2)).response_to("GET");
        assert_eq!(twice.status, 400);
    }
    assert!(server.access_log().wait_lines(6).contains(&"200 ann".to_owned()));
}

#[test]
fn conditions_choose_who_may_go_where() {
    let origin = shouting();
    let server = site(
        &origin,
        "server { listen 127.0.0.1:%%PORT%%;
           location / { if ($request_port = 443) { tunnel_pass peer; } if ($request_port = 25) { return 403; } } }",
    );
    assert_eq!(through(connect(&server, "a:443", "")), (200, "hello BYE".into()));
    assert_eq!(through(connect(&server, "a:25", "")).0, 403);
    assert_eq!(through(connect(&server, "a:80", "")).0, 405);
}

#[test]
fn what_is_written_wrongly() {
    let table = [
        ("location / { tunnel_pass peer; tunnel_pass; }", "\"tunnel_pass\" directive is duplicate"),
        ("location / { tunnel_pass nowhere; }", "no port in upstream \"nowhere\""),
        ("location / { limit_except GET { tunnel_pass; } }", "\"tunnel_pass\" directive is not allowed here"),
        ("tunnel_next_upstream http_500;", "invalid value \"http_500\""),
        ("tunnel_pass a b;", "invalid number of arguments in \"tunnel_pass\" directive"),
    ];
    for (text, said) in table {
        let site = Site::new(format!("upstream peer {{ server 127.0.0.1:1; }} server {{ {text} }}"));
        let exit = testkit::Binary::Plimsoll.refuses(site);
        assert!(exit.stderr.contains(said), "{text}: {}", exit.stderr);
    }
}

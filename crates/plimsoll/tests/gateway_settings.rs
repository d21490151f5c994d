//! What can be said of `fastcgi_pass`, `scgi_pass` and `uwsgi_pass` alike: addresses, times, sizes, files.
#![forbid(unsafe_code)]

use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

mod ways;

use testkit::{Binary, Gate, Origin, Server, Site, each};
use ways::{Read, WAYS, answer};

/// An application that answers so.
fn answering(way: &'static str, read: Read, text: &str) -> Origin {
    let bytes = answer(way, text);
    Origin::wires(move |wire| {
        if read(wire).is_ok() {
            wire.send(&bytes).ok();
        }
    })
}
/// A location with an application behind it.
fn serve(binary: Binary, way: &str, origin: &Origin, settings: &str) -> Server {
    let settings = settings.replace("@_", &format!("{way}_"));
    let text = format!(
        "server {{ listen 127.0.0.1:%%PORT%%; location / {{ {way}_pass %%APP%%; {way}_param PATH $request_uri; {settings} }} }}"
    );
    binary.serve(Site::new(text).with("APP", origin.address()))
}
/// Runs the test for each way on each server, `@_` in the settings being the way's prefix.
fn with(settings: &str, text: &str, test: impl Fn(&Server)) {
    for (way, read) in WAYS {
        each(|binary| {
            let origin = answering(way, read, text);
            test(&serve(binary, way, &origin, settings));
        });
    }
}

#[test]
fn the_address_to_come_from() {
    for (way, read) in WAYS {
        each(|binary| {
            let seen = Arc::new(Mutex::new(String::new()));
            let peer = seen.clone();
            let origin = Origin::wires(move |wire| {
                *peer.lock().expect("the address") = wire.peer_ip();
                if read(wire).is_ok() {
                    wire.send(answer(way, "A: b\r\n\r\nyes")).ok();
                }
            });
            // Debian's nginx has no sizes of sockets yet.
            let sizes = match binary {
                Binary::Plimsoll => "@_socket_rcvbuf 64k; @_socket_sndbuf 64k;",
                Binary::Nginx => "",
            };
            let server =
                serve(binary, way, &origin, &format!("@_bind 127.0.0.9; @_socket_keepalive on; {sizes}"));
            assert_eq!(server.get("/").text(), "yes", "{way}");
            assert_eq!(*seen.lock().expect("the address"), "127.0.0.9", "{way}");
        });
    }
}

#[test]
fn one_that_says_nothing_is_not_waited_for_too_long() {
    for (way, read) in WAYS {
        each(|binary| {
            let gate = Gate::new();
            let waits = gate.clone();
            let origin = Origin::wires(move |wire| {
                read(wire).ok();
                waits.pass();
            });
            let times = "@_read_timeout 100ms; @_connect_timeout 5s; @_send_timeout 5s;";
            let server = serve(binary, way, &origin, times);
            assert_eq!(server.get("/").status, 504, "{way}");
            let line =
                "upstream timed out (110: Connection timed out) while reading response header from upstream";
            server.error_log().wait_for(line);
            gate.open();
        });
    }
}

#[test]
fn not_every_application_is_tried() {
    for (way, read) in WAYS {
        each(|binary| {
            let bad = answering(way, read, "Status: 503 Busy\r\n\r\nbusy");
            let good = answering(way, read, "A: b\r\n\r\ngood");
            let text = format!(
                "upstream app {{ server %%BAD%%; server %%BAD2%%; server %%APP%%; }} server {{ listen 127.0.0.1:%%PORT%%; \
                 {way}_next_upstream error http_503; {way}_next_upstream_timeout 10s; \
                 location / {{ {way}_pass app; {way}_next_upstream_tries 2; }} }}"
            );
            let site = Site::new(text).with("APP", good.address());
            let other = answering(way, read, "Status: 503 Busy\r\n\r\nbusy too");
            let server = binary.serve(site.with("BAD", bad.address()).with("BAD2", other.address()));
            let first = server.get("/");
            assert_eq!((first.status, first.text().as_str()), (503, "busy too"), "{way}");
            assert_eq!((bad.connections(), other.connections(), good.connections()), (1, 1, 0), "{way}");
        });
    }
}

#[test]
fn heads_have_a_largest_size() {
    let long = format!("A: {}\r\n\r\nyes", "x".repeat(2000));
    with("@_buffer_size 1k;", &long, |server| {
        assert_eq!(server.get("/").status, 502);
        server
            .error_log()
            .wait_for("upstream sent too big header while reading response header from upstream");
    });
    with("@_buffer_size 4k;", &long, |server| assert_eq!(server.get("/").text(), "yes"));
}

#[test]
fn answers_are_whole_whatever_the_buffers() {
    let body = "0123456789abcdef".repeat(3500);
    let text = format!("A: b\r\n\r\n{body}");
    let sizes = "@_max_temp_file_size 0; @_buffers 4 4k; @_busy_buffers_size 8k;";
    with(sizes, &text, |server| assert!(server.get("/").text() == body));
    let sizes = "@_temp_path spilled; @_temp_file_write_size 8k; @_max_temp_file_size 1m; @_buffers 4 4k; @_busy_buffers_size 8k; @_limit_rate 10m;";
    each(|binary| {
        let (way, read) = WAYS[0];
        let origin = answering(way, read, &text);
        let server = serve(binary, way, &origin, &format!("{sizes} @_send_lowat 0;"));
        assert!(server.get("/").text() == body);
    });
}

#[test]
fn headers_that_are_kept_from_clients_can_be_passed() {
    let text = "Status: 201 Made\r\nX-Accel-Expires: 0\r\n\r\n";
    with("@_pass_header X-Accel-Expires; @_pass_header Status;", text, |server| {
        let answer = server.get("/");
        assert_eq!((answer.status, answer.header("x-accel-expires")), (201, Some("0")));
        assert_eq!(answer.header("status"), Some("201 Made"));
    });
    with("", text, |server| assert_eq!(server.get("/").header("x-accel-expires"), None));
}

#[test]
fn parts_of_answers_and_files_made_of_them() {
    with(
        "@_force_ranges on; @_store %%DIR%%/html$uri; @_store_access user:rw group:r;",
        "Content-Length: 10\r\n\r\n0123456789",
        |server| {
            let part = server.get_with("/part", &[("Range", "bytes=2-4")]);
            assert_eq!((part.status, part.text().as_str()), (206, "234"));
            assert_eq!(server.get("/whole").text(), "0123456789");
            testkit::eventually("the answer is stored", || server.path("html/whole").exists());
            assert_eq!(server.read("html/whole"), b"0123456789");
            let mode = server.path("html/whole").metadata().expect("a file").permissions().mode();
            assert_eq!(mode & 0o777, 0o640);
        },
    );
}

#[test]
fn parts_far_behind_are_not_waited_for() {
    for (way, read) in WAYS {
        each(|binary| {
            let text =
                "Cache-Control: max-age=60\r\nAccept-Ranges: bytes\r\nContent-Length: 10\r\n\r\n0123456789";
            let origin = answering(way, read, text);
            let text = format!(
                "{way}_cache_path %%DIR%%/kept keys_zone=one:1m; server {{ listen 127.0.0.1:%%PORT%%; location / {{ \
                 {way}_pass %%APP%%; {way}_param PATH $request_uri; {way}_cache one; {way}_cache_key $uri; \
                 {way}_cache_max_range_offset 4; add_header X-Cache $upstream_cache_status; }} }}"
            );
            let server = binary.serve(Site::new(text).with("APP", origin.address()));
            let part = |range: &str| {
                let answer = server.get_with("/", &[("Range", range)]);
                (answer.status, answer.text(), answer.header("x-cache").map(str::to_owned))
            };
            // The whole is asked for and kept, unless the part is too far behind.
            assert_eq!(part("bytes=7-"), (200, "0123456789".into(), Some("MISS".into())), "{way}");
            assert_eq!(part("bytes=7-"), (200, "0123456789".into(), Some("MISS".into())), "{way}");
            assert_eq!(part("bytes=2-3"), (206, "23".into(), Some("MISS".into())), "{way}");
            assert_eq!(part("bytes=7-"), (206, "789".into(), Some("HIT".into())), "{way}");
        });
    }
}

#[test]
fn an_application_goes_on_though_the_client_left() {
    for (way, read) in WAYS {
        each(|binary| {
            let (gate, begun) = (Gate::new(), Gate::new());
            let (waits, begins) = (gate.clone(), begun.clone());
            let origin = Origin::wires(move |wire| {
                if read(wire).is_ok() {
                    begins.open();
                    waits.pass();
                    wire.send(answer(way, "A: b\r\n\r\ndone")).ok();
                }
            });
            let server = serve(binary, way, &origin, "@_ignore_client_abort on;");
            let mut client = server.client();
            client.send("GET /left HTTP/1.0\r\n\r\n");
            assert!(begun.pass());
            client.reset();
            assert_eq!(server.status("?\r\n\r\n"), "400", "the loop had its turn");
            gate.open();
            server.access_log().wait_match("GET /left HTTP/1.0. 200 ");
        });
    }
}

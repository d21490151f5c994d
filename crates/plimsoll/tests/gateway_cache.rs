//! `fastcgi_cache`, `scgi_cache`, `uwsgi_cache`: answers of applications that are kept.
#![forbid(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

mod ways;

use testkit::{Binary, Origin, Server, Site, Wire, each};
use ways::{WAYS, answer};

/// Counts its requests. What is asked for says how the answer is: `lasting`, `private`, `tagged`, `missing`, `failing`.
fn application(way: &'static str, read: fn(&mut Wire) -> io::Result<Vec<u8>>) -> Origin {
    let count = AtomicUsize::new(0);
    Origin::wires(move |wire| {
        let Ok(asked) = read(wire) else { return };
        let n = count.fetch_add(1, SeqCst) + 1;
        let asks = |what: &str| String::from_utf8_lossy(&asked).contains(what);
        let head = match () {
            () if asks("lasting") => "Cache-Control: max-age=60\r\n",
            () if asks("private") => "Cache-Control: max-age=60\r\nSet-Cookie: a=b\r\n",
            () if asks("tagged") && asks("\"one\"") => "Status: 304 Not Modified\r\nETag: \"one\"\r\n",
            () if asks("tagged") => "Cache-Control: max-age=1\r\nX-Accel-Expires: @1\r\nETag: \"one\"\r\n",
            () if asks("missing") => "Status: 404 Not Found\r\n",
            () if asks("failing") && n > 1 => "Status: 500 Internal Server Error\r\n",
            () => "X-Accel-Expires: @1\r\n",
        };
        let text = format!("{head}Content-Type: text/plain\r\n\r\nanswer {n}");
        wire.send(answer(way, &text)).ok();
    })
}

fn serve(binary: Binary, way: &str, origin: &Origin, more: &str) -> Server {
    let text = format!(
        "{way}_cache_path %%DIR%%/kept levels=2 keys_zone=one:1m; server {{ listen 127.0.0.1:%%PORT%%; \
         location / {{ {way}_pass %%APP%%; {way}_param PATH $request_uri; {way}_cache one; \
         {way}_cache_key $request_method$request_uri; add_header X-Cache $upstream_cache_status always; {more} }} }}"
    );
    binary.serve(Site::new(text).with("APP", origin.address()))
}
/// What the cache did for each request, and the body.
fn got(server: &Server, targets: &[&str]) -> Vec<String> {
    let get = |target: &&str| {
        let answer = server.get(target);
        format!("{} {} {}", answer.status, answer.header("x-cache").unwrap_or("-"), answer.text())
    };
    targets.iter().map(get).collect()
}

#[test]
fn what_applications_say_of_their_answers_holds() {
    for (way, read) in WAYS {
        each(|binary| {
            let origin = application(way, read);
            let server = serve(binary, way, &origin, &format!("{way}_cache_valid 404 1m;"));
            let seen =
                got(&server, &["/lasting", "/lasting", "/private", "/private", "/missing", "/missing"]);
            let want = [
                "200 MISS answer 1",
                "200 HIT answer 1",
                "200 MISS answer 2",
                "200 MISS answer 3",
                "404 MISS answer 4",
                "404 HIT answer 4",
            ];
            assert_eq!(seen, want, "{way}");
            let kept = server.normal("GET /lasting HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            assert!(kept.starts_with("HTTP/1.1 200 OK\r\n"), "{way}: {kept}");
            assert_eq!(server.request("HEAD", "/lasting", &[], b"").header("x-cache"), Some("MISS"), "{way}");
            assert_eq!(server.post("/lasting", "x").text(), "answer 6", "{way}: not kept");
        });
    }
}

#[test]
fn old_answers_are_used_again_where_that_is_allowed() {
    for (way, read) in WAYS {
        each(|binary| {
            let origin = application(way, read);
            let more = format!("{way}_cache_use_stale http_500; {way}_cache_revalidate on;");
            let server = serve(binary, way, &origin, &more);
            let seen = got(&server, &["/failing", "/failing", "/tagged", "/tagged"]);
            assert_eq!(seen[..2], ["200 MISS answer 1", "200 STALE answer 1"], "{way}");
            assert_eq!(seen[2], "200 MISS answer 3", "{way}");
            assert!(seen[3].starts_with("200 "), "{way}: {}", seen[3]);
        });
    }
}

#[test]
fn what_is_kept_has_its_own_rules() {
    for (way, read) in WAYS {
        each(|binary| {
            let origin = application(way, read);
            let more = format!(
                "{way}_cache_min_uses 2; {way}_cache_methods POST; {way}_cache_lock on; {way}_cache_lock_age 5s; \
                 {way}_cache_lock_timeout 5s; {way}_cache_background_update on; {way}_cache_use_stale updating;"
            );
            let server = serve(binary, way, &origin, &more);
            let seen = got(&server, &["/lasting", "/lasting", "/lasting"]);
            assert_eq!(seen, ["200 MISS answer 1", "200 MISS answer 2", "200 HIT answer 2"], "{way}");
            let posted = [(); 3].map(|()| server.post("/lasting", "").text());
            assert_eq!(posted, ["answer 3", "answer 4", "answer 4"], "{way}");
        });
    }
}

#[test]
fn a_cache_can_be_passed_by() {
    for (way, read) in WAYS {
        each(|binary| {
            let origin = application(way, read);
            let more =
                format!("{way}_cache_bypass $arg_new; {way}_no_cache $arg_none; {way}_cache_key $uri;");
            let text = format!(
                "{way}_cache_path %%DIR%%/kept keys_zone=one:1m; server {{ listen 127.0.0.1:%%PORT%%; location / {{ \
                 {way}_pass %%APP%%; {way}_param PATH $request_uri; {way}_cache one; {more} \
                 add_header X-Cache $upstream_cache_status; }} }}"
            );
            let server = binary.serve(Site::new(text).with("APP", origin.address()));
            let targets = ["/lasting?none=1", "/lasting", "/lasting", "/lasting?new=1", "/lasting"];
            let want = [
                "200 MISS answer 1",
                "200 MISS answer 2",
                "200 HIT answer 2",
                "200 BYPASS answer 3",
                "200 HIT answer 3",
            ];
            assert_eq!(got(&server, &targets), want, "{way}");
        });
    }
}

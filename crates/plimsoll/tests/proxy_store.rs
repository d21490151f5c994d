//! `proxy_store` and its like: answers that become files.
#![forbid(unsafe_code)]

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use testkit::{Binary, Origin, Server, Site, each, eventually};

fn serve(binary: Binary, origin: &Origin, text: &str) -> Server {
    binary.serve(Site::new(text).with("ORIGIN", origin.address()))
}

fn wait_for(path: &Path, content: &str) {
    eventually("a file", || std::fs::read(path).is_ok_and(|found| found == content.as_bytes()));
}
/// Nothing but the file's own folders and the file: no other names are left.
fn names_below(folder: &Path) -> Vec<String> {
    let items =
        std::fs::read_dir(folder).map(|items| items.flatten().collect()).unwrap_or_else(|_| Vec::new());
    let mut names: Vec<_> =
        items.iter().map(|item| item.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn answers_become_files() {
    let text = "root %%DIR%%/kept; location / { proxy_pass http://%%ORIGIN%%; proxy_store on; }\n\
        location /named/ { proxy_pass http://%%ORIGIN%%; proxy_store %%DIR%%/other/$arg_f.txt; proxy_store_access user:rw group:r all:r; }\n\
        location /named/off/ { proxy_pass http://%%ORIGIN%%; proxy_store off; }";
    each(|binary| {
        let origin = Origin::answering(
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\nhello",
        );
        let server = serve(binary, &origin, text);
        assert_eq!(server.get("/a/b%20c").text(), "hello");
        let file = server.path("kept/a/b c");
        wait_for(&file, "hello");
        let stat = std::fs::metadata(&file).expect("it is there");
        assert_eq!(stat.mode() & 0o777, 0o600);
        assert_eq!(stat.modified().ok(), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)));
        assert_eq!(std::fs::metadata(server.path("kept/a")).expect("it is there").mode() & 0o777, 0o700);

        assert_eq!(server.get("/named/x?f=in/here").text(), "hello");
        let file = server.path("other/in/here.txt");
        wait_for(&file, "hello");
        assert_eq!(std::fs::metadata(&file).expect("it is there").mode() & 0o777, 0o644);
        assert_eq!(std::fs::metadata(server.path("other/in")).expect("it is there").mode() & 0o777, 0o755);
        assert_eq!(server.get("/named/off/x?f=none").text(), "hello");
        assert_eq!(names_below(&server.path("other")), ["in"]);
        assert_eq!(names_below(&server.path("kept")), ["a"]);
    });
}

#[test]
fn only_what_is_whole_and_good_is_stored() {
    let text = "root %%DIR%%/kept; location / { proxy_pass http://%%ORIGIN%%; proxy_store on; }";
    each(|binary| {
        let origin = Origin::new(|exchange| match exchange.request.target.as_str() {
            "/404" => exchange.send("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"),
            "/206" => exchange.send("HTTP/1.1 206 Partial Content\r\nContent-Length: 2\r\n\r\nno"),
            "/short" => {
                exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nno");
                exchange.close();
            }
            "/chunks" => exchange.send(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            ),
            "/bad-chunks" => {
                exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nx");
                exchange.close();
            }
            "/unbuffered" => {
                exchange.send("HTTP/1.1 200 OK\r\nX-Accel-Buffering: no\r\nContent-Length: 2\r\n\r\nno")
            }
            "/empty" => exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            _ => {
                exchange.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end");
                exchange.close();
            }
        });
        let server = serve(binary, &origin, text);
        for path in ["/404", "/206", "/short", "/bad-chunks", "/unbuffered"] {
            server.raw(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        }
        assert_eq!(server.get("/chunks").text(), "abcde");
        wait_for(&server.path("kept/chunks"), "abcde");
        assert_eq!(server.get("/closes").text(), "to the end");
        wait_for(&server.path("kept/closes"), "to the end");
        assert_eq!(server.get("/empty").text(), "");
        wait_for(&server.path("kept/empty"), "");
        assert_eq!(names_below(&server.path("kept")), ["chunks", "closes", "empty"]);
    });
}

//! Files changed by clients: PUT, DELETE, MKCOL, COPY, MOVE.
#![forbid(unsafe_code)]

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use testkit::{Binary, Server, Site, each, on_both};

const DAV: &str = "client_body_buffer_size 1k; client_max_body_size 1m; \
    location / { dav_methods PUT DELETE MKCOL COPY MOVE; dav_access user:rw group:r all:r; } \
    location /full/ { dav_methods PUT MOVE; create_full_put_path on; } \
    location /deep/ { dav_methods DELETE; min_delete_depth 3; } \
    location /alias/ { alias html/; dav_methods COPY; } location /none/ { dav_methods off; }";

/// Whether this may be asked of the server. Not of nginx where whole folders change: it follows links while it removes
/// them, it copies a folder into itself, and a test may run as root.
fn is_harmless(server: &Server, path: &str, want: u16) -> bool {
    let itself = want == 403;
    server.binary() == Binary::Plimsoll || !(itself || (path.ends_with('/') && want < 300))
}

fn status(server: &Server, method: &str, path: &str, fields: &[(&str, &str)]) -> u16 {
    server.request(method, path, fields, b"").status
}

#[test]
fn put() {
    on_both(DAV, |server| {
        let date = ("Date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let made = server.request("PUT", "/a%20b.txt", &[date], b"some text");
        assert_eq!((made.status, made.header("content-length")), (201, Some("0")));
        let place = made.header("location").expect("a place").to_owned();
        assert!(place.ends_with("/a%20b.txt"), "{place}");
        assert_eq!(server.read("html/a b.txt"), b"some text");
        let stat = std::fs::metadata(server.path("html/a b.txt")).expect("the file");
        assert_eq!((stat.mode() & 0o777, stat.mtime()), (0o644, 784_111_777));
        let again = server.request("PUT", "/a%20b.txt", &[], &[b'x'; 5000]);
        assert_eq!((again.status, again.header("location")), (204, None));
        assert_eq!(server.read("html/a b.txt"), [b'x'; 5000]);
        let chunked = "PUT /c HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        assert_eq!(server.status(chunked), "201");
        assert_eq!(server.read("html/c"), b"abc");
        assert_eq!(server.request("PUT", "/empty", &[("Content-Length", "0")], b"").status, 201);
        std::fs::create_dir(server.path("html/dir")).expect("a folder");
        assert_eq!(server.request("PUT", "/dir/", &[], b"x").status, 409);
        assert_eq!(server.request("PUT", "/dir", &[], b"x").status, 409);
        server.error_log().wait_for("html/dir\" could not be created (21: Is a directory)");
        assert_eq!(server.request("PUT", "/r", &[("Content-Range", "bytes 0-0/1")], b"x").status, 501);
        assert_eq!(server.request("PUT", "/no/such/folder", &[], b"x").status, 500);
        assert_eq!(server.request("PUT", "/full/b/c", &[], b"made").status, 201);
        assert_eq!(server.read("html/full/b/c"), b"made");
        // A file is in the way.
        assert_eq!(server.request("PUT", "/full/b/c/d", &[], b"x").status, 500);
        server
            .error_log()
            .wait_match(r#"\[crit\] .* rename\(\) ".*/full/b/c/d" failed \(20: Not a directory\)"#);
        assert_eq!(server.request("PUT", "/none/x", &[], b"x").status, 405);
        assert_eq!(server.request("PUT", "/big", &[], &vec![0; 2 << 20]).status, 413);
        let left = std::fs::read_dir(server.path("html")).expect("the folder").count();
        assert_eq!(left, 5, "nothing is left beside a b.txt, c, empty, dir and full");
    });
}

#[test]
fn delete() {
    on_both(DAV, |server| {
        server.write("html/file", "x");
        server.write("html/dir/sub/file", "x");
        server.write("html/deep/a/b", "x");
        for (path, depth, want) in [
            ("/none", None, 404),
            ("/file/", None, 409),
            ("/file/x", None, 409),
            ("/file", Some("1"), 400),
            ("/file", Some("infinity"), 204),
            ("/dir", None, 409),
            ("/dir/", Some("0"), 400),
            ("/dir/", Some("2"), 400),
            ("/dir/", None, 204),
            ("/deep/a/", None, 409),
            ("/deep/a/b", None, 204),
        ] {
            if !is_harmless(server, path, want) {
                continue;
            }
            let fields: Vec<(&str, &str)> = depth.map(|depth| ("Depth", depth)).into_iter().collect();
            assert_eq!(status(server, "DELETE", path, &fields), want, "{path} {depth:?}");
        }
        assert!(!server.path("html/file").exists());
        assert_eq!(server.path("html/dir").exists(), server.binary() == Binary::Nginx);
        assert_eq!(server.request("DELETE", "/deep/", &[], b"body").status, 415);
        server.error_log().wait_for("insufficient URI depth:3 to DELETE");
        server.error_log().wait_for("lstat() \"");
    });
}

#[test]
fn links_are_removed_and_not_followed() {
    let server = testkit::serve(DAV);
    server.write("html/kept/file", "kept");
    server.write("html/dir/sub/file", "x");
    std::os::unix::fs::symlink(server.path("html/kept"), server.path("html/dir/sub/link")).expect("a link");
    let to = [("Destination", "/copy/")];
    assert_eq!(status(&server, "COPY", "/dir/", &to), 201);
    assert!(server.path("html/copy/sub/file").exists() && !server.path("html/copy/sub/link").exists());
    assert_eq!(status(&server, "DELETE", "/dir/", &[]), 204);
    assert!(!server.path("html/dir").exists());
    assert_eq!(server.read("html/kept/file"), b"kept");
}

#[test]
fn mkcol() {
    on_both(DAV, |server| {
        assert_eq!(status(server, "MKCOL", "/new", &[]), 409);
        let made = server.request("MKCOL", "/new/", &[], b"");
        assert!(
            made.status == 201 && made.header("location").is_some_and(|to| to.ends_with("/new/")),
            "{made:?}"
        );
        assert!(server.path("html/new").is_dir());
        assert_eq!(status(server, "MKCOL", "/new/", &[]), 405);
        assert_eq!(status(server, "MKCOL", "/a/b/", &[]), 409);
        assert_eq!(server.request("MKCOL", "/body/", &[], b"x").status, 415);
        server.error_log().wait_for("MKCOL can create a collection only");
    });
}

#[test]
fn copy_and_move() {
    on_both(DAV, |server| {
        server.write("html/file", "text");
        server.write("html/dir/sub/file", "deep");
        let to = |path: &'static str| ("Destination", path);
        let url = format!("http://localhost:{}/url%20copy", server.port());
        for (method, path, fields, want) in [
            ("COPY", "/file", vec![], 400),
            ("COPY", "/file", vec![to("relative")], 400),
            ("COPY", "/file", vec![to("http://elsewhere/x")], 400),
            ("COPY", "/file", vec![to("/../x")], 400),
            ("COPY", "/file", vec![to("/x/")], 409),
            ("COPY", "/file", vec![to("/file")], 403),
            ("COPY", "/dir/", vec![to("/dir/sub/in/")], 403),
            ("COPY", "/none", vec![to("/x")], 404),
            ("COPY", "/dir", vec![to("/x")], 400),
            ("COPY", "/file", vec![to("/dir")], 409),
            ("COPY", "/file", vec![to("/copy"), ("Overwrite", "x")], 400),
            ("COPY", "/file", vec![to("/copy"), ("Depth", "1")], 400),
            ("COPY", "/file", vec![to("/copy")], 204),
            ("COPY", "/file", vec![to("/copy"), ("Overwrite", "F")], 412),
            ("COPY", "/file", vec![to("/copy"), ("Overwrite", "T")], 204),
            ("COPY", "/file", vec![("Destination", url.as_str())], 204),
            ("COPY", "/dir/", vec![to("/dir2/")], 201),
            ("COPY", "/dir/", vec![to("/dir2/")], 201),
            ("MOVE", "/copy", vec![to("/moved")], 204),
            ("MOVE", "/dir2/", vec![to("/dir3/")], 201),
            ("MOVE", "/dir3/", vec![to("/dir4/"), ("Depth", "0")], 400),
            ("COPY", "/alias/file", vec![to("/alias/by-alias")], 204),
            ("COPY", "/file", vec![to("/odd%zz")], 204),
            ("COPY", "/file", vec![to("/no/such/folder")], 500),
            ("COPY", "/alias/file", vec![to("/al")], 400),
        ] {
            if is_harmless(server, path, want) {
                assert_eq!(status(server, method, path, &fields), want, "{method} {path} {fields:?}");
            }
        }
        for (path, text) in [
            ("file", "text"),
            ("moved", "text"),
            ("url copy", "text"),
            ("by-alias", "text"),
            ("oddzz", "text"),
            ("dir/sub/file", "deep"),
        ] {
            assert_eq!(server.read(&format!("html/{path}")), text.as_bytes(), "{path}");
        }
        assert!(!server.path("html/copy").exists());
        server.error_log().wait_match(r#"\[crit\] .* open\(\) ".*/no/such/folder" failed \(2: "#);
        if server.binary() == Binary::Plimsoll {
            assert_eq!(server.read("html/dir3/sub/file"), b"deep");
            assert!(!server.path("html/dir2").exists());
        }
        assert_eq!(server.request("COPY", "/file", &[to("/y")], b"body").status, 415);
    });
}

#[test]
fn mistakes_in_the_configuration() {
    each(|binary| {
        for (text, error) in [
            ("dav_methods GET;", "invalid value \"GET\""),
            ("dav_access everybody:rw;", "invalid value \"everybody:rw\""),
            ("dav_access user:x;", "invalid value \"user:x\""),
            ("min_delete_depth x;", "\"min_delete_depth\" directive invalid number"),
        ] {
            let exit = binary.check(Site::new(text));
            assert!(exit.stderr.contains(error), "{text}: {}", exit.stderr);
        }
    });
}

#[test]
fn folders_that_cannot_be_made() {
    on_both(DAV, |server| {
        let locked = server.path("html/full/locked");
        std::fs::create_dir_all(&locked).expect("a folder");
        std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o555)).expect("no right to write");
        // Whoever may write everywhere can.
        if status(server, "PUT", "/full/locked/a/b", &[("Content-Length", "0")]) != 201 {
            assert_eq!(status(server, "PUT", "/full/locked/a/b", &[("Content-Length", "0")]), 500);
            server.error_log().wait_match(r#"\[crit\] .* mkdir\(\) "[^"]*/full/locked/a/b" failed \(13: "#);
        }
    });
}

/// Names as long as the file system takes them; one character more is too long.
#[test]
fn names_of_files_may_be_long() {
    on_both(DAV, |server| {
        let longest = "n".repeat(255);
        let put = |name: &str| server.request("PUT", &format!("/{name}"), &[], b"text").status;
        assert_eq!(put(&longest), 201);
        assert_eq!(server.read(&format!("html/{longest}")), b"text");
        assert_eq!(put(&(longest.clone() + "n")), 500);
        server
            .error_log()
            .wait_match(r#"\[crit\] .* rename\(\) ".*" to ".*" failed \(36: File name too long\)"#);
        let there = std::fs::read_dir(server.path("html")).expect("the folder").count();
        assert_eq!(there, 1, "nothing else is left");
    });
}

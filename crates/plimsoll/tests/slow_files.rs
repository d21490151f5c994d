//! Files that a thread would have to wait for: the others of its clients are served meanwhile. The file system is the
//! test's own and answers when it is told to; until then, its question is known to be open.
#![forbid(unsafe_code)]

use std::thread;

use testkit::{Ask, Binary, Client, Kept, Response, Server, Site, SlowFiles, each, within};

fn serve(binary: Binary, slow: &SlowFiles, settings: &str) -> Server {
    let text = format!(
        "worker_processes 1; events {{}} http {{ server {{ listen 127.0.0.1:%%PORT%%; {settings} \
         location / {{ return 200 here; }} location /slow/ {{ alias %%SLOW%%/; }} }} }}"
    );
    binary.serve(Site::new(text).with("SLOW", slow.path().display()))
}

/// Another client of the same thread, on its connection and on a new one, while the file system is still waited for.
#[track_caller]
fn is_served(server: &Server, other: &mut Client, slow: &SlowFiles) {
    for _ in 0..5 {
        assert_eq!(other.get("/").text(), "here");
    }
    assert_eq!(server.get("/").text(), "here");
    assert!(slow.is_waited_for(), "nobody waited for the file any more: this shows nothing");
}

/// A download during which the file system is waited for again and again; how often, too.
#[track_caller]
fn download(binary: Binary, slow: &SlowFiles, settings: &str, fields: &str) -> (Response, usize) {
    let server = serve(binary, slow, settings);
    let (mut client, mut other) = (server.client(), server.client());
    slow.hold(Ask::Bytes);
    client.send(format!("GET /slow/file HTTP/1.1\r\nHost: x\r\n{fields}\r\n"));
    let reader = thread::spawn(move || client.response());
    let waits = || slow.is_waited_for().then_some(true).or(reader.is_finished().then_some(false));
    let mut times = 0;
    while within(waits) == Some(true) {
        is_served(&server, &mut other, slow);
        slow.answer_one();
        times += 1;
    }
    slow.release();
    (reader.join().expect("the thread that downloads"), times)
}

#[track_caller]
fn downloads_all(binary: Binary, kept: Kept, settings: &str) -> Option<()> {
    let slow = SlowFiles::mount(700_000, kept)?;
    let (response, times) = download(binary, &slow, settings, "");
    assert!(response.body == slow.content(), "{settings}: another file came");
    assert!(times > 2, "{settings}: waited {times} times");
    Some(())
}

#[test]
fn nobody_else_waits_for_a_file() {
    let all = ["sendfile on;", "sendfile off;", "sendfile on; aio threads;", "sendfile on; directio 1k;"];
    for settings in all {
        if downloads_all(Binary::Plimsoll, Kept::InMemory, settings).is_none() {
            return;
        }
    }
}

#[test]
fn nor_where_what_was_read_is_kept_nowhere() {
    for settings in ["sendfile on;", "sendfile off;"] {
        if downloads_all(Binary::Plimsoll, Kept::Nowhere, settings).is_none() {
            return;
        }
    }
}

#[test]
fn nor_in_nginx_where_it_has_threads_for_it() {
    each(|binary| {
        for settings in ["sendfile on; aio threads;", "sendfile off; aio threads;"] {
            downloads_all(binary, Kept::InMemory, settings);
        }
    });
}

#[test]
fn parts_of_files_and_what_filters_make_of_them() {
    let ranges = "Range: bytes=10-300000,400000-699999\r\n";
    let rows = [
        (700_000, "", ranges),
        (700_000, "gzip on; gzip_types *;", "Accept-Encoding: gzip\r\n"),
        (700_000, "ssi on; ssi_types *;", ""),
        (700_000, "sub_filter nothing else; sub_filter_types *;", ""),
        (5_000, "", ""),
        (5_000, "", "Range: bytes=10-\r\n"),
    ];
    for (size, settings, fields) in rows {
        let Some(slow) = SlowFiles::mount(size, Kept::InMemory) else { return };
        let (response, times) = download(Binary::Plimsoll, &slow, settings, fields);
        assert!(times > 0 && matches!(response.status, 200 | 206), "{settings} {fields}: {times} {response}");
        match (response.header("content-encoding"), fields) {
            (Some(_), _) => assert!(response.body.starts_with(&[31, 139]), "{settings}"),
            (_, "") => assert!(response.body == slow.content(), "{settings}: another file came"),
            _ => assert!(response.body.len() as u64 > size / 2 && response.status == 206, "{fields}"),
        }
    }
}

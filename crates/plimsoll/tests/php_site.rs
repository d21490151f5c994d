//! A site in PHP behind a front controller, on a unix socket and on TCP: both servers give their clients the same bytes.
#![forbid(unsafe_code)]

use testkit::{App, Binary, Server, Site};

const SITE: &str = "server { listen 127.0.0.1:%%PORT%%; server_name site.test; root %%SITE%%; index index.php; client_max_body_size 300k;\n\
    location / { try_files $uri $uri/ /index.php$is_args$args; }\n\
    location ~ ^/index\\.php(/|$) { fastcgi_split_path_info ^(.+\\.php)(/.*)$; fastcgi_pass %%APP%%;\n\
      fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name; fastcgi_param SCRIPT_NAME $fastcgi_script_name;\n\
      fastcgi_param PATH_INFO $fastcgi_path_info; fastcgi_param QUERY_STRING $query_string; fastcgi_param REQUEST_METHOD $request_method;\n\
      fastcgi_param CONTENT_TYPE $content_type; fastcgi_param CONTENT_LENGTH $content_length; fastcgi_param REQUEST_URI $request_uri;\n\
      fastcgi_param DOCUMENT_URI $document_uri; fastcgi_param SERVER_PROTOCOL $server_protocol; fastcgi_param REDIRECT_STATUS 200;\n\
      fastcgi_param SITE_DATA %%DIR%%/data; fastcgi_param PHP_VALUE \"session.save_path=%%DIR%%/data\"; }\n\
    location ~ \\.php$ { return 404; }\n\
    location = /style.css { expires max; etag off; add_header X-Static yes; if_modified_since off; }\n\
    location /protected/ { internal; alias %%DIR%%/data/; etag off; if_modified_since off; } }";

/// What a visitor of the site sees, in order.
fn visit(server: &Server) -> Vec<String> {
    let mut seen = Vec::new();
    let mut ask = |head: &str, body: &[u8]| {
        let length = match body.is_empty() {
            true => String::new(),
            false => format!("Content-Length: {}\r\n", body.len()),
        };
        let mut bytes =
            format!("{head} HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n{length}\r\n").into_bytes();
        if let Some((line, fields)) = head.split_once('|') {
            let fields = fields.replace('|', "\r\n");
            bytes = format!(
                "{line} HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n{fields}\r\n{length}\r\n"
            )
            .into_bytes();
        }
        bytes.extend_from_slice(body);
        let answer = server.normal(bytes);
        // Files are as old as they are on this machine, and pages of a server's own have its name.
        let streamed = head == "GET /stream";
        let own = answer.contains("<center>SERVER</center>");
        let differs =
            |line: &str| line.starts_with("Last-Modified: ") || own && line.starts_with("Content-Length: ");
        // Each flush may come alone or with its neighbour, which shows in the sizes of chunks alone.
        let is_size = |line: &str| streamed && u8::from_str_radix(line, 16).is_ok();
        let lines =
            answer.lines().filter(|line| !(differs(line) || is_size(line) || streamed && line.is_empty()));
        seen.push(format!("{head}\n{}", lines.collect::<Vec<_>>().join("\n")));
    };
    let session = "Cookie: PHPSESSID=visitor";
    ask(&format!("GET /|{session}"), b"");
    ask(&format!("POST /login|{session}|Content-Type: application/x-www-form-urlencoded"), b"user=Ann+%3C3");
    ask(&format!("GET /?again|{session}"), b"");
    ask("GET /notes/1-first-steps?q=a%20b%26", b"");
    ask("HEAD /notes/1-first-steps", b"");
    ask("GET /notes/2-%C3%BCber", b"");
    ask("GET /notes/3-none", b"");
    ask("GET /nothing/at/all", b"");
    ask("GET /style.css", b"");
    ask("GET /index.php/some/path?x=1&y", b"");
    ask("GET /index.php", b"");
    ask("GET /other.php", b"");
    for (name, size) in [("small.bin", 10), ("large.bin", 200_000), ("huge.bin", 400_000)] {
        let content: Vec<u8> = (0..size).map(|i: u32| (i * 7 % 251) as u8).collect();
        let mut form = Vec::new();
        form.extend_from_slice(b"--edge\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\na note\r\n");
        let head = format!(
            "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: image/png\r\n\r\n"
        );
        form.extend_from_slice(head.as_bytes());
        form.extend_from_slice(&content);
        form.extend_from_slice(b"\r\n--edge--\r\n");
        if size < 300_000 {
            ask("POST /files|Content-Type: multipart/form-data; boundary=edge", &form);
            ask(&format!("GET /files/{name}"), b"");
            ask(&format!("GET /files/{name}?sent"), b"");
            ask(&format!("GET /files/{name}?sent|Range: bytes=3-6"), b"");
        } else {
            ask("POST /files|Content-Type: multipart/form-data; boundary=edge|Expect: 100-continue", b"");
        }
    }
    ask("GET /protected/small.bin", b"");
    ask("GET /stream", b"");
    ask("GET /gone", b"");
    ask("GET /empty", b"");
    ask("PUT /raw", b"raw bytes");
    ask("DELETE /raw", b"");
    ask(&format!("GET /logout|{session}"), b"");
    ask(&format!("GET /|{session}"), b"");
    seen
}

#[test]
fn both_servers_show_the_same_site() {
    for start in [App::php_unix as fn() -> Option<App>, App::php_tcp] {
        let Some(app) = start() else { return };
        let folder = App::php_scripts().join("site").display().to_string();
        let site = Site::new(SITE).with("APP", app.address()).with("SITE", folder).file("data/.keep", "");
        let seen: Vec<Vec<String>> =
            Binary::wanted().into_iter().map(|binary| visit(&binary.serve(site.clone()))).collect();
        for others in &seen[1..] {
            for (one, other) in seen[0].iter().zip(others) {
                // Where a status comes without words, nginx since 1.25.3 ends the line with the space before them.
                assert_eq!(one, &other.replace("422\n", "422 \n"));
            }
        }
        let has = |i: usize, text: &str| assert!(seen[0][i].contains(text), "{text}: {}", seen[0][i]);
        has(2, "Ann &lt;3, visit 2");
        has(3, "<p>first-steps a b&amp;</p>");
        has(6, "404 No Such Note");
        has(9, "PATH_INFO=/some/path\nQUERY_STRING=x=1&y");
        has(12, "a note image/png 10 ");
        has(15, "bytes 3-6/10");
        has(21, "404 Not Found");
    }
}

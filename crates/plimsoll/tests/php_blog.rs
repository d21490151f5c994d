//! An application of the old kind in PHP: scripts asked by their names, pages kept for guests, its mistakes shown by the
//! server's own pages. Both servers give their clients the same bytes.
#![forbid(unsafe_code)]

use testkit::{App, Binary, Server, Site};

const BLOG: &str = "fastcgi_cache_path %%DIR%%/kept keys_zone=pages:1m; log_format blog '$uri $status $upstream_cache_status';\n\
    server { listen 127.0.0.1:%%PORT%%; server_name blog.test; root %%BLOG%%; index index.php; access_log logs/blog.log blog;\n\
    error_page 404 /missing.html; error_page 500 503 =503 @busy;\n\
    location = /missing.html { internal; default_type text/html; return 404 'nothing here'; }\n\
    location @busy { add_header X-Busy yes always; return 503 'come back'; }\n\
    location ~ \\.php$ { try_files $uri =404; fastcgi_pass %%APP%%; fastcgi_intercept_errors on; gunzip on;\n\
      fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name; fastcgi_param SCRIPT_NAME $fastcgi_script_name;\n\
      fastcgi_param QUERY_STRING $query_string; fastcgi_param REQUEST_METHOD $request_method; fastcgi_param REDIRECT_STATUS 200;\n\
      fastcgi_param CONTENT_TYPE $content_type if_not_empty; fastcgi_param CONTENT_LENGTH $content_length if_not_empty;\n\
      fastcgi_cache pages; fastcgi_cache_key $request_method$request_uri; fastcgi_cache_valid 200 1h; fastcgi_ignore_headers Expires;\n\
      fastcgi_cache_bypass $cookie_member; fastcgi_no_cache $cookie_member; add_header X-Kept $upstream_cache_status;\n\
      sub_filter 'Hello, guest' 'Welcome'; gzip on; gzip_min_length 1000; gzip_types text/plain; } }";

/// What a visitor sees, in order.
fn visit(server: &Server) -> Vec<String> {
    let asked = [
        ("GET /?p=1", "", ""),
        ("GET /?p=1", "", ""),
        ("HEAD /?p=1", "", ""),
        ("GET /index.php?p=1", "Cookie: member=Ann+%3C3", ""),
        ("GET /?p=2", "X-Forwarded-Proto: https", ""),
        ("GET /?p=1", "If-None-Match: *", ""),
        ("GET /?p=1", "Range: bytes=0-3", ""),
        ("GET /?p=3", "", ""),
        ("GET /?p=9", "", ""),
        ("GET /none.php", "", ""),
        ("GET /admin", "", ""),
        ("POST /admin/", "", ""),
        ("POST /admin/?do=echo", "Content-Type: text/plain", "some text"),
        ("PUT /admin/index.php?do=echo", "", "put here"),
        ("GET /admin/?do=large", "", ""),
        ("GET /admin/?do=warn", "", ""),
        ("GET /admin/?do=die", "", ""),
        ("GET /admin/?do=large", "Accept-Encoding: gzip", ""),
    ];
    let ask = |(line, field, body): &(&str, &str, &str)| {
        let (method, target) = line.split_once(' ').expect("a method and a target");
        let fields: Vec<_> = field.split_once(": ").into_iter().collect();
        let answer = server.request(method, target, &fields, body.as_bytes());
        let port = format!(":{}/", server.port());
        // A server's own page has its name.
        let own = answer.text().contains("<hr><center>");
        let same = |line: &&str| {
            !(line.starts_with("Server: ")
                || line.starts_with("Date: ")
                || own && line.starts_with("Content-Length: "))
        };
        let head: Vec<&str> = answer.head.lines().filter(same).collect();
        // What is compressed differs in its bytes.
        let is_packed = answer.header("content-encoding").is_some();
        let body = if is_packed || own { String::new() } else { answer.text() };
        format!("{line} {field}\n{}\n{body}", head.join("\n").replace(&port, ":PORT/"))
    };
    let seen: Vec<String> = asked.iter().map(ask).collect();
    server.log("logs/blog.log").wait_for("/admin/index.php 503 MISS");
    seen
}

#[test]
fn both_servers_show_the_same_blog() {
    let Some(app) = App::php_unix() else { return };
    let folder = App::php_scripts().join("blog").display().to_string();
    let site = Site::new(BLOG).with("APP", app.address()).with("BLOG", folder);
    let seen: Vec<Vec<String>> =
        Binary::wanted().into_iter().map(|binary| visit(&binary.serve(site.clone()))).collect();
    for others in &seen[1..] {
        for (one, other) in seen[0].iter().zip(others) {
            assert_eq!(one, other);
        }
    }
    let has = |i: usize, text: &str| assert!(seen[0][i].contains(text), "{text}: {}", seen[0][i]);
    has(0, "X-Kept: MISS");
    has(1, "X-Kept: HIT");
    has(1, "Welcome /index.php -");
    has(3, "Hello, Ann+&lt;3");
    has(4, "Welcome /index.php https");
    has(7, "come back");
    has(8, "nothing here");
    has(12, "POST some text");
    has(16, "X-Busy: yes");
    assert!(seen[0][14].ends_with("line 29999\n"));
}

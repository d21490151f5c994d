//! The configuration language and the command line: what is accepted, what is refused, in which words.
#![forbid(unsafe_code)]

use testkit::{Binary, Exit, Site, each, on_both};

/// Runs `-t` on a whole file.
fn check(binary: Binary, text: &str) -> Exit {
    binary.check(Site::bare(format!("pid logs/nginx.pid; {text}")))
}

#[test]
fn a_good_file_says_so() {
    each(|binary| {
        let exit = check(binary, "events {}");
        assert_eq!((exit.code, exit.stdout.as_str()), (Some(0), ""), "{exit}");
        let name = binary.name();
        assert_eq!(
            exit.stderr,
            format!(
                "{name}: the configuration file %%DIR%%/nginx.conf syntax is ok\n\
                 {name}: configuration file %%DIR%%/nginx.conf test is successful\n"
            )
        );
        let quiet = binary.run(Site::bare("events {} pid logs/nginx.pid;"), &["-t", "-q"]);
        assert_eq!((quiet.code, quiet.stderr.as_str()), (Some(0), ""));
    });
}

/// A configuration and the error it gets.
const REFUSED: &[(&str, &str)] = &[
    ("events {} http { upstream u { zone z x; } }", "invalid zone size \"x\" in %%DIR%%/nginx.conf:1"),
    ("events {} error_log memory:1k;", "invalid buffer size \"1k\" in %%DIR%%/nginx.conf:1"),
    ("events {} error_log memory:;", "invalid buffer size \"\" in %%DIR%%/nginx.conf:1"),
    ("events {} worker_priority x;", "\"worker_priority\" directive invalid number in %%DIR%%/nginx.conf:1"),
    (
        "events {} timer_resolution 1s; timer_resolution 1s;",
        "\"timer_resolution\" directive is duplicate in %%DIR%%/nginx.conf:1",
    ),
    ("events {} http { upstream u { zone z; server 127.0.0.1:1; } }", "zero size shared memory zone \"z\""),
    (
        "events {} http { proxy_headers_hash_max_size 512; proxy_headers_hash_max_size 512; }",
        "\"proxy_headers_hash_max_size\" directive is duplicate in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { location / { limit_except GET {} limit_except GET {} } } }",
        "\"limit_except\" directive is duplicate in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { listen 127.0.0.1:8081-8080; } }",
        "invalid port range in \"127.0.0.1:8081-8080\" of the \"listen\" directive in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { listen *:8080-; } }",
        "invalid port in \"*:8080-\" of the \"listen\" directive in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { listen 127.0.0.1:8080-8083; listen 127.0.0.1:8082; } }",
        "a duplicate listen 127.0.0.1:8082 in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { listen [::1]:80 ipv6only=maybe; } }",
        "invalid parameter \"ipv6only=maybe\" in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { location @a { alias /x; } } }",
        "the \"alias\" directive cannot be used inside the named location in %%DIR%%/nginx.conf:1",
    ),
    ("events { worker_connections x; }", "invalid number \"x\" in %%DIR%%/nginx.conf:1"),
    ("events { use epoll; use epoll; }", "\"use\" directive is duplicate in %%DIR%%/nginx.conf:1"),
    ("events {} http { aio maybe; }", "\"aio\" directive invalid value in %%DIR%%/nginx.conf:1"),
    ("events {} http { aio off; aio off; }", "\"aio\" directive is duplicate in %%DIR%%/nginx.conf:1"),
    (
        "events {} http { postpone_output 1460; postpone_output 1460; }",
        "\"postpone_output\" directive is duplicate in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { types_hash_max_size 1024; types_hash_max_size 1024; }",
        "\"types_hash_max_size\" directive is duplicate in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { connection_pool_size 1; }",
        "the pool size must be no less than 112 in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { request_pool_size 404; }",
        "the pool size must be a multiple of 16 in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { large_client_header_buffers 0 8k; }",
        "\"large_client_header_buffers\" directive invalid value in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { proxy_buffers x 8k; }",
        "\"proxy_buffers\" directive invalid value in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { client_body_temp_path t x; }",
        "\"client_body_temp_path\" directive invalid value in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { keepalive_disable none none none; }",
        "invalid number of arguments in \"keepalive_disable\" directive in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { proxy_ssl_password_file /not/there; }",
        "open() \"/not/there\" failed (2: No such file or directory) in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { ssl_password_file /; }",
        "read() \"/\" failed (21: Is a directory) in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { location / { fastcgi_pass ::1; } } }",
        "invalid port in upstream \"::1\" in %%DIR%%/nginx.conf:1",
    ),
    ("events {} http { proxy_bind 127.0.0.1:0; }", "invalid address \"127.0.0.1:0\" in %%DIR%%/nginx.conf:1"),
    (
        "events {} http { proxy_cookie_flags a b c d e; }",
        "invalid number of arguments in \"proxy_cookie_flags\" directive in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { proxy_store on; proxy_store on; }",
        "\"proxy_store\" directive is duplicate in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { proxy_store on; proxy_cache z; }",
        "\"proxy_cache\" directive is incompatible with \"proxy_store\" in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { proxy_cache z; proxy_store on; }",
        "\"proxy_store\" directive is incompatible with \"proxy_cache\" in %%DIR%%/nginx.conf:1",
    ),
    ("events {} http { proxy_store_access user:x; }", "invalid value \"user:x\" in %%DIR%%/nginx.conf:1"),
    (
        "events {} http { error_page 99999999999999999999 /x; }",
        "invalid value \"99999999999999999999\" in %%DIR%%/nginx.conf:1",
    ),
    ("events {} http { log_format x '${'; }", "invalid parameter \"${\" in %%DIR%%/nginx.conf:1"),
    (
        "events {} http { server { listen http://127.0.0.1; } }",
        "invalid host in \"http://127.0.0.1\" of the \"listen\" directive in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { location / { internal; internal; } } }",
        "\"internal\" directive is duplicate in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { location / { proxy_buffers 1 4k; } } }",
        "there must be at least 2 \"proxy_buffers\" in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { location / { proxy_cache none; } } }",
        "\"proxy_cache\" zone \"none\" is unknown in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { proxy_cache_path c keys_zone=a:1m; proxy_cache_path c keys_zone=b:1m; }",
        "the same path name \"%%DIR%%/c\" used in %%DIR%%/nginx.conf:1 and in %%DIR%%/nginx.conf:1",
    ),
    ("events {}\nbogus 1;", "unknown directive \"bogus\" in %%DIR%%/nginx.conf:2"),
    ("events {}\n\nhttp { server { listen 1 } }", "unexpected \"}\" in %%DIR%%/nginx.conf:3"),
    ("events {}\nhttp { server {", "unexpected end of file, expecting \"}\" in %%DIR%%/nginx.conf:2"),
    ("events {}\n}", "unexpected \"}\" in %%DIR%%/nginx.conf:2"),
    ("events {} ;", "unexpected \";\" in %%DIR%%/nginx.conf:1"),
    ("events {} {", "unexpected \"{\" in %%DIR%%/nginx.conf:1"),
    ("events;", "directive \"events\" has no opening \"{\" in %%DIR%%/nginx.conf:1"),
    (
        "events {} worker_processes 1 {}",
        "directive \"worker_processes\" is not terminated by \";\" in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} worker_processes 1 2;",
        "invalid number of arguments in \"worker_processes\" directive in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} worker_processes;",
        "invalid number of arguments in \"worker_processes\" directive in %%DIR%%/nginx.conf:1",
    ),
    ("events {} worker_processes x;", "\"worker_processes\" directive invalid value in %%DIR%%/nginx.conf:1"),
    ("events {} events {}", "\"events\" directive is duplicate in %%DIR%%/nginx.conf:1"),
    ("events {} daemon on; daemon off;", "\"daemon\" directive is duplicate in %%DIR%%/nginx.conf:1"),
    (
        "events {} http { server { listen 9001-65536; } }",
        "invalid port in \"9001-65536\" of the \"listen\" directive in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { listen 80 backlog=0; } }",
        "invalid backlog \"backlog=0\" in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { listen 80 backlog=-1; } }",
        "invalid backlog \"backlog=-1\" in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { listen 80 rcvbuf=x; } }",
        "invalid rcvbuf \"rcvbuf=x\" in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { listen 80 fastopen=x; } }",
        "invalid fastopen \"fastopen=x\" in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { listen 80 setfib=1; } }",
        "invalid parameter \"setfib=1\" in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { listen 80 ipv6only=ox; } }",
        "invalid ipv6only flags \"ox\" in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { listen 80 so_keepalive=::; } }",
        "invalid so_keepalive value: \"::\" in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { root $document_root; } }",
        "the $document_root variable cannot be used in the \"root\" directive in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { location / { alias /a/${realpath_root}; } } }",
        "the $realpath_root variable cannot be used in the \"alias\" directive in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { location ~ a { location b {} } } }",
        "location \"b\" is outside location \"a\" in %%DIR%%/nginx.conf:1",
    ),
    ("events {} listen 80;", "\"listen\" directive is not allowed here in %%DIR%%/nginx.conf:1"),
    ("events {} server {}", "\"server\" directive is not allowed here in %%DIR%%/nginx.conf:1"),
    (
        "events {} daemon maybe;",
        "invalid value \"maybe\" in \"daemon\" directive, it must be \"on\" or \"off\" in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { sendfile 1; }",
        "invalid value \"1\" in \"sendfile\" directive, it must be \"on\" or \"off\" in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { client_max_body_size 1q; }",
        "\"client_max_body_size\" directive invalid value in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { keepalive_timeout 1q; }",
        "\"keepalive_timeout\" directive invalid value in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { send_timeout 1q; }",
        "\"send_timeout\" directive invalid value in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { listen 99999; } }",
        "invalid port in \"99999\" of the \"listen\" directive in %%DIR%%/nginx.conf:1",
    ),
    ("events {} http { server { listen 80 bogus; } }", "invalid parameter \"bogus\" in %%DIR%%/nginx.conf:1"),
    (
        "events {} http { server { listen 127.0.0.1:81 default_server; } server { listen 127.0.0.1:81 default_server; } }",
        "a duplicate default server for 127.0.0.1:81 in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { location /a {} location /a {} } }",
        "duplicate location \"/a\" in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { location ~ ( {} } }",
        "pcre2_compile() failed: missing closing parenthesis in \"(\" in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { location /a { location /b {} } } }",
        "location \"/b\" is outside location \"/a\" in %%DIR%%/nginx.conf:1",
    ),
    ("events {} http { server { root $nobody_set_this; } }", "unknown \"nobody_set_this\" variable"),
    ("events {} http { server { set host x; } }", "invalid variable name \"host\" in %%DIR%%/nginx.conf:1"),
    ("events {} http { server { return 1000; } }", "invalid return code \"1000\" in %%DIR%%/nginx.conf:1"),
    (
        "events {} http { server { rewrite a; } }",
        "invalid number of arguments in \"rewrite\" directive in %%DIR%%/nginx.conf:1",
    ),
    ("events {} http { server { rewrite a b c; } }", "invalid parameter \"c\" in %%DIR%%/nginx.conf:1"),
    (
        "events {} http { server { try_files a; } }",
        "invalid number of arguments in \"try_files\" directive in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { location / { alias a; root b; } } }",
        "\"root\" directive is duplicate, \"alias\" directive was specified earlier in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { location / { proxy_pass ftp://a; } } }",
        "invalid URL prefix in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { location ~ a { proxy_pass http://127.0.0.1/b; } } }",
        "\"proxy_pass\" cannot have URI part in location given by regular expression, or inside named location, or inside \"if\" statement, or inside \"limit_except\" block in %%DIR%%/nginx.conf:1",
    ),
    ("events {} http { upstream u { } }", "no servers are inside upstream in %%DIR%%/nginx.conf:1"),
    (
        "events {} http { upstream u { server 127.0.0.1; } upstream u { server 127.0.0.1; } }",
        "duplicate upstream \"u\" in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { upstream u { server 127.0.0.1 weight=0; } }",
        "invalid parameter \"weight=0\" in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { log_format a b; log_format a c; }",
        "duplicate \"log_format\" name \"a\" in %%DIR%%/nginx.conf:1",
    ),
    ("events {} http { access_log logs/x nosuch; }", "unknown log format \"nosuch\" in %%DIR%%/nginx.conf:1"),
    ("events {} error_log logs/e nosuch;", "invalid log level \"nosuch\" in %%DIR%%/nginx.conf:1"),
    (
        "error_log logs/e info debug_http; events {}",
        "invalid log level \"debug_http\" in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { gzip_window 3k; }",
        "\"gzip_window\" directive must be 512, 1k, 2k, 4k, 8k, 16k, or 32k in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { gzip_buffers x 4k; }",
        "\"gzip_buffers\" directive invalid value in %%DIR%%/nginx.conf:1",
    ),
    ("events {} http { allow 1.2.3; }", "invalid parameter \"1.2.3\" in %%DIR%%/nginx.conf:1"),
    (
        "events {} http { server { error_page 200 /x; } }",
        "value \"200\" must be between 300 and 599 in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { expires 1q; } }",
        "\"expires\" directive invalid value in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { include nowhere.conf; }",
        "open() \"%%DIR%%/nowhere.conf\" failed (2: No such file or directory) in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} user nobody_of_this_name;",
        "getpwnam(\"nobody_of_this_name\") failed in %%DIR%%/nginx.conf:1",
    ),
    ("events { use nosuch; }", "invalid event type \"nosuch\" in %%DIR%%/nginx.conf:1"),
    ("events {} \"unterminated", "unexpected end of file, expecting \";\" or \"}\" in %%DIR%%/nginx.conf:1"),
    ("events {} http { map $a $b { x; } }", "invalid number of the map parameters in %%DIR%%/nginx.conf:1"),
    ("events {} http { server { if ($a { } } }", "invalid condition \"$a\" in %%DIR%%/nginx.conf:1"),
    (
        "events {} http { server { listen unix:; } }",
        "no path in the unix domain socket in \"unix:\" of the \"listen\" directive in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { listen 8001-8000; } }",
        "invalid port range in \"8001-8000\" of the \"listen\" directive in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { listen 127.0.0.1:8000-; } }",
        "invalid port in \"127.0.0.1:8000-\" of the \"listen\" directive in %%DIR%%/nginx.conf:1",
    ),
    ("events {} http { gzip_comp_level 10; }", "value must be between 1 and 9 in %%DIR%%/nginx.conf:1"),
    ("events {} http { gzip_comp_level 0; }", "value must be between 1 and 9 in %%DIR%%/nginx.conf:1"),
    (
        "events {} http { proxy_cache_path c keys_zone=z:1m; server { fastcgi_cache z; location / { fastcgi_pass 127.0.0.1:1; } } }",
        "the shared memory zone \"z\" is already declared for a different use in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { proxy_cache_path c keys_zone=z:1m; limit_req_zone $uri zone=z:1m rate=1r/s; }",
        "the shared memory zone \"z\" is already declared for a different use in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { location / { fastcgi_pass http://127.0.0.1:1; } } }",
        "invalid host in upstream \"http://127.0.0.1:1\" in %%DIR%%/nginx.conf:1",
    ),
    (
        "events {} http { server { location / { proxy_pass http://127.0.0.1:1#a; } } }",
        "invalid port in upstream \"127.0.0.1:1#a\" in %%DIR%%/nginx.conf:1",
    ),
    ("events {} http { resolver valid=1s; }", "no name servers defined in %%DIR%%/nginx.conf:1"),
    ("http {}", "no \"events\" section in configuration"),
];

#[test]
fn errors_in_nginx_words_with_file_and_line() {
    each(|binary| {
        let mut wrong = Vec::new();
        for (text, message) in REFUSED {
            let exit = check(binary, text);
            if exit.code != Some(1) || !exit.stderr.contains(&format!("[emerg] {message}")) {
                wrong.push(format!("{text:?}\n  expected {message}\n  got {}", exit.stderr.trim_end()));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn a_server_listens_on_a_range_of_ports() {
    let text = "server { listen 127.0.0.1:%%PORT%%-%%PORT%% ipv6only=on; return 200 $server_port; }";
    on_both(text, |server| assert_eq!(server.get("/").text(), server.port().to_string()));
    each(|binary| {
        let text =
            "events {} http { server { listen 8080-8082; listen [::1]:8080-8090; listen *:8085-8086; } }";
        assert_eq!(check(binary, text).code, Some(0));
    });
}

#[test]
fn a_piece_for_servers_may_name_what_only_they_define() {
    let piece = "proxy_set_header A $nowhere; fastcgi_param A $nowhere; grpc_set_header A $nowhere;";
    each(|binary| {
        assert_eq!(check(binary, &format!("events {{}} http {{ {piece} }}")).code, Some(0));
        for text in [
            format!("events {{}} http {{ {piece} server {{}} }}"),
            "events {} http { log_format a $nowhere; }".to_owned(),
            format!("events {{}} http {{ {piece} log_format a $nowhere; }}"),
        ] {
            let refused = check(binary, &text);
            assert!(
                refused.code != Some(0) && refused.stderr.contains("unknown \"nowhere\" variable"),
                "{}",
                refused.stderr
            );
        }
    });
}

#[test]
fn quoting_escapes_and_variables() {
    let text = r##"
        location = /1 { return 200 "a \"b\" 'c' \\ \t."; }
        location = /2 { return 200 'a "b" \'c\' $arg_x'; }
        location = /3 { return 200 a\ b\;c; }
        location = /4 { return 200 "${arg_x}y $arg_x-z"; }
        location = /5 { return 200 "line
two"; }
        location = /6 { return 200 a#b; } # comment { ;
        location = /7{return 200 tight;}
        "location" = "/8" { "return" "200" "quoted"; }
        location = "/9 a" { return 200 "\n.\r"; }
        location = /10 { return 200 "\x\."; }
    "##;
    on_both(text, |server| {
        for (target, body) in [
            ("/1", "a \"b\" 'c' \\ \t."),
            ("/2?x=v", "a \"b\" 'c' v"),
            ("/3", "a\\ b\\;c"),
            ("/4?x=v", "vy v-z"),
            ("/5", "line\ntwo"),
            ("/6", "a#b"),
            ("/7", "tight"),
            ("/8", "quoted"),
            ("/9%20a", "\n.\r"),
            ("/10", "\\x\\."),
        ] {
            assert_eq!(server.get(target).text(), body, "{target}");
        }
    });
}

#[test]
fn includes_are_relative_to_the_file_and_sorted() {
    let site = Site::new("location = / { return 200 $order; } set $order \"\"; include parts/*.conf; include parts/none-*.conf;")
        .file("parts/b.conf", "set $order \"${order}b\"; include parts/sub/c;")
        .file("parts/a.conf", "set $order \"${order}a\";")
        .file("parts/sub/c", "set $order \"${order}c\";")
        .file("parts/.hidden.conf", "bogus;");
    on_both(site, |server| {
        // The server's rewrites ran before this location was chosen.
        assert_eq!(server.get("/").text(), "abc");
    });
}

#[test]
fn an_error_in_an_included_file_names_that_file() {
    each(|binary| {
        let site = Site::bare("pid logs/p; events {}\nhttp {\n include sub.conf;\n}")
            .file("sub.conf", "\n\n bogus;\n");
        let exit = binary.check(site);
        assert!(exit.stderr.contains("[emerg] unknown directive \"bogus\" in %%DIR%%/sub.conf:3"), "{exit}");
    });
}

#[test]
fn sizes_and_times() {
    let text = "server { listen 127.0.0.1:%%PORT%%; location /a { client_max_body_size 1K; return 200; } \
        location /h { expires 1h30m; return 200; } location /w { expires 1w; return 200; } location /m { expires 1M1d; return 200; } \
        location /y { expires 1y; return 200; } location /s { expires 90; return 200; } location /sp { expires \"1h 30m 5s\"; return 200; } }";
    on_both(text, |server| {
        for (target, age) in [
            ("/h", 5400),
            ("/w", 604_800),
            ("/m", 2_592_000 + 86_400),
            ("/y", 31_536_000),
            ("/s", 90),
            ("/sp", 5405),
        ] {
            let expected = format!("max-age={age}");
            assert_eq!(server.get(target).header("cache-control"), Some(expected.as_str()), "{target}");
        }
    });
}

#[test]
fn arrays_are_inherited_only_if_none_is_set() {
    let text = "add_header X a; add_header Y b; server { listen 127.0.0.1:%%PORT%%; location /in { return 200; } location /own { add_header X c; return 200; } }";
    on_both(text, |server| {
        let seen = |target: &str| {
            let response = server.get(target);
            (response.all("x").join(","), response.all("y").join(","))
        };
        assert_eq!(seen("/in"), ("a".to_owned(), "b".to_owned()));
        assert_eq!(seen("/own"), ("c".to_owned(), String::new()));
    });
}

#[test]
fn conflicting_names_are_a_warning() {
    each(|binary| {
        let exit = check(
            binary,
            "events {} http { server { listen 127.0.0.1:80; server_name a; } server { listen 127.0.0.1:80; server_name a; } }",
        );
        assert!(
            exit.stderr.contains("[warn] conflicting server name \"a\" on 127.0.0.1:80, ignored"),
            "{exit}"
        );
        assert_eq!(exit.code, Some(0));
    });
}

#[test]
fn the_dump_shows_every_file_once() {
    each(|binary| {
        let site = Site::bare("pid logs/p; events {}\nhttp { include sub.conf; include sub.conf; }\n")
            .file("sub.conf", "# sub\n");
        let exit = binary.run(site, &["-T"]);
        assert_eq!(exit.code, Some(0));
        assert!(exit.stdout.starts_with("# configuration file %%DIR%%/nginx.conf:\npid logs/p;"), "{exit}");
        assert_eq!(
            exit.stdout.matches("# configuration file %%DIR%%/sub.conf:\n# sub\n\n").count(),
            1,
            "{exit}"
        );
    });
}

#[test]
fn versions_help_and_bad_options() {
    each(|binary| {
        let site = || Site::bare("events {}");
        let version = binary.run(site(), &["-v"]);
        assert_eq!((version.code, version.stdout.as_str()), (Some(0), ""));
        assert!(version.stderr.contains("nginx version: nginx/1."), "{version}");
        let built = binary.run(site(), &["-V"]);
        assert!(built.stderr.contains("configure arguments:"), "{built}");
        let help = binary.run(site(), &["-h"]);
        assert!(help.stderr.contains("-s signal") && help.code == Some(0), "{help}");
        let wrong = binary.run(site(), &["-x"]);
        assert_eq!(
            (wrong.code, wrong.stderr.trim_end()),
            (Some(1), format!("{}: invalid option: \"x\"", binary.name()).as_str())
        );
        let signal = binary.run(site(), &["-s", "bogus"]);
        assert_eq!(
            (signal.code, signal.stderr.trim_end()),
            (Some(1), format!("{}: invalid option: \"-s bogus\"", binary.name()).as_str())
        );
    });
}

#[test]
fn signals_by_the_command_line() {
    each(|binary| {
        let mut server = binary.serve("location / { return 200 one; }");
        server.rewrite("location / { return 200 two; }");
        assert_eq!(server.again(&["-s", "reload"]).code(), Some(0));
        testkit::eventually("the new configuration", || server.get("/").text() == "two");
        assert_eq!(server.again(&["-s", "quit"]).code(), Some(0));
        assert_eq!(server.wait_exit().code(), Some(0));
    });
}

#[test]
fn settings_that_nginx_does_not_write_about_are_taken() {
    let text = "events { epoll_events 100; } http { server { listen 127.0.0.1:%%PORT%%; \
        gzip on; gzip_min_length 1; gzip_window 4k; gzip_hash 8k; postpone_gzipping 1k; gzip_no_buffer on; \
        open_file_cache_events off; ssi_ignore_recycled_buffers on; secure_link_secret x; \
        location / { default_type text/html; return 200 hello; } } }";
    testkit::on_both(text, |server| {
        let answer = server.get_with("/", &[("Accept-Encoding", "gzip")]);
        assert_eq!(answer.header("content-encoding"), Some("gzip"));
    });
}

/// Debian's nginx does not say it yet.
#[test]
fn servers_of_an_address_that_differ_in_its_protocols_are_a_warning() {
    let warned = |listens: [&str; 2]| {
        let [first, second] = listens.map(|words| format!("listen 127.0.0.1:8082 {words};"));
        let text =
            format!("events {{}} http {{ server {{ {first} }} server {{ {second} server_name b; }} }}");
        let exit = Binary::Plimsoll.check(Site::bare(text));
        exit.stderr.contains("[warn] protocol options redefined for 127.0.0.1:8082 in ")
    };
    assert!(!warned(["proxy_protocol", "proxy_protocol"]));
    assert!(!warned(["proxy_protocol", ""]));
    assert!(warned(["proxy_protocol", "http2"]));
    assert!(warned(["proxy_protocol", "bind"]));
}

//! `return`, `rewrite`, `set`, `if`, `map`, and variables in text.
#![forbid(unsafe_code)]

use testkit::{Server, on_both};

#[track_caller]
fn expect(server: &Server, table: &[(&str, &str)]) {
    for (target, body) in table {
        assert_eq!(server.get(target).text(), *body, "{target}");
    }
}

#[test]
fn forms_of_return() {
    let text = "location /text { return 200 \"a b\"; } location /url { return 302 /x?y; } location /abs { return 301 http://x.example/; }\n\
        location /bare { return http://y.example/; } location /perm { return 308 /p; } location /see { return 303 /s; }\n\
        location /no { return 204; } location /body { return 404 gone; } location /empty { return 200; }\n\
        location /vars { return 200 \"$request_method $scheme $server_protocol\"; } location /https { return https://z.example$request_uri; }";
    on_both(text, |server| {
        let port = server.port();
        for (target, status, location) in [
            ("/url", 302, format!("http://localhost:{port}/x?y")),
            ("/abs", 301, "http://x.example/".to_owned()),
            ("/bare", 302, "http://y.example/".to_owned()),
            ("/perm", 308, format!("http://localhost:{port}/p")),
            ("/see", 303, format!("http://localhost:{port}/s")),
            ("/https?a", 302, "https://z.example/https?a".to_owned()),
        ] {
            let response = server.get(target);
            assert_eq!(
                (response.status, response.header("location")),
                (status, Some(location.as_str())),
                "{target}"
            );
        }
        assert_eq!(server.get("/text").text(), "a b");
        assert_eq!(server.get("/vars").text(), "GET http HTTP/1.1");
        let body = server.get("/body");
        assert_eq!((body.status, body.text().as_str()), (404, "gone"));
        let empty = server.get("/empty");
        assert_eq!((empty.status, empty.header("content-length")), (200, Some("0")));
        let none = server.get("/no");
        assert_eq!(
            (none.status, none.header("content-length"), none.header("content-type")),
            (204, None, None)
        );
    });
}

#[test]
fn rewrite_flags() {
    let text = "location /last { rewrite ^/last/(.*)$ /shown/$1 last; return 200 not; }\n\
        location /break { rewrite ^/break/(.*)$ /files/$1 break; } location /shown { return 200 \"$uri $args\"; }\n\
        location /redir { rewrite ^ /to redirect; } location /perm { rewrite ^ /to permanent; }\n\
        location /out { rewrite ^/out/(.*) http://x.example/$1; } location /none { rewrite ^/other /x last; return 200 none; }\n\
        location /fall { rewrite ^/fall/(.*)$ /fallen/$1; return 200 $uri; }";
    on_both(text, |server| {
        server.write("html/files/f", "file");
        expect(
            server,
            &[
                ("/last/a", "/shown/a "),
                ("/last/a?x=1", "/shown/a x=1"),
                ("/break/f", "file"),
                ("/none", "none"),
                ("/fall/a", "/fallen/a"),
            ],
        );
        let port = server.port();
        for (target, status, location) in [
            ("/redir", 302, format!("http://localhost:{port}/to")),
            ("/redir?a=b", 302, format!("http://localhost:{port}/to?a=b")),
            ("/perm", 301, format!("http://localhost:{port}/to")),
            ("/out/a%20b?c", 302, "http://x.example/a%20b?c".to_owned()),
        ] {
            let response = server.get(target);
            assert_eq!(
                (response.status, response.header("location")),
                (status, Some(location.as_str())),
                "{target}"
            );
        }
    });
}

#[test]
fn arguments_of_a_rewrite() {
    let text = "rewrite ^/add/(.*)$ /show?new=$1 last; rewrite ^/drop/(.*)$ /show?new=$1? last; rewrite ^/none/ /show? last;\n\
        location /show { return 200 \"[$args] [$arg_new] $is_args\"; }";
    on_both(text, |server| {
        expect(
            server,
            &[
                ("/add/x?old=1", "[new=x&old=1] [x] ?"),
                ("/drop/x?old=1", "[new=x] [x] ?"),
                ("/none/?old=1", "[] [] "),
                ("/add/a%20b", "[new=a%20b] [a%20b] ?"),
                ("/show", "[] [] "),
            ],
        );
    });
}

#[test]
fn captures_in_texts_are_escaped_again_until_a_rewrite_matches() {
    let text = "location ~ ^/here/(.*)$ { set $a \"[$1]\"; if ($arg_x = \"$1\") { return 200 same; } return 200 \"$a [$1]\"; }\n\
        location /if/ { if ($uri ~ ^/if/(?<name>.*)$) { set $a \"[$1] [$name]\"; } return 200 $a; }\n\
        location /missed/ { rewrite ^/none /x; if ($uri ~ ^/missed/(.*)$) { set $a $1; } return 200 $a; }\n\
        location /matched/ { rewrite ^/matched/(.*)$ /to/$1; set $a $1; return 200 $a; }";
    on_both(text, |server| {
        expect(
            server,
            &[
                ("/here/a%20b", "[a%20b] [a b]"),
                ("/here/a+b", "[a%2Bb] [a+b]"),
                ("/here/a", "[a] [a]"),
                ("/here/a%20b?x=a%20b", "same"),
                ("/if/a%20b%C3%A9", "[a%20b%C3%A9] [a b\u{e9}]"),
                ("/missed/a%20b", "a%20b"),
                ("/matched/a%20b", "a b"),
            ],
        );
    });
}

#[test]
fn server_rewrites_run_first_and_last_searches_again() {
    let text = "rewrite ^/a$ /b; rewrite ^/b$ /c last; rewrite ^/c$ /d; location / { return 200 $uri; }\n\
        location /loop { rewrite ^ /loop last; }";
    on_both(text, |server| {
        expect(server, &[("/a", "/c"), ("/c", "/d"), ("/x", "/x")]);
        assert_eq!(server.get("/loop").status, 500);
        server.error_log().wait_for("rewrite or internal redirection cycle while processing \"/loop\"");
    });
}

#[test]
fn if_conditions() {
    let text = "location / { set $r none;\n\
        if ($arg_a) { set $r set; } if ($arg_b = x) { set $r equal; } if ($arg_c != x) { set $r \"$r-not\"; }\n\
        if ($arg_d ~ ^(\\d+)$) { set $r \"number $1\"; } if ($arg_d ~* ^ABC$) { set $r abc; } if ($arg_e !~ y) { set $r \"$r.\"; }\n\
        if (-f $document_root$uri) { set $r file; } if (-d $document_root$uri) { set $r dir; } if (!-e $document_root$uri) { set $r \"$r-absent\"; }\n\
        return 200 $r; }";
    on_both(text, |server| {
        server.write("html/f", "");
        server.write("html/d/f", "");
        expect(
            server,
            &[
                ("/q?c=x&e=y", "none-absent"),
                ("/q?a=1&c=x&e=y", "set-absent"),
                ("/q?a=0&c=x&e=y", "none-absent"),
                ("/q?a=&c=x&e=y", "none-absent"),
                ("/q?b=x&c=x&e=y", "equal-absent"),
                ("/q?e=y", "none-not-absent"),
                ("/q?c=x&d=12&e=y", "number 12-absent"),
                ("/q?c=x&d=aBc&e=y", "abc-absent"),
                ("/q?c=x", "none.-absent"),
                ("/f", "file"),
                ("/d/", "dir"),
            ],
        );
    });
}

#[test]
fn if_has_its_own_directives() {
    let text = "location / { add_header X-A outer; if ($arg_x) { add_header X-A inner; } if ($arg_r) { return 403; } if ($arg_b) { break; } }\n\
        if ($host = moved.example) { return 301 http://new.example$request_uri; }\n\
        location /root { if ($arg_x) { root html/other; } }";
    on_both(text, |server| {
        server.write("html/f", "f");
        server.write("html/root", "here");
        server.write("html/other/root", "there");
        assert_eq!(server.get("/f").all("x-a"), ["outer"]);
        assert_eq!(server.get("/f?x=1").all("x-a"), ["inner"]);
        assert_eq!(server.get("/f?r=1").status, 403);
        assert_eq!(server.get("/root").text(), "here");
        assert_eq!(server.get("/root?x=1").text(), "there");
        let moved = server.get_with("/f?q", &[("Host", "moved.example")]);
        assert_eq!((moved.status, moved.header("location")), (301, Some("http://new.example/f?q")));
    });
}

#[test]
fn map() {
    let text = "map $arg_k $v { default none; a one; *.example.org host; \"~^n(?<digits>\\d+)$\" \"number $digits\"; \"~*^CASE\" case; \"\" empty; \\default word; }\n\
        map $host $w { hostnames; default 0; .example.com dot; *.example.net star; www.* prefix; }\n\
        map $arg_k$arg_l $both { ax yes; default \"$arg_k+$arg_l\"; }\n\
        server { listen 127.0.0.1:%%PORT%%; return 200 \"$v|$w|$both\"; }";
    on_both(text, |server| {
        for (target, host, body) in [
            ("/?k=a", "x", "one|0|a+"),
            ("/?k=A", "x", "one|0|A+"),
            ("/?k=n12", "x", "number 12|0|n12+"),
            ("/?k=casex", "x", "case|0|casex+"),
            ("/", "x", "empty|0|+"),
            ("/?k=zz", "example.com", "none|dot|zz+"),
            ("/?k=zz", "a.example.com", "none|dot|zz+"),
            ("/?k=zz", "a.example.net", "none|star|zz+"),
            ("/?k=zz", "www.y", "none|prefix|zz+"),
            ("/?k=a&l=x", "x", "one|0|yes"),
            ("/?k=default", "x", "word|0|default+"),
        ] {
            assert_eq!(server.get_with(target, &[("Host", host)]).text(), body, "{target} {host}");
        }
    });
}

#[test]
fn variables_of_the_core() {
    let text = "server_name site.example; root html; location / { return 200 \"$arg_b|$args|$query_string|$is_args|$content_length|$content_type|$cookie_c|$document_root|$document_uri|\
        $host|$hostname|$http_user_agent|$https|$remote_addr|$remote_user|$request|$request_body|$request_method|$scheme|$server_name|$server_port|$server_protocol|$uri|$nginx_version|$pid|$pipe|$binary_remote_addr|${uri}x|$connection_requests\"; }";
    on_both(text, |server| {
        let fields = [
            ("Host", "Site.example:1"),
            ("Content-Type", "a/b"),
            ("Cookie", "a=1; c=see; d=2"),
            ("User-Agent", "ua"),
            ("Authorization", "Basic dTpw"),
        ];
        let text = server.request("POST", "/p%20q?a=1&b=two&c", &fields, b"body").text();
        let parts: Vec<&str> = text.split('|').collect();
        let root = server.path("html").display().to_string();
        let expected =
            ["two", "a=1&b=two&c", "a=1&b=two&c", "?", "4", "a/b", "see", &root, "/p q", "site.example"];
        assert_eq!(parts[..10], expected);
        let port = server.port().to_string();
        let expected = [
            "ua",
            "",
            "127.0.0.1",
            "u",
            "POST /p%20q?a=1&b=two&c HTTP/1.1",
            "",
            "POST",
            "http",
            "site.example",
            &port,
            "HTTP/1.1",
            "/p q",
        ];
        assert_eq!(parts[11..23], expected);
        assert!(parts[23].split('.').count() >= 3, "{}", parts[23]);
        assert!(parts[24].parse::<u32>().is_ok(), "{}", parts[24]);
        assert_eq!(parts[25], ".");
        assert_eq!(parts[27..], ["/p qx", "1"]);
    });
}

#[test]
fn variables_of_time_and_connection() {
    let text = "location / { return 200 \"$time_local|$time_iso8601|$msec|$request_time|$connection|$request_id|$bytes_sent|$request_length|$realpath_root|$status\"; }";
    on_both(text, |server| {
        let text = server.get("/").text();
        let pattern = r"(?x)^\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d\ [+-]\d{4} \|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d
            \|\d+\.\d{3} \|\d\.\d{3} \|\d+ \|[0-9a-f]{32} \|0 \|\d+ \|/.* \|\d{3} $";
        assert!(testkit::matches(pattern, &text), "{text}");
    });
}

#[test]
fn set_may_use_what_was_set() {
    let text = "set $a 1; set $b \"$a-${a}2\"; location / { set $a \"$b!\"; return 200 \"$a $b $unset_by_nobody_$arg_x\"; }\
        set $unset_by_nobody_ \"\";";
    on_both(text, |server| expect(server, &[("/?x=y", "1-12! 1-12 y")]));
}

#[test]
fn what_clients_say_may_be_overruled() {
    let text = "location /a { set $arg_x set; set $http_x set; return 200 \"$arg_x $http_x\"; } \
        location /b { if ($arg_y) { set $arg_x set; } return 200 \"$arg_x $http_x\"; }";
    on_both(text, |server| {
        let get = |target: &str| server.get_with(target, &[("X", "said")]).text();
        assert_eq!(get("/b?x=given"), "given said");
        assert_eq!(get("/b?x=given&y=1"), "set said");
        assert_eq!(get("/a"), "set set");
        assert!(!server.error_log().text().contains("uninitialized"));
    });
}

/// A text that this takes for ever on is given up: what depends on it is answered 500, a `map` has no match.
#[test]
fn an_expression_that_takes_too_long_is_given_up() {
    let text = "map $arg_m $mapped { default none; \"~^(a|aa|aaa)+$\" all; } server { listen 127.0.0.1:%%PORT%%; \
        location ~ ^/where/(a|aa|aaa)+$ { return 200 all; } \
        location /rewrite { rewrite ^/rewrite/(a|aa|aaa)+$ /all; return 200 none; } \
        location /if { if ($uri ~ ^/if/(a|aa|aaa)+$) { return 200 all; } return 200 none; } \
        location /map { return 200 $mapped; } location / { return 200 other; } }";
    on_both(text, |server| {
        let long = format!("{}b", "a".repeat(60));
        for place in ["where", "rewrite", "if"] {
            assert_eq!(server.get(&format!("/{place}/{long}")).status, 500, "{place}");
            let words = format!(
                "pcre2_match() failed: -47 on \"/{place}/{long}\" using \"^/{place}/(a|aa|aaa)+$\", "
            );
            server.error_log().wait_for(&words);
        }
        assert_eq!(server.get(&format!("/map?m={long}")).text(), "none");
        assert_eq!(server.get("/if/aaa").text(), "all");
    });
}

#[test]
fn what_is_no_escape_leaves_a_redirect() {
    let text = "rewrite ^/name http://%host/ permanent; rewrite ^/end http://h/100% permanent;
        rewrite ^/digit http://h/%4g%41?%zz permanent; rewrite ^/mark http://h/%?%41 permanent;";
    on_both(text, |server| {
        let table = [
            ("/name", "http://host/"),
            ("/end", "http://h/100"),
            ("/digit", "http://h/A?%zz"),
            ("/mark", "http://h/?A"),
        ];
        for (target, location) in table {
            assert_eq!(server.get(target).header("location"), Some(location), "{target}");
        }
    });
}

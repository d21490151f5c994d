//! Modules of others: what `load_module` says, what is offered instead, and the ones that are built in.
#![forbid(unsafe_code)]

use testkit::{Binary, Origin, Site, each, serve};

#[test]
fn nothing_is_loaded() {
    let exit = Binary::Plimsoll.check(Site::bare(
        "load_module modules/ngx_http_headers_more_filter_module.so;\n\
         load_module /usr/lib/nginx/modules/ngx_http_js_module.so;\n\
         error_log stderr notice; events {} http { server { listen 127.0.0.1:%%PORT%%; } }",
    ));
    assert_eq!(exit.code, Some(0), "{exit}");
    for said in [
        "\"ngx_http_headers_more_filter_module\" is part of plimsoll, nothing is loaded in %%DIR%%/nginx.conf:1",
        "\"ngx_http_js_module\" is not supported by plimsoll, its directives are refused in %%DIR%%/nginx.conf:2",
    ] {
        assert!(exit.log.contains(said), "{said}: {exit}");
    }
}

#[test]
fn a_module_too_late() {
    each(|binary| {
        let exit = binary.check(Site::bare("events {}\nload_module modules/ngx_http_js_module.so;\nhttp {}"));
        assert!(exit.stderr.contains("[emerg]"), "{exit}");
        assert!(
            exit.stderr.contains("\"load_module\" directive is specified too late in %%DIR%%/nginx.conf:2"),
            "{exit}"
        );
    });
}

#[test]
fn what_to_use_instead() {
    for (text, help) in [
        (
            "content_by_lua_block { ngx.say(\"hello\") }",
            "\"content_by_lua_block\" belongs to a third party's module: Lua is not here",
        ),
        ("modsecurity on;", "put the web application firewall in front"),
        (
            "image_filter resize 1 1;",
            "\"image_filter\" belongs to ngx_http_image_filter_module: scale images in",
        ),
        ("js_content a;", "scripts are not here: use \"map\""),
    ] {
        let exit = Binary::Plimsoll.refuses(format!("location / {{ {text} }}"));
        assert!(exit.stderr.contains("is not supported by plimsoll") && exit.stderr.contains(help), "{exit}");
    }
}

#[test]
fn more_headers() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nServer: origin\r\nX-Powered-By: a\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 0\r\n\r\n",
    );
    let text = "more_set_headers 'X-Outer: outer' 'X-Both: outer'; \
        location / { return 200 body; more_set_headers 'Server: mine' 'X-Both: $uri' 'Content-Type: text/x-mine'; } \
        location /none { more_clear_headers Server X-Outer; return 404; } \
        location /some { more_set_headers -s '404 500' 'X-S: yes'; return 404; } \
        location /other { more_set_headers -s 500 'X-S: yes'; return 404; } \
        location /type { default_type text/css; more_set_headers -t 'text/plain text/css' 'X-T: yes'; return 200 a; } \
        location /html { default_type text/html; more_set_headers -t text/css 'X-T: yes'; return 200 a; } \
        location /up { more_clear_headers 'X-Pow*'; more_set_headers 'X-A: 3'; proxy_pass http://%%ORIGIN%%; } \
        location /append { more_set_headers -a 'X-A: 3'; more_set_headers 'X-Outer:'; proxy_pass http://%%ORIGIN%%; }";
    let server = serve(Site::new(text).with("ORIGIN", origin.address()));
    let own = server.get("/");
    assert_eq!((own.header("server"), own.header("content-type")), (Some("mine"), Some("text/x-mine")));
    assert_eq!((own.all("x-both"), own.header("x-outer")), (vec!["/"], Some("outer")));
    let none = server.get("/none");
    assert_eq!((none.status, none.header("server"), none.header("x-outer")), (404, None, None));
    for (target, name, value) in [
        ("/some", "x-s", Some("yes")),
        ("/other", "x-s", None),
        ("/type", "x-t", Some("yes")),
        ("/html", "x-t", None),
        ("/up", "x-powered-by", None),
        ("/append", "x-outer", None),
    ] {
        assert_eq!(server.get(target).header(name), value, "{target}");
    }
    assert_eq!(server.get("/up").all("x-a"), ["3"]);
    assert_eq!(server.get("/append").all("x-a"), ["1", "2", "3"]);
}

#[test]
fn what_is_wrong_with_more_headers() {
    for (text, said) in [
        ("more_set_headers -x 'A: b';", "invalid option name: \"-x\""),
        ("more_set_headers -s x 'A: b';", "invalid status code: \"x\""),
        ("more_set_headers ': b';", "invalid header \": b\""),
    ] {
        let exit = Binary::Plimsoll.refuses(text);
        assert!(exit.stderr.contains(said), "{text}: {exit}");
    }
}

//! `map`: what is looked up, in which order, and what it gives.
#![forbid(unsafe_code)]

use testkit::{Binary, Site, each, on_both};

/// A map inside `http`, and a location that shows its value.
fn shows(map: &str) -> String {
    format!("{map}\nserver {{ listen 127.0.0.1:%%PORT%%; location / {{ return 200 \"[$v]\"; }} }}")
}

#[test]
fn texts_first_then_expressions_in_order() {
    let text = shows(
        "map $arg_k $v { default \"none of $arg_k\"; A letter; ~^b(.*)$ \"b and $1\"; ~*^B other; ~^(?<name>c)d \"$name\"; \\default word; \"\" empty; x$arg_z never; }",
    );
    on_both(text, |server| {
        for (target, value) in [
            ("/?k=a", "[letter]"),
            ("/?k=A", "[letter]"),
            ("/?k=bcd", "[b and cd]"),
            ("/?k=Bcd", "[other]"),
            ("/?k=cd", "[c]"),
            ("/?k=default", "[word]"),
            ("/?k=z", "[none of z]"),
            ("/", "[empty]"),
        ] {
            assert_eq!(server.get(target).text(), value, "{target}");
        }
    });
}

#[test]
fn without_a_default_there_is_the_empty_text() {
    on_both(shows("map $arg_k $v { a b; }"), |server| {
        assert_eq!(server.get("/?k=a").text(), "[b]");
        assert_eq!(server.get("/?k=c").text(), "[]");
    });
}

#[test]
fn names_of_hosts() {
    let text = shows(
        "map $arg_k $v { hostnames; default other; example.com exact; *.example.com sub; www.* www; .both.org both; *.com com; }",
    );
    on_both(text, |server| {
        for (host, value) in [
            ("example.com", "exact"),
            ("example.com.", "exact"),
            ("EXAMPLE.com", "exact"),
            ("a.b.example.com", "sub"),
            ("a.com", "com"),
            ("www.net", "www"),
            ("www.example.com", "sub"),
            ("both.org", "both"),
            ("x.both.org", "both"),
            (".example.com", "sub"),
            (".both.org", "both"),
            ("net", "other"),
            (".com", "com"),
        ] {
            assert_eq!(server.get(&format!("/?k={host}")).text(), format!("[{value}]"), "{host}");
        }
    });
}

#[test]
fn a_value_is_kept_unless_volatile() {
    let text = "map $args $kept { default $args; } map $args $fresh { volatile; default $args; }\n\
        server { listen 127.0.0.1:%%PORT%%; location / { set $first \"$kept $fresh\"; set $args b; return 200 \"$first $kept $fresh\"; } }";
    on_both(text, |server| assert_eq!(server.get("/?a").text(), "a a a b"));
}

#[test]
fn a_map_may_use_maps_but_not_itself() {
    let text = "map $arg_k $one { default 1$arg_k; } map $one $two { 1a yes; default no; }\n\
        map $ring $gnir { default x; } map $gnir $ring { default y; }\n\
        server { listen 127.0.0.1:%%PORT%%; location / { return 200 $two; } location /ring { return 200 $ring; } }";
    on_both(text, |server| {
        assert_eq!(server.get("/?k=a").text(), "yes");
        assert_eq!(server.get("/?k=b").text(), "no");
        assert_eq!(server.get("/ring").text(), "y");
        server.error_log().wait_for("cycle while evaluating variable \"ring\"");
    });
}

#[test]
fn lines_from_another_file() {
    let site = Site::new(shows("map $arg_k $v { default d; include part.map; }"))
        .file("part.map", "a b;\n~^c. e;\n");
    on_both(site, |server| {
        assert_eq!(server.get("/?k=a").text(), "[b]");
        assert_eq!(server.get("/?k=cx").text(), "[e]");
        assert_eq!(server.get("/?k=x").text(), "[d]");
    });
}

#[test]
fn maps_that_are_none() {
    each(|binary: Binary| {
        for (text, words) in [
            ("map $host b { }", "invalid variable name \"b\""),
            ("map $host $uri { }", "the duplicate \"uri\" variable"),
            ("map $host $b { a; }", "invalid number of the map parameters"),
            ("map $host $b { default 1; default 2; }", "duplicate default map parameter"),
            ("map $host $b { a 1; A 2; }", "conflicting parameter \"a\""),
            ("map $host $b { hostnames; *.a.* 2; }", "invalid hostname or wildcard \"*.a.*\""),
            ("map_hash_max_size 1; map_hash_max_size 1;", "\"map_hash_max_size\" directive is duplicate"),
        ] {
            let exit = binary.check(Site::bare(format!("events {{}}\nhttp {{ {text} }}")));
            assert_eq!(exit.code, Some(1), "{text}: {exit}");
            assert!(
                exit.stderr.contains(&format!("[emerg] {words} in %%DIR%%/nginx.conf:2")),
                "{text}: {exit}"
            );
        }
    });
}

#[test]
fn values_are_told_apart_however_they_are_stored() {
    let keys: String = (0..3000).map(|i| format!("key{i} v{}; ", i / 3)).collect();
    let text = format!(
        "map $arg_k $v {{ {keys} empty ''; var $arg_k-$arg_o; Same v0; default none; ~^re(.*) r$1; }} \
         server {{ listen 127.0.0.1:%%PORT%%; location / {{ return 200 $v; }} }}"
    );
    on_both(text, |server| {
        let mut client = server.client();
        for (key, value) in [
            ("key0", "v0"),
            ("key2", "v0"),
            ("key3", "v1"),
            ("KEY2999", "v999"),
            ("key3000", "none"),
            ("empty", ""),
            ("var&o=x", "var-x"),
            ("same", "v0"),
            ("redo", "rdo"),
            ("", "none"),
        ] {
            assert_eq!(client.get(&format!("/?k={key}")).text(), value, "{key}");
        }
    });
}

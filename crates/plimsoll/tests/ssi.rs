//! Server Side Includes.
#![forbid(unsafe_code)]

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use testkit::{Client, Gate, Origin, Site, each, on_both};

/// A page `a.html` with commands; the location's other settings.
fn page(settings: &str, text: &str) -> Site {
    let site = format!(
        "map $arg_m $mapped {{ default no; 1 yes; }}
        server {{ listen 127.0.0.1:%%PORT%%; ssi on; {settings}
        location / {{ }}
        location /said {{ ssi off; default_type text/html; return 200 \"[$uri?$args]\"; }}
        location = /none {{ return 204; }}
        location = /up {{ proxy_pass http://127.0.0.1:%%PORT_1%%/x; }}
        location = /upset {{ proxy_pass http://127.0.0.1:%%PORT_1%%/y; }} }}
        server {{ listen 127.0.0.1:%%PORT_1%%; default_type text/html;
        location /x {{ return 200 \"up <!--#echo var='uri' -->\"; }}
        location /y {{ return 200 upset; }} }}"
    );
    Site::new(site)
        .file("html/dir/a.html", text)
        .file("html/dir/b.html", "<<!--#echo var='uri'-->|<!--#echo var='v'--><!--#set var='w' value='w'-->>")
}

/// What becomes of pages, each with the settings of its own site.
fn becomes(settings: &str, text: &str, all: &[(&str, &str)]) {
    on_both(page(settings, text), |server| {
        for (target, expected) in all {
            assert_eq!(server.get(target).text(), *expected, "{target}");
        }
    });
}

#[test]
fn values_are_echoed() {
    becomes(
        "",
        "a<!-- plain --><!<<!--# echo var=\"uri\" -->|<!--#echo var='arg_x' default='<i>'-->|<!--#echo var='arg_x'\n-->|\
        <!--#set var=\"v\" value='<$arg_y&${arg_y}\\$\\x>' --><!--#echo var='V'-->|<!--#echo var='v' encoding='none' -->|\
        <!--#echo var='v' encoding=\"url\" -->|<!--#echo var='v'-->|<!--#echo var='mapped' -->|<!--#echo var='nobody'-->",
        &[
            (
                "/dir/a.html",
                "a<!-- plain --><!</dir/a.html|&lt;i&gt;|(none)|&lt;&amp;$\\x&gt;|<&$\\x>|%3C&$%5Cx%3E|%3C&$%5Cx%3E|no|(none)",
            ),
            (
                "/dir/a.html?x=1&y=2&m=1",
                "a<!-- plain --><!</dir/a.html|1|1|&lt;2&amp;2$\\x&gt;|<2&2$\\x>|%3C2&2$%5Cx%3E|%3C2&2$%5Cx%3E|yes|(none)",
            ),
        ],
    );
}

#[test]
fn others_are_included() {
    becomes(
        "",
        "<!--#include virtual='/said?a=$arg_a' -->,<!--#set var='v' value='v'-->\
        <!--#include file=\"b.html\" -->,<!--#echo var='w'-->,<!--#include virtual='/up' wait='yes' -->,\
        <!--#include virtual='/upset' set='got' -->(<!--#echo var='got'-->),\
        <!--#block name='b' -->none <!--#echo var=\"v\" --><!--#endblock -->\
        <!--#include virtual='/none' stub='b' -->,<!--#include virtual='/missing' stub='b' -->,\
        <!--#include virtual='/said/' stub='b' -->.",
        &[(
            "/dir/a.html?a=1",
            "[/said?a=1],</dir/b.html|v>,w,up /up,(upset),none <!--#echo var=\"v\" -->,none v,[/said/?].",
        )],
    );
}

#[test]
fn conditions_choose() {
    becomes(
        "",
        "<!--#if expr='$arg_a' -->a<!--#elif expr=\"$arg_b = x\" -->b=x<!--#elif expr='$arg_b != \"\"' -->b\
        <!--#else -->none<!--#endif -->,\
        <!--#if expr='$arg_c = /^(.)(?P<rest>.*)/' --><!--#echo var='rest' -->-<!--#echo var='1' -->\
        <!--#include virtual='/said?$1' --><!--#else --><!--#include virtual='/said?never' --><!--#endif -->,\
        <!--#if expr='$arg_c = \\/x' -->slash<!--#endif -->.",
        &[
            ("/dir/a.html?a=1", "a,[/said?never],."),
            ("/dir/a.html?b=x", "b=x,[/said?never],."),
            ("/dir/a.html?b=y&c=xyz", "b,yz-x[/said?x],."),
            ("/dir/a.html?c=/x", "b,x-/[/said?/],slash."),
        ],
    );
}

#[test]
fn what_is_wrong_is_said_and_logged() {
    let text = "<!--#config errmsg='!' -->a<!--#nothing -->b<!--#echo -->c<!--#echo var='x' var='y' -->\
        d<!--#echo var=x -->e<!--#else -->f<!--#include virtual='/a' file='b' -->g<!--#include -->\
        h<!--#echo var='12345678901234567' -->i<!--#set var='a' value='${b' -->j<!--#if expr='a ~ b' -->\
        k<!--#include virtual='/../x' -->l<!--#include virtual='/none' stub='s' -->m<!--#set var='a' value='b' c='d' -->n";
    on_both(page("ssi_value_length 16;", text), |server| {
        assert_eq!(server.get("/dir/a.html").text(), "a!b!c!d!e!f!g!h!i!j!k!l!m!n");
        for line in [
            "invalid SSI command: \"nothing\"",
            "mandatory \"var\" parameter is absent in \"echo\" SSI command",
            "duplicate \"var\" parameter in \"echo\" SSI command",
            "unexpected \"x\" symbol before value of \"var\" parameter in \"echo\" SSI command",
            "invalid context of SSI command: \"else\"",
            "inclusion may be either virtual=\"/a\" or file=\"b\"",
            "no parameter in \"include\" SSI command",
            "too long \"12345678901234567...\" value of \"var\" parameter in \"echo\" SSI command",
            "the closing bracket in \"b\" variable is missing",
            "invalid expression in \"a ~ b\"",
            "unsafe URI \"/../x\" was detected",
            "\"stub\"=\"s\" for \"include\" not found",
            "invalid parameter name: \"c\" in \"set\" SSI command",
        ] {
            server.error_log().wait_match(&format!(r"\[error\] .*{}", escaped(line)));
        }
    });
    becomes("ssi_silent_errors on;", "a<!--#nothing -->b", &[("/dir/a.html", "ab")]);
}

/// A pattern that matches `text` alone.
fn escaped(text: &str) -> String {
    let special = |c: char| "\\^$.|?*+()[]{}".contains(c);
    text.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}

#[test]
fn heads_say_that_pages_are_made() {
    let text = "<!--#echo var='uri' -->";
    let settings = "ssi_types text/plain; location = /a.css { types { } default_type text/css; } location /kept { alias html/dir; ssi_last_modified on; }";
    on_both(page(settings, text).file("html/a.txt", text).file("html/a.css", text), |server| {
        let page = server.get("/dir/a.html");
        assert_eq!((page.text(), page.is_chunked()), ("/dir/a.html".into(), true));
        assert_eq!((page.header("etag"), page.header("last-modified")), (None, None));
        assert_eq!((page.header("content-length"), page.header("accept-ranges")), (None, None));
        assert_eq!(server.get("/a.txt").text(), "/a.txt");
        assert_eq!(server.get("/a.css").text(), text);
        let kept = server.get("/kept/a.html");
        assert!(kept.header("last-modified").is_some());
        assert!(kept.header("etag").is_some_and(|tag| tag.starts_with("W/")));
        let mut client = server.client();
        let head = client.request("HEAD", "/dir/a.html", &[], b"");
        assert_eq!((head.status, head.header("content-length"), head.header("etag")), (200, None, None));
        assert_eq!(client.get("/dir/a.html").text(), "/dir/a.html");
    });
}

#[test]
fn a_block_stands_for_answers_that_say_nothing() {
    let included = |path: &str| format!("<!--#include virtual='{path}' stub='s' -->|");
    let paths = ["/said", "/none", "/missing", "/told", "/up404"].map(included).concat();
    let text = format!("<!--#block name='s' -->S<!--#endblock -->{paths}");
    let more = "location = /told { return 404 told; } location = /up404 { proxy_pass http://%%ORIGIN%%; }";
    each(|binary| {
        let origin = Origin::answering("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone");
        let server = binary.serve(page(more, &text).with("ORIGIN", origin.address()));
        assert_eq!(server.get("/dir/a.html").text(), "[/said?]|S|S|told|gone|");
    });
}

#[test]
fn what_is_kept_in_a_variable_is_not_too_long() {
    let text = "<!--#include virtual='/short' set='v' -->(<!--#echo var='v' -->)\
        <!--#include virtual='/missing' set='w' -->(<!--#echo var='w' -->)\
        <!--#if expr=\"$arg_long\" --><!--#include virtual='/long' set='v' --><!--#endif -->";
    let more = "location /short { proxy_pass http://%%ORIGIN%%; } \
        location /long { subrequest_output_buffer_size 3; proxy_pass http://%%ORIGIN%%; }";
    each(|binary| {
        let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntext");
        let server = binary.serve(page(more, text).with("ORIGIN", origin.address()));
        assert_eq!(server.get("/dir/a.html").text(), "(text)()");
        assert_eq!(server.raw("GET /dir/a.html?long=1 HTTP/1.0\r\n\r\n"), b"");
        server.error_log().wait_match(r"\[error\] .*too big subrequest response: 4");
    });
}

#[test]
fn an_opening_at_the_end_is_left_out() {
    becomes("", "text<!-", &[("/dir/a.html", "text")]);
}

#[test]
fn long_pages_are_whole() {
    let long = "<p>0123456789</p>\n".repeat(20_000);
    let text = format!("{long}<!--#echo var='uri' -->{long}<!--#include virtual='/said' -->{long}");
    let expected = format!("{long}/dir/a.html{long}[/said?]{long}");
    on_both(page("", &text), |server| {
        assert!(server.get("/dir/a.html").text() == expected);
    });
    becomes("ssi_min_file_chunk 1m;", &text, &[("/dir/a.html", &expected)]);
}

#[test]
fn times_have_the_format_that_a_page_wants() {
    let text = "<!--#config timefmt='%Y-%m-%d' --><!--#echo var='date_gmt' -->|<!--#config timefmt='%Z' -->\
        <!--#echo var='date_gmt' -->|<!--#config timefmt='%s' --><!--#echo var='date_local' -->";
    on_both(page("", text), |server| {
        let page = server.get("/dir/a.html").text();
        let parts: Vec<&str> = page.split('|').collect();
        assert_eq!((parts[0].len(), parts[1]), (10, "GMT"), "{page}");
        assert!(parts[2].parse::<u64>().is_ok_and(|seconds| seconds > 1_700_000_000), "{page}");
    });
}

#[test]
fn a_page_within_itself_ends() {
    on_both(page("", "x<!--#include virtual='/dir/a.html' -->"), |server| {
        let complaint = "[an error occurred while processing the directive]";
        assert_eq!(server.get("/dir/a.html").text(), "x".repeat(52) + complaint);
        server.error_log().wait_match(r#"\[error\] .*subrequests cycle while processing "/dir/a.html""#);
    });
}

#[test]
fn what_is_kept_in_memory_has_a_largest_size() {
    let text = "log_format t '$uri $status $body_bytes_sent'; access_log logs/t.log t; default_type text/html; \
        server { listen 127.0.0.1:%%PORT%%; ssi on; \
        location = /room.txt { subrequest_output_buffer_size 5000; } \
        location /up { proxy_pass http://%%ORIGIN%%; } }";
    each(|binary| {
        let chunks = format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1389\r\n{}\r\n0\r\n\r\n",
            "u".repeat(5001)
        );
        let origin = Origin::answering(chunks);
        let page =
            |path: &str| format!("<!--#include virtual=\"{path}\" set=\"x\" --><!--#echo var=\"x\" -->.");
        let site = Site::new(text).with("ORIGIN", origin.address());
        let site = site.file("html/big.txt", "b".repeat(4097)).file("html/room.txt", "r".repeat(4097));
        let site = site.file("html/fits.txt", "f".repeat(4096));
        let site = site.file("html/a.html", page("/big.txt")).file("html/b.html", page("/up"));
        let server =
            binary.serve(site.file("html/c.html", page("/room.txt")).file("html/d.html", page("/fits.txt")));
        assert_eq!(server.raw("GET /a.html HTTP/1.1\r\nHost: a\r\n\r\n"), b"");
        server
            .error_log()
            .wait_for("too big subrequest response: 4097 while sending response to client, client: ");
        assert_eq!(server.raw("GET /b.html HTTP/1.1\r\nHost: a\r\n\r\n"), b"");
        let line =
            server.error_log().wait_for("too big subrequest response while sending to client, client: ");
        assert!(line.contains(", subrequest: \"/up\", upstream: \"http://"), "{line}");
        assert_eq!(server.get("/c.html").text(), format!("{}.", "r".repeat(4097)));
        assert_eq!(server.get("/d.html").text(), format!("{}.", "f".repeat(4096)));
        server.log("logs/t.log").wait_for("/a.html 200 0");
    });
}

/// Texts that come compressed and in the character set their type says, and a page that has all of them.
fn parts() -> Origin {
    Origin::new(|exchange| {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(b"word, packed").expect("in memory");
        let packed = packed.finish().expect("in memory");
        let answer = match &exchange.request.target[..] {
            "/other/packed" => reply("text/html\r\nContent-Encoding: gzip", &packed),
            "/other/koi8" => reply("text/html; charset=koi8-r", b"\xcd\xc9\xd2"),
            "/other/text" => reply("text/html", b"word word <!--#echo var='uri' -->"),
            _ => reply(
                "text/html; charset=utf-8",
                "word <!--#include virtual='/other/packed' -->, <!--#include virtual='/other/koi8' -->, \
                <!--#include virtual='/plain/text' --> <!--#set var='word' value='word' --><!--#echo var='word' -->"
                    .as_bytes(),
            ),
        };
        exchange.send(answer);
    })
}
fn reply(kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

#[test]
fn what_becomes_part_of_a_page_is_changed_as_its_own_location_says() {
    let origin = parts();
    let site = "charset_map koi8-r utf-8 { CD D0BC; C9 D0B8; D2 D180; } gunzip on;
        server { listen 127.0.0.1:%%PORT%%;
        location /page { ssi on; sub_filter word name; proxy_pass http://%%ORIGIN%%; }
        location /other/ { sub_filter word other; proxy_pass http://%%ORIGIN%%; }
        location /plain/ { proxy_pass http://%%ORIGIN%%/other/; }
        location /around { sub_filter word name; sub_filter_once off; default_type text/html; charset utf-8;
            add_before_body /other/text; add_after_body /other/koi8; return 200 'word word '; }
        location /packed/ { ssi on; gzip on; gzip_min_length 0; gzip_proxied any; proxy_pass http://%%ORIGIN%%/; } }";
    on_both(Site::new(site).with("ORIGIN", origin.address()), |server| {
        let page = server.get_with("/page", &[("Accept-Encoding", "gzip")]);
        // The command's name was replaced before it was read: the first word of the page itself is the one.
        assert_eq!(page.text(), "name other, packed, мир, word word <!--#echo var='uri' --> word");
        assert_eq!(page.header("content-encoding"), None);
        assert_eq!(server.get("/around").text(), "other word <!--#echo var='uri' -->name name мир");
        let page = server.get_with("/packed/page", &[("Accept-Encoding", "gzip")]);
        assert_eq!(page.header("content-encoding"), Some("gzip"));
        let mut text = String::new();
        GzDecoder::new(&page.body[..]).read_to_string(&mut text).expect("whole");
        assert_eq!(text, "word other, packed, мир, word word <!--#echo var='uri' --> word");
    });
}

#[test]
fn commands_are_made_of_what_was_replaced() {
    let page = "xx <!--#yy var='uri' --><!--#include virtual='/said' -->";
    becomes(
        "sub_filter yy echo; sub_filter xx '<!--#echo var=\"args\" -->'; ",
        page,
        &[("/dir/a.html?q", "q /dir/a.html[/said?]")],
    );
}

/// A proxied part, `open` before it is answered.
fn gated_part() -> (Gate, Origin) {
    let gate = Gate::new();
    let waits = gate.clone();
    let origin = Origin::new(move |exchange| {
        let target = exchange.request.target.clone();
        if target.starts_with("/slow") {
            waits.pass();
        }
        exchange.send(reply("text/html", format!("({target})").as_bytes()));
    });
    (gate, origin)
}

/// A page with the parts of an origin in it.
fn around(origin: &Origin, settings: &str, text: &str) -> Site {
    let site = format!(
        "server {{ listen 127.0.0.1:%%PORT%%; location / {{ ssi on; }} {settings}
        location /up/ {{ proxy_pass http://%%ORIGIN%%/; }} }}"
    );
    Site::new(site).with("ORIGIN", origin.address()).file("html/a.html", text)
}

/// Reads up to the end of `text`.
fn read_text(client: &mut Client, text: &str) {
    let mut read = Vec::new();
    while !read.ends_with(text.as_bytes()) {
        read.extend(client.read(1));
    }
}

#[test]
fn what_stands_before_a_part_does_not_wait_for_it() {
    let long = "<p>0123456789</p>\n".repeat(200);
    for include in ["virtual='/up/slow'", "virtual='/up/slow' wait='yes'", "virtual='/up/slow' set='v'"] {
        let text = format!("{long}begin<!--#include {include} -->end<!--#echo var='v' default='' -->");
        each(|binary| {
            let (gate, origin) = gated_part();
            let server = binary.serve(around(&origin, "", &text));
            let mut client = server.client();
            client.send("GET /a.html HTTP/1.0\r\n\r\n");
            read_text(&mut client, "begin");
            gate.open();
            let rest = String::from_utf8_lossy(&client.read_to_end()).into_owned();
            let expected = if include.ends_with("'v'") { "end(/slow)" } else { "(/slow)end" };
            assert_eq!(rest, expected);
        });
    }
}

#[test]
fn parts_are_asked_for_at_once_and_stand_in_order() {
    let parts = ["slow", "b", "c"].map(|part| format!("<!--#include virtual='/up/{part}' -->,")).concat();
    each(|binary| {
        let (gate, origin) = gated_part();
        let server = binary.serve(around(&origin, "", &parts));
        let mut client = server.client();
        client.send("GET /a.html HTTP/1.1\r\nHost: a\r\n\r\n");
        let targets = || origin.requests().iter().map(|request| request.target.clone()).collect::<Vec<_>>();
        origin.wait_requests(3);
        assert_eq!(targets().len(), 3);
        gate.open();
        assert_eq!(client.response().text(), "(/slow),(/b),(/c),");
    });
}

#[test]
fn not_all_parts_are_asked_for_at_once() {
    let text = "<!--#include virtual='/up/slow' -->".repeat(40);
    let (gate, origin) = gated_part();
    let server = testkit::serve(around(&origin, "", &text));
    let mut client = server.client();
    client.send("GET /a.html HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_requests(16);
    assert_eq!(server.get("/up/other").text(), "(/other)");
    assert_eq!(origin.requests().len(), 17);
    gate.open();
    assert_eq!(client.response().text(), "(/slow)".repeat(40));
    assert_eq!(origin.requests().len(), 41);
}

#[test]
fn what_waits_is_asked_for_one_after_the_other() {
    let parts =
        ["slow", "b"].map(|part| format!("<!--#include virtual='/up/{part}' wait='yes' -->,")).concat();
    each(|binary| {
        let (gate, origin) = gated_part();
        let server = binary.serve(around(&origin, "", &parts));
        let mut client = server.client();
        client.send("GET /a.html HTTP/1.1\r\nHost: a\r\n\r\n");
        origin.wait_requests(1);
        // A request that came later is answered: nobody was asked for the second part meanwhile.
        assert_eq!(server.get("/up/other").text(), "(/other)");
        let targets: Vec<_> = origin.requests().iter().map(|request| request.target.clone()).collect();
        assert_eq!(targets, ["/slow", "/other"]);
        gate.open();
        assert_eq!(client.response().text(), "(/slow),(/b),");
    });
}

#[test]
fn a_slow_page_goes_out_as_it_comes() {
    each(|binary| {
        let gate = Gate::new();
        let waits = gate.clone();
        let origin = Origin::new(move |exchange| match &exchange.request.target[..] {
            "/page" => {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n";
                exchange.send(format!("{head}one<!--#include virtual='/up/part' -->two<!--#ec"));
                waits.pass();
                exchange.send("ho var='uri' -->three");
                exchange.close();
            }
            target => {
                let part = format!("({target})");
                exchange.send(reply("text/html", part.as_bytes()));
            }
        });
        let settings = "location = /page { ssi on; proxy_buffering off; proxy_pass http://%%ORIGIN%%; }";
        let server = binary.serve(around(&origin, settings, ""));
        let mut client = server.client();
        client.send("GET /page HTTP/1.0\r\n\r\n");
        read_text(&mut client, "one(/part)two");
        gate.open();
        assert_eq!(String::from_utf8_lossy(&client.read_to_end()), "/pagethree");
    });
}

#[test]
fn pages_deep_within_pages_have_parts_around_them() {
    let nested = "<<!--#include virtual='/deeper/$arg_n' -->>";
    let settings = "add_before_body /up/before; add_after_body /up/after;
        location /deeper { ssi on; default_type text/html;
            return 200 '{<!--#include virtual=\"/up/in\" -->}'; }";
    each(|binary| {
        let (gate, origin) = gated_part();
        gate.open();
        let text = format!("{nested}<!--#include virtual='/deeper' -->.");
        let server = binary.serve(around(&origin, settings, &text));
        assert_eq!(server.get("/a.html").text(), "(/before)<{(/in)}>{(/in)}.(/after)");
    });
}

#[test]
fn a_client_that_leaves_ends_what_was_asked_for_it() {
    each(|binary| {
        let (gate, origin) = gated_part();
        let server = binary.serve(around(&origin, "", "<!--#include virtual='/up/slow' -->"));
        let mut client = server.client();
        client.send("GET /a.html HTTP/1.1\r\nHost: a\r\n\r\n");
        origin.wait_requests(1);
        drop(client);
        server.error_log().wait_for("client prematurely closed connection");
        gate.open();
        origin.wait_open(0);
    });
}

/// Where the path that was not found is not looked through for commands, the block in its place is not either.
#[test]
fn a_block_has_commands_where_its_answer_would_have() {
    let text = "<!--#block name='s' --><!--#echo var='arg_a' -->.<!--#endblock -->\
        <!--#include virtual='/missing?a=b' stub='s' --><!--#include virtual='/plain/missing?a=b' stub='s' -->";
    let plain = "location /plain/ { ssi off; }";
    on_both(page(plain, text), |server| {
        assert_eq!(server.get("/dir/a.html").text(), "b.<!--#echo var=\"arg_a\" -->.");
    });
}

#[test]
fn a_path_of_variables_without_a_value_is_none() {
    on_both(page("", "<!--#config errmsg='!' -->a<!--#include virtual='$arg_a' -->b"), |server| {
        assert_eq!(server.get("/dir/a.html").text(), "a!b");
        server.error_log().wait_for("unsafe URI \"\" was detected");
        assert_eq!(server.get("/dir/a.html?a=/said").text(), "a[/said?]b");
    });
}

#[test]
fn a_page_that_breaks_off_is_logged() {
    each(|binary| {
        let half = Origin::new(|exchange| {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 99\r\n\r\nhalf");
            exchange.close();
        });
        let text = "location / { ssi on; proxy_pass http://%%HALF%%; }";
        let server = binary.serve(Site::new(text).with("HALF", half.address()));
        server.raw("GET / HTTP/1.0\r\n\r\n");
        server.error_log().wait_for("upstream prematurely closed connection while");
    });
}

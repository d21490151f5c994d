//! Who may: addresses behind proxies, passwords, referers, signed links, and variables by address.
#![forbid(unsafe_code)]

use testkit::{Binary, Site, each, on_both};

#[test]
fn clients_behind_trusted_proxies() {
    let text = "set_real_ip_from 127.0.0.0/8; set_real_ip_from 10.0.0.0/8;
        log_format a '$uri $remote_addr'; access_log logs/a.log a;
        server { listen 127.0.0.1:%%PORT%%; allow 192.0.2.0/24; deny all;
            location / { return 200 \"$remote_addr $remote_port|$realip_remote_addr\"; }
            location /xff { real_ip_header X-Forwarded-For; real_ip_recursive on; allow all; try_files /none @show; }
            location /last { real_ip_header X-Forwarded-For; allow all; try_files /none @show; }
            location /ports { allow all; return 200 \"$remote_port|$realip_remote_port|$connection_time\"; }
            location /own { real_ip_header Client; try_files /none @show; }
            location @show { allow all; return 200 \"$remote_addr $remote_port|$realip_remote_addr\"; } }";
    on_both(text, |server| {
        for (target, fields, shown) in [
            ("/", &[("X-Real-IP", "192.0.2.1")][..], "192.0.2.1 |127.0.0.1"),
            ("/", &[("x-real-ip", "192.0.2.1:99")], "192.0.2.1 99|127.0.0.1"),
            ("/", &[("X-Real-IP", "nobody")], ""),
            ("/xff", &[("X-Forwarded-For", "1.2.3.4, 192.0.2.2, 10.1.1.1")], "192.0.2.2 |127.0.0.1"),
            ("/xff", &[("X-Forwarded-For", ",192.0.2.2")], ""),
            (
                "/xff",
                &[("X-Forwarded-For", "192.0.2.2"), ("X-Forwarded-For", "10.0.0.1")],
                "192.0.2.2 |127.0.0.1",
            ),
            ("/last", &[("X-Forwarded-For", "192.0.2.2, 10.1.1.1")], "10.1.1.1 |127.0.0.1"),
            ("/own", &[("Client", "192.0.2.7")], "192.0.2.7 |127.0.0.1"),
        ] {
            let text = server.get_with(target, fields).text();
            if shown.is_empty() {
                assert!(text.starts_with("127.0.0.1 "), "{target} {fields:?}: {text}");
            } else {
                assert_eq!(text, shown, "{target} {fields:?}");
            }
        }
        assert_eq!(server.get_with("/own", &[("Client", "198.51.100.1")]).status, 403);
        server.error_log().wait_for("access forbidden by rule, client: 198.51.100.1, server: ");
        let text = server.get_with("/ports", &[("X-Real-IP", "192.0.2.1:99")]).text();
        let values: Vec<&str> = text.split('|').collect();
        assert!(values[0] == "99" && values[1].parse::<u16>().is_ok_and(|port| port > 1023), "{text}");
        assert!(values[2].parse::<f64>().is_ok_and(|seconds| seconds < 60.0), "{text}");
        // The next request on the connection is the proxy's own again.
        let mut client = server.client();
        client.request("GET", "/a", &[("X-Real-IP", "192.0.2.9")], b"");
        client.get("/b");
        let log = server.log("logs/a.log");
        log.wait_for("/a 192.0.2.9");
        log.wait_for("/b 127.0.0.1");
    });
}

#[test]
fn who_a_load_balancer_connects_for() {
    let text = "server { listen 127.0.0.1:%%PORT%% proxy_protocol; set_real_ip_from 127.0.0.1; real_ip_header proxy_protocol;
        return 200 \"$remote_addr $remote_port $realip_remote_addr\"; }";
    on_both(text, |server| {
        let mut client = server.client();
        client.send("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response().text(), "192.0.2.1 56324 127.0.0.1");
        assert_eq!(client.get("/").text(), "192.0.2.1 56324 127.0.0.1");
    });
}

#[test]
fn what_a_load_balancer_may_say() {
    let text = "server { listen 127.0.0.1:%%PORT%% proxy_protocol;
        return 200 \"$proxy_protocol_addr|$proxy_protocol_port|$proxy_protocol_server_addr|$proxy_protocol_server_port\"; }";
    on_both(text, |server| {
        let unknown = format!("PROXY UNKNOWN {}\r\n", "x".repeat(150)).into_bytes();
        let strange = [b"\r\n\r\n\0\r\nQUIT\n\x22\x11\0\x0c".as_slice(), &[1; 12]].concat();
        for (header, seen) in [
            (&b"PROXY TCP6 2001:DB8::0:1 2001:db8::2 123 80\r\n"[..], "2001:DB8::0:1|123|2001:db8::2|80"),
            (&unknown, "|||"),
            (&strange, "|||"),
            (b"PROXY TCP4 ::1 192.0.2.2 123 80\r\n", "::1|123|192.0.2.2|80"),
        ] {
            let answer = server.raw([header, b"GET / HTTP/1.0\r\n\r\n"].concat());
            assert!(String::from_utf8_lossy(&answer).ends_with(&format!("\r\n\r\n{seen}")), "{seen}");
        }
        assert_eq!(server.raw("PROXX TCP4\r\nGET / HTTP/1.0\r\n\r\n"), b"");
        let version_3 = [b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c".as_slice(), &[1; 12]].concat();
        assert_eq!(server.raw(version_3), b"");
        server.error_log().wait_for("unknown PROXY protocol version: 3 while reading PROXY protocol");
        assert_eq!(server.raw(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff\x01\x01"), b"");
        server.error_log().wait_for("header is too large while reading PROXY protocol");
    });
    let server = Binary::Plimsoll.serve(text);
    server.raw("PROXX TCP4\r\nGET / HTTP/1.0\r\n\r\n");
    server.error_log().wait_match(
        r#"broken header: "PROXX TCP4" while reading PROXY protocol, client: 127.0.0.1, server: 127.0.0.1:\d+$"#,
    );
}

fn users() -> Site {
    let conf = "location / { auth_basic \"the $uri\"; auth_basic_user_file users; try_files /none =204; }
        location /off { auth_basic off; try_files /none =204; }
        location /none { auth_basic x; auth_basic_user_file none; }
        location /any { satisfy any; deny all; auth_basic x; auth_basic_user_file users; try_files /none =204; }
        location /all { deny all; auth_basic x; auth_basic_user_file users; try_files /none =204; }
        location /late { auth_delay 50ms; auth_basic x; auth_basic_user_file users; try_files /none =204; }
        auth_basic x; auth_basic_user_file users;";
    let users = "# people\n#gone:{PLAIN}pw\nplain:{PLAIN}pw\nsha:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n\
        apr:$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0:Some Body\r\nmd5:$1$saltsalt$9xy1btjgzLYfb7hivXtC//\n\
        six:$6$rounds=1000$saltstringlong16$QqnNlW6cufx1IZjTObkozWh5HNvoflrksV.EnwtcN49thAfIPpiS5J7l/TG.eWc6nnFgp62sHJ2QpTKrmMcdS/\n\
        five:$5$rounds=1000$saltstring$AH5PD0i.riCRu4BNDy9v7OPV7u3dfLBApcXI6khquVA\n\
        bcrypt:$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\ndes:abNANd1rDfiNc\nlocked:*\nempty:\nstrange:$9$x\nlast:{PLAIN}end";
    Site::new(conf).file("users", users)
}

/// base64 of `user:password`.
fn basic(pair: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = "Basic ".to_owned();
    for group in pair.as_bytes().chunks(3) {
        let bits = (0..3).fold(0u32, |bits, i| bits << 8 | u32::from(*group.get(i).unwrap_or(&0)));
        for i in 0..4 {
            out.push(if i <= group.len() {
                DIGITS[(bits >> (18 - 6 * i) & 63) as usize].into()
            } else {
                '='
            });
        }
    }
    out
}

#[test]
fn passwords() {
    on_both(users(), |server| {
        let get = |target: &str, pair: &str| server.get_with(target, &[("Authorization", &basic(pair))]);
        for (pair, status) in [
            ("plain:pw", 204),
            ("plain:px", 401),
            ("sha:secret", 204),
            ("apr:secret", 204),
            ("apr:secreT", 401),
            ("md5:secret", 204),
            ("six:secret", 204),
            ("five:secret", 204),
            ("bcrypt:secret", 204),
            ("bcrypt:Secret", 401),
            ("des:secret", 204),
            ("des:Secret", 401),
            ("last:end", 204),
            ("# people:", 401),
            ("#gone:pw", 401),
            ("nobody:pw", 401),
            ("locked:*", 401),
            ("empty:", 401),
            ("strange:x", 401),
            (":pw", 401),
        ] {
            assert_eq!(get("/", pair).status, status, "{pair}");
        }
        let refused = server.get("/x");
        assert_eq!(refused.header("www-authenticate"), Some("Basic realm=\"the /x\""));
        assert_eq!(server.get("/off").status, 204);
        assert_eq!(get("/none", "a:b").status, 403);
        let log = server.error_log();
        log.wait_match(r#"\[info\] .* no user/password was provided for basic authentication, client: "#);
        log.wait_match(r#"\[error\] .* user "nobody" was not found in ".*/users", client"#);
        log.wait_match(r#"\[error\] .* user "plain": password mismatch, client"#);
        log.wait_match(r#"\[error\] .* open\(\) ".*/none" failed \(2: No such file or directory\), client"#);
    });
}

#[test]
fn one_of_several_steps_or_all() {
    on_both(users(), |server| {
        let get = |target: &str, pair: &str| server.get_with(target, &[("Authorization", &basic(pair))]);
        let allowed = get("/any", "plain:pw");
        assert_eq!((allowed.status, allowed.header("www-authenticate")), (204, None));
        assert_eq!(get("/any", "plain:no").status, 401);
        assert_eq!(get("/all", "plain:pw").status, 403);
        server.error_log().wait_for("access forbidden by rule");
        let begun = std::time::Instant::now();
        assert_eq!(get("/late", "plain:no").status, 401);
        assert!(begun.elapsed().as_millis() >= 50);
        server.error_log().wait_for("delaying unauthorized request");
        let forbidden = server.error_log().lines().iter().filter(|l| l.contains("forbidden by rule")).count();
        assert_eq!(forbidden, 1, "/any said nothing of it");
    });
}

#[test]
fn values_by_address() {
    let text = "geo $arg_ip $net { default none; 10.0.0.0/8 ten; 10.1.0.0/16 one; 10.1.2.3 exact; 2001:db8::/32 doc;
            192.168.0.0/16 x; delete 192.168.0.0/16; include more.geo; }
        geo $arg_ip $range { ranges; default none; 10.0.0.0-10.3.255.255 a; 10.1.0.5-10.1.0.9 b; 127.0.0.1-127.0.0.1 me; }
        geo $mine { proxy 127.0.0.1; proxy_recursive; 127.0.0.1 local; 192.0.2.0/24 remote; }
        server { listen 127.0.0.1:%%PORT%%; return 200 \"$net $range $mine.\"; }";
    on_both(Site::new(text).file("more.geo", "172.16.0.0/12 more;\n"), |server| {
        for (ip, shown) in [
            ("10.9.0.1", "ten none local."),
            ("10.1.0.7", "one b local."),
            ("10.1.2.3", "exact a local."),
            ("172.31.255.255", "more none local."),
            ("172.32.0.0", "none none local."),
            ("192.168.1.1", "none none local."),
            ("2001:db8::5", "doc none local."),
            ("2001:db9::5", "none none local."),
            ("127.0.0.1", "none me local."),
            ("nonsense", "none none local."),
        ] {
            assert_eq!(server.get(&format!("/?ip={ip}")).text(), shown, "{ip}");
        }
        let behind = |value: &str| server.get_with("/", &[("X-Forwarded-For", value)]).text();
        assert_eq!(behind("192.0.2.1"), "none none remote.");
        assert_eq!(behind("192.0.2.1, 127.0.0.1"), "none none remote.");
        assert_eq!(behind("198.51.100.1"), "none none .");
    });
}

#[test]
fn shares_of_clients() {
    let text = "split_clients $arg_k $v { 0.5% tiny; 20% a; 33.33% b; * rest; } split_clients $arg_k $w { 50% half; 50% other; }
        server { listen 127.0.0.1:%%PORT%%; return 200 \"$v $w\"; }";
    let answers = std::cell::RefCell::new(Vec::new());
    on_both(text, |server| {
        let mut client = server.client();
        let texts: Vec<String> = (0..300).map(|i| client.get(&format!("/?k=client{i}")).text()).collect();
        assert!(texts.iter().any(|text| text == "b half") && texts.iter().any(|text| text == "rest other"));
        answers.borrow_mut().push(texts);
    });
    assert!(answers.borrow().windows(2).all(|pair| pair[0] == pair[1]), "as nginx shares them");
}

#[test]
fn pages_that_link_here() {
    let text = "server { listen 127.0.0.1:%%PORT%%; server_name www.here.test ~^r\\d\\.here; return 200 \"[$invalid_referer]\";
            valid_referers none blocked server_names *.example.com example.* other.org/galleries/ ~\\.google\\.; }
        server { listen 127.0.0.1:%%PORT_1%%; referer_hash_max_size 512; referer_hash_bucket_size 64; location / { valid_referers a.b; return 200 \"[$invalid_referer]\"; } location /none { return 200 \"[$invalid_referer]\"; } }
        server { listen 127.0.0.1:%%PORT_2%%; server_name ~^r\\d\\.here; valid_referers server_names c.d ~\\.google\\.;
            location / { valid_referers a.b; return 200 \"[$invalid_referer]\"; } location /own { valid_referers ~own; return 200 \"[$invalid_referer]\"; } }";
    on_both(text, |server| {
        // Regular expressions come from the block around where the inner one has none.
        let inner = |target: &str, referer: &str| {
            server.client_on(2).request("GET", target, &[("Referer", referer)], b"").text()
        };
        for (target, referer, shown) in [
            ("/", "http://a.b/ccccc", "[]"),
            ("/", "http://c.d/ccccc", "[1]"),
            ("/", "http://r1.here/", "[]"),
            ("/", "http://www.google.de/", "[]"),
            ("/own", "http://www.google.de/", "[1]"),
            ("/own", "http://r1.here/", "[]"),
        ] {
            assert_eq!(inner(target, referer), shown, "{target} {referer}");
        }
        for (referer, shown) in [
            ("http://www.here.test/x", "[]"),
            ("https://r1.here/", "[]"),
            ("http://a.example.com:8080/", "[]"),
            ("http://example.net", "[]"),
            ("http://other.org/galleries/1", "[]"),
            ("http://other.org/", "[1]"),
            ("http://www.google.de/", "[]"),
            ("http://evil.org/?.google", "[1]"),
            ("HTTP://WWW.HERE.TEST", "[]"),
            ("gone", "[]"),
            ("http://a.b", "[]"),
        ] {
            assert_eq!(server.get_with("/", &[("Referer", referer)]).text(), shown, "{referer}");
        }
        assert_eq!(server.get("/").text(), "[]");
        let mut client = server.client_on(1);
        assert_eq!(client.get("/").text(), "[1]");
        assert_eq!(client.request("GET", "/", &[("Referer", "x")], b"").text(), "[1]");
        assert_eq!(client.request("GET", "/", &[("Referer", "https://a.b/c")], b"").text(), "[]");
        assert_eq!(client.get("/none").text(), "[]");
    });
}

#[test]
fn signed_links() {
    // md5 of "2147483647/md5 secret", "1/md5 secret", "/open secret" as base64 for URLs; of "filesecret" in hexadecimal.
    let text = "location /md5 { secure_link $arg_h,$arg_e; secure_link_md5 \"$secure_link_expires$uri secret\"; return 200 \"[$secure_link]$secure_link_expires\"; }
        location /open { secure_link $arg_h; secure_link_md5 \"$uri secret\"; return 200 \"[$secure_link]$secure_link_expires\"; }
        location /p/ { secure_link_secret secret; return 200 \"[$secure_link]\"; }
        location /none { return 200 \"[$secure_link]\"; }";
    on_both(text, |server| {
        for (target, shown) in [
            ("/md5?h=JXnVQGSM6wP_Yep7h964KA&e=2147483647", "[1]2147483647"),
            ("/md5?h=lKDEXG8Kd8O5Q6HZ6QlaGw&e=1", "[0]1"),
            ("/md5?h=lKDEXG8Kd8O5Q6HZ6QlaGw&e=2", "[]2"),
            ("/md5?h=x&e=y", "[]"),
            ("/md5?h=x&e=9223372036854775807", "[]9223372036854775807"),
            ("/md5?h=x&e=9223372036854775808", "[]"),
            ("/open?h=W2e2K86HsABvXCrEV11ATg", "[1]"),
            ("/open?h=AAAA", "[]"),
            ("/p/c0640c1e91de82e703d65415ab52ef8b/file", "[file]"),
            ("/p/c0640c1e91de82e703d65415ab52ef8b/other", "[]"),
            ("/p/short/file", "[]"),
            ("/none", "[]"),
        ] {
            assert_eq!(server.get(target).text(), shown, "{target}");
        }
    });
}

/// It has an empty one.
#[test]
fn a_server_without_a_name_has_links_nevertheless() {
    on_both("valid_referers none server_names; return 200 \"[$invalid_referer]\";", |server| {
        for (referer, shown) in [("http:///a.page", "[]"), ("http://a.page/", "[1]"), ("gone", "[1]")] {
            assert_eq!(server.get_with("/", &[("Referer", referer)]).text(), shown, "{referer}");
        }
        assert_eq!(server.get("/").text(), "[]");
    });
}

#[test]
fn what_was_found_once_holds_in_other_locations() {
    let text = "error_page 403 /forbidden; modern_browser unlisted; ancient_browser Lynx;
        location /forbidden { valid_referers a.org b.org; ancient_browser_value other; return 200 \"[$invalid_referer][$ancient_browser]\"; }
        location /from { valid_referers a.org; if ($invalid_referer) { return 403; } return 200 fine; }
        location /old { valid_referers b.org; ancient_browser_value old; if ($ancient_browser) { return 403; } return 200 fine; }
        location /p/ { secure_link_secret secret; if ($secure_link = '') { return 403; } rewrite ^ /in; }
        location /late/ { secure_link_secret secret; rewrite ^ /in; }
        location /in { internal; return 200 \"[$secure_link]\"; }";
    on_both(text, |server| {
        let get = |target: &str, referer: &str, agent: &str| {
            server.get_with(target, &[("Referer", referer), ("User-Agent", agent)]).text()
        };
        assert_eq!(get("/from", "http://b.org/", "x"), "[1][]");
        assert_eq!(get("/from", "http://a.org/", "x"), "fine");
        assert_eq!(get("/old", "http://b.org/", "Lynx"), "[][old]");
        assert_eq!(get("/forbidden", "http://c.org/", "Lynx"), "[1][other]");
        assert_eq!(server.get("/p/c0640c1e91de82e703d65415ab52ef8b/file").text(), "[file]");
        assert_eq!(server.get("/late/c0640c1e91de82e703d65415ab52ef8b/file").text(), "[]");
    });
}

#[test]
fn clients_are_known_again() {
    let text = "userid on; userid_name id; userid_domain example.com; userid_path /x; userid_expires 365d; userid_flags secure samesite=lax; userid_p3p 'CP=X';
        add_header Got $uid_got; add_header Set $uid_set;
        location / { return 204; }
        location /mark { userid_mark z; return 204; }
        location /reset { set $uid_reset log; return 204; }
        location /log { userid log; return 204; }
        location /v1 { userid v1; userid_service 5; userid_expires max; userid_flags off; userid_p3p none; userid_domain none; return 204; }
        location /session { userid_expires 0; return 204; }
        location /off { userid off; return 204; }";
    on_both(text, |server| {
        let fresh = server.get("/");
        let cookie = fresh.header("set-cookie").expect("a cookie").to_owned();
        assert!(
            testkit::matches(
                r"^id=[\w+/]{22}==; expires=\w{3}, \d\d-\w{3}-\d\d \d\d:\d\d:\d\d GMT; domain=example.com; path=/x; secure; samesite=lax$",
                &cookie
            ),
            "{cookie}"
        );
        assert_eq!(fresh.header("p3p"), Some("CP=X"));
        let set = fresh.header("set").expect("the numbers").to_owned();
        // The address comes first, in the order of bytes of the machine.
        assert!(testkit::matches(r"^id=0100007F[0-9A-F]{16}0[23][0-9A-F]{4}03$", &set), "{set}");
        assert_eq!(fresh.header("got"), None);
        let value = cookie.split(';').next().unwrap_or_default();
        let again = |target: &str, value: &str| server.get_with(target, &[("Cookie", value)]);
        let known = again("/", value);
        assert_eq!((known.header("set-cookie"), known.header("got")), (None, Some(set.as_str())));
        assert_eq!(again("/log", value).header("got"), Some(set.as_str()));
        let marked = again("/mark", value).header("set-cookie").unwrap_or_default().to_owned();
        assert!(marked.starts_with(&format!("{}z=", &value[..25])), "{marked}");
        assert_eq!(again("/mark", &format!("{}z=", &value[..25])).header("set-cookie"), None);
        let other = again("/reset", value).header("set-cookie").unwrap_or_default().to_owned();
        assert!(other.starts_with("id=") && !other.starts_with(value), "{other}");
        let v1 = server.get("/v1");
        let cookie = v1.header("set-cookie").unwrap_or_default();
        assert!(
            testkit::matches(r"^id=[\w+/]{22}==; expires=Thu, 31-Dec-37 23:55:55 GMT; path=/x$", cookie),
            "{cookie}"
        );
        assert!(testkit::matches("^id=00000005[0-9A-F]{24}$", v1.header("set").unwrap_or_default()));
        assert_eq!(v1.header("p3p"), None);
        let session = server.get("/session").header("set-cookie").unwrap_or_default().to_owned();
        assert!(session.starts_with("id=") && !session.contains("expires"), "{session}");
        assert_eq!(server.get("/off").header("set-cookie"), None);
        again("/", "id=short");
        again("/", "id=!!!!!!!!!!!!!!!!!!!!!!!!");
        let log = server.error_log();
        log.wait_match(&format!(r#"\[notice\] .* userid cookie "{set}" was reset"#));
        log.wait_for("client sent too short userid cookie \"id=short\"");
        log.wait_for("client sent invalid userid cookie \"id=!!!!!!!!!!!!!!!!!!!!!!!!\"");
    });
}

#[test]
fn browsers_by_age() {
    let text = "server { listen 127.0.0.1:%%PORT%%; return 200 \"[$modern_browser|$ancient_browser|$msie]\";
            modern_browser msie 5.5; modern_browser gecko 1.0.0; modern_browser safari 100; ancient_browser Lynx netscape4; ancient_browser_value old; }
        server { listen 127.0.0.1:%%PORT_1%%; return 200 \"[$modern_browser|$ancient_browser]\"; modern_browser unlisted; ancient_browser Lynx netscape4; modern_browser_value new; }
        server { listen 127.0.0.1:%%PORT_2%%; return 200 \"[$modern_browser|$ancient_browser]\"; }";
    on_both(text, |server| {
        for (agent, first, second) in [
            ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)", "[1||1]", "[|1]"),
            ("Mozilla/4.0 (compatible; MSIE 5.01; Windows NT)", "[|old|1]", "[|1]"),
            ("Mozilla/4.0 (compatible; MSIE 6.0; X11; FreeBSD i386) Opera 7.50  [en]", "[|old|]", "[|1]"),
            ("Mozilla/5.0 (X11; U; Linux i686; en-US; rv:1.8.0.5) Gecko/20020610", "[1||]", "[new|]"),
            ("Mozilla/5.0 (X11; U; Linux i686; en-US; rv:0.9) Gecko/2002", "[|old|]", "[new|]"),
            ("Mozilla/5.0 (Macintosh) AppleWebKit/125.2 (KHTML, like Gecko) Safari/125.7", "[1||]", "[new|]"),
            ("Lynx/2.8", "[|old|]", "[|1]"),
            ("curl/7", "[|old|]", "[new|]"),
        ] {
            let field = [("User-Agent", agent)];
            assert_eq!(server.get_with("/", &field).text(), first, "{agent}");
            assert_eq!(server.client_on(1).request("GET", "/", &field, b"").text(), second, "{agent}");
            assert_eq!(server.client_on(2).request("GET", "/", &field, b"").text(), "[|1]", "{agent}");
        }
        assert_eq!(server.get("/").text(), "[|old|]");
        assert_eq!(server.client_on(1).get("/").text(), "[new|]");
    });
}

#[test]
fn what_nginx_refuses_is_refused() {
    each(|binary: Binary| {
        for (text, words) in [
            ("server { allow 10.0.0.0/33; }", "invalid parameter \"10.0.0.0/33\""),
            ("split_clients $uri v { }", "invalid variable name \"v\""),
            ("split_clients $uri $v { 1 a; }", "invalid percent value \"1\""),
            ("split_clients $uri $v { 60% a; 41% b; }", "percent total is greater than 100%"),
            ("geo v { }", "invalid variable name \"v\""),
            ("geo $v { a; }", "invalid number of the geo parameters"),
            ("geo $v { a b; }", "invalid network \"a\""),
            (
                "geo $v { 1.2.3.4 a; ranges; }",
                "the \"ranges\" directive must be the first directive inside \"geo\" block",
            ),
            ("geo $v { ranges; 1.2.3.4 a; }", "invalid range \"1.2.3.4\""),
            (
                "geo $v { ranges; 1.0.0.0-1.0.0.9 a; 1.0.0.5-1.0.0.20 b; }",
                "range \"1.0.0.5-1.0.0.20\" overlaps \"1.0.0.0-1.0.0.9\"",
            ),
            ("server { valid_referers \"\"; }", "invalid referer \"\""),
            ("server { valid_referers a..b; }", "invalid hostname or wildcard \"a..b\""),
            ("server { valid_referers a.b A.b; }", "conflicting parameter \"a.b\""),
            ("real_ip_header a; real_ip_header b;", "\"real_ip_header\" directive is duplicate"),
        ] {
            let exit = binary.check(Site::bare(format!("events {{}}\nhttp {{ {text} }}")));
            assert_eq!(exit.code, Some(1), "{text}: {exit}");
            assert!(
                exit.stderr.contains(&format!("[emerg] {words} in %%DIR%%/nginx.conf:2")),
                "{text}: {exit}"
            );
        }
        let warned = binary.check(Site::bare(
            "events {}\nhttp { set_real_ip_from 10.0.0.1/8; geo $v { 10.0.0.0/8 a; 10.0.0.0/8 b; } }",
        ));
        assert!(
            warned.stderr.contains("[warn] low address bits of 10.0.0.1/8 are meaningless in"),
            "{warned}"
        );
        assert!(
            warned
                .stderr
                .contains("[warn] duplicate network \"10.0.0.0/8\", value: \"b\", old value: \"a\" in"),
            "{warned}"
        );
    });
}

//! Configurations by chance: each is one that somebody could have written, and most would be ashamed of.
//!
//! Options that exclude each other as duplicates come from different lists, so that most configurations load; those
//! that do not are compared by their error.

use super::dice::Dice;
use super::themes::{Rows, Themes};

/// What may stand in `http`, `server` and `location` alike, at most one of each row.
const ANYWHERE: Rows = &[
    &[
        "add_header X-A \"$uri|$args\";",
        "add_header X-A $host always;",
        "add_header X-A ''; add_header X-B b;",
    ],
    &[
        "expires 1h;",
        "expires -1;",
        "expires epoch;",
        "expires max;",
        "expires modified +1d;",
        "expires off;",
    ],
    &["etag off;", "etag on;"],
    &["if_modified_since before;", "if_modified_since off;", "if_modified_since exact;"],
    &[
        "error_page 404 /found.txt;",
        "error_page 404 = @named;",
        "error_page 404 403 =200 /a/x.html;",
        "error_page 500 502 503 504 /50x.html;",
        "error_page 404 =301 /there;",
        "error_page 405 =200 $uri;",
    ],
    &["recursive_error_pages on;"],
    &["default_type text/plain;", "default_type application/x-odd;", "default_type '';"],
    &["max_ranges 1;", "max_ranges 0;"],
    &["server_tokens off;"],
    &["charset utf-8;"],
    &["autoindex on;"],
    &["limit_rate 0;"],
    &["auth_basic zone; auth_basic_user_file %%DIR%%/users;"],
    &["index x.html index.html;", "index found.txt;", "index $arg_i index.html;"],
    &["merge_slashes off;"],
    &["chunked_transfer_encoding off;"],
    &["keepalive_timeout 0;", "keepalive_timeout 60s 30s;"],
    &["allow 127.0.0.1;", "allow 127.0.0.0/8; deny all;", "deny 10.0.0.0/8;"],
    &["absolute_redirect off;"],
    &["port_in_redirect off;"],
    &["server_name_in_redirect on;"],
    &["client_max_body_size 10;", "client_max_body_size 1m;"],
    &["underscores_in_headers on;"],
    &["ignore_invalid_headers off;"],
    &["log_not_found off;"],
    &["satisfy any;"],
];
/// Which rows of [`ANYWHERE`] a location may not have.
const NOT_IN_LOCATION: &[&str] = &[
    "merge_slashes",
    "underscores_in_headers",
    "ignore_invalid_headers",
    "client_header_buffer_size",
    "large_client_header_buffers",
];

/// Steps of the rewrite module, in any order and number.
const SCRIPT: &[&str] = &[
    "set $v set;",
    "set $w \"$v-$uri\";",
    "set $v $arg_v;",
    "rewrite ^/old/(.*)$ /a/$1;",
    "rewrite ^/old/(.*)$ /a/$1 last;",
    "rewrite ^/old(.*) /a$1?added=1 break;",
    "rewrite ^/r/(?<rest>.*)$ /b/$rest? redirect;",
    "rewrite ^/p/ http://elsewhere.example/$arg_x permanent;",
    "rewrite ^/e(.*)$ /%20$1;",
    "if ($arg_if) { return 200 \"if $arg_if\"; }",
    "if ($request_method = POST) { return 405; }",
    "if ($http_cookie ~* \"id=([^;]+)\") { set $v $1; }",
    "if ($uri ~ ^/a/(.)) { add_header X-If $1; }",
    "if (-f $document_root$uri) { add_header X-File yes; }",
    "if (!-e $request_filename) { rewrite ^ /found.txt last; }",
    "if ($args !~ x) { set $w no; }",
    "if ($arg_ret) { return $arg_ret; }",
    "if ($mapped = two) { rewrite ^ /b/mapped break; }",
    "break;",
];

/// What a location does.
const CONTENT: &[&str] = &[
    "",
    "",
    "root html/deep;",
    "return 200 \"$uri|$args|$v|$mapped\\n\";",
    "return 204;",
    "return 301 /moved$is_args$args;",
    "return 302 http://$host/x;",
    "return 404;",
    "return 404 text;",
    "return 444;",
    "return 418;",
    "try_files $uri $uri/ /found.txt;",
    "try_files $uri =404;",
    "try_files $uri.html $uri @named;",
    "try_files /nothing $uri/ =403;",
    "internal;",
    "proxy_pass http://%%ORIGIN%%;",
    "proxy_pass http://%%ORIGIN%%;",
    "proxy_pass http://%%ORIGIN%%/;",
    "proxy_pass http://%%ORIGIN%%/base;",
    "proxy_pass http://%%ORIGIN%%/base/$arg_p;",
    "proxy_pass http://group;",
    "proxy_pass http://group/g/;",
    "limit_except GET { deny all; } proxy_pass http://%%ORIGIN%%;",
];
/// At most one of each row, where a location proxies.
const PROXY: Rows = &[
    &[
        "proxy_set_header Host $host; proxy_set_header Connection '';",
        "proxy_set_header Host ''; proxy_set_header X-Q $args; proxy_set_header Connection '';",
    ],
    &[
        "proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header Connection '';",
    ],
    &["proxy_pass_request_headers off;"],
    &["proxy_pass_request_body off; proxy_set_header Content-Length ''; proxy_set_header Connection '';"],
    &["proxy_buffering off;"],
    &["proxy_intercept_errors on;"],
    &["proxy_hide_header X-Origin;", "proxy_pass_header Server;", "proxy_pass_header Date;"],
    &[
        "proxy_redirect off;",
        "proxy_redirect http://origin.example/ /here/;",
        "proxy_redirect ~^(.*)$ /re$1;",
    ],
    &["proxy_next_upstream http_404 http_500;", "proxy_next_upstream off;"],
    &["proxy_ignore_headers X-Accel-Redirect;", "proxy_ignore_headers X-Accel-Buffering;"],
    &["proxy_cookie_path / /c/;", "proxy_cookie_domain origin.example $host;"],
    &["proxy_buffer_size 1k; proxy_buffers 2 1k; proxy_busy_buffers_size 1k;"],
    &["proxy_set_body \"set body $args\";"],
];

const NAMES: &[&str] = &[
    "/",
    "/a",
    "/a/",
    "/b/",
    "/old/",
    "= /",
    "= /a",
    "= /found.txt",
    "^~ /b",
    "^~ /a/deep",
    "~ \\.html$",
    "~ ^/a/(.+)$",
    "~* \\.TXT$",
    "~* ^/(?<cap>r|p)/",
    "/dir",
    "/dir/",
    "@named",
    "@other",
    "/a%20b",
    "~ ^/e",
];

/// Directives that may stand in a block more than once.
const OFTEN: &[&str] = &[
    "add_header",
    "allow",
    "deny",
    "error_page",
    "if",
    "limit_req",
    "limit_conn",
    "mirror",
    "proxy_set_header",
    "rewrite",
    "set",
    "set_real_ip_from",
    "sub_filter",
    "fastcgi_param",
];

/// One configuration, as the text of `http {}`.
pub fn generate(dice: &mut Dice, themes: Themes) -> String {
    let mut text = String::from(
        "worker_processes 1;\nevents { }\nhttp {\nlog_format diff '$request|$status|%%SENT%%|$uri|$args|$host\
         |$server_name|$request_method|$upstream_status|%%RECEIVED%%|$upstream_cache_status|$remote_addr|$remote_user\
         |$limit_req_status|$sent_http_content_encoding|$sent_http_transfer_encoding\
         |$sent_http_content_type|$sent_http_location|%%LENGTH%%|%%COMPLETE%%|$v|$http_referer';\n\
         access_log logs/diff.log diff;\nerror_log logs/error.log info;\ntypes { text/html html; text/plain txt; \
         image/png png; }\nmap $arg_m $mapped { default none; 1 one; 2 two; ~^x(.+)$ re$1; *.dom dom; }\n\
         upstream group { server %%ORIGIN%% max_fails=0; server %%DOWN%% max_fails=0; server %%ORIGIN2%% backup; keepalive 4; }\n\
         proxy_read_timeout 3s; proxy_connect_timeout 1s; client_body_timeout 1s; client_header_timeout 1s;\n\
         lingering_timeout 300ms; lingering_time 1s;\n",
    );
    // How much of what was refused or broke off was read is not compared where much does.
    let names = [
        ("LENGTH", "request_length"),
        ("COMPLETE", "request_completion"),
        ("RECEIVED", "upstream_response_length"),
        ("SENT", "body_bytes_sent"),
    ];
    for (mark, name) in names {
        let shown = if themes.0.is_empty() { format!("${name}") } else { "-".to_owned() };
        text = text.replace(&format!("%%{mark}%%"), &shown);
    }
    // A connection that is not kept is closed at a moment that nobody can foresee.
    text.push_str("proxy_http_version 1.1; proxy_set_header Connection '';\n");
    themes.each().for_each(|theme| text.push_str(theme.http));
    let start = text.len();
    options(dice, 3, ANYWHERE, &[], &mut text);
    themed_options(dice, themes, &[], start, &mut text);
    server(dice, themes, "listen 127.0.0.1:%%PORT%%; server_name main.example *.wild.example;", &mut text);
    if dice.once_in(2) {
        let name =
            dice.one(&["other.example", "~^re(?<num>\\d+)\\.example$", "main.*", ".dot.example", "\"\""]);
        server(dice, themes, &format!("listen 127.0.0.1:%%PORT%%; server_name {name};"), &mut text);
    }
    text.push_str("}\n");
    match text.contains("ssi on") {
        // Where in a page with commands nginx puts what is added depends on what its parts wait for.
        true => {
            text.lines().filter(|line| !line.starts_with("add_after_body")).collect::<Vec<_>>().join("\n")
        }
        false => text,
    }
}

fn server(dice: &mut Dice, themes: Themes, opening: &str, text: &mut String) {
    text.push_str(&format!(
        "server {{ {opening}\nset $v ''; set $w '';\nlocation = /end {{ return 200 end; }}\n"
    ));
    themes.each().for_each(|theme| text.push_str(theme.server));
    let start = text.len();
    options(dice, 4, ANYWHERE, &[], text);
    themed_options(dice, themes, &[], start, text);
    if dice.once_in(3) {
        script(dice, 2, text);
    }
    if dice.once_in(8) {
        text.push_str(dice.one(&[
            "root html/deep;\n",
            "return 200 server;\n",
            "try_files $uri /found.txt;\n",
        ]));
    }
    let mut used: Vec<&str> = Vec::new();
    for _ in 0..2 + dice.below(6) {
        let name = match themes.pick(dice, |theme| theme.names) {
            Some(name) => name,
            None => dice.one(NAMES),
        };
        let declared = themes.each().any(|theme| theme.server.contains(&format!("location {name} ")));
        if !used.contains(&name) && !declared {
            used.push(name);
            location(dice, themes, name, 0, text);
        }
    }
    if !used.contains(&"@named") {
        text.push_str("location @named { return 200 \"named $uri\"; }\n");
    }
    text.push_str("}\n");
}

fn location(dice: &mut Dice, themes: Themes, name: &str, depth: usize, text: &mut String) {
    text.push_str(&format!("location {name} {{\n"));
    let start = text.len();
    options(dice, 3, ANYWHERE, NOT_IN_LOCATION, text);
    themed_options(dice, themes, NOT_IN_LOCATION, start, text);
    for theme in themes.each() {
        checked(dice, 1, theme.location, &[], start, text);
    }
    if dice.once_in(3) {
        script(dice, 2, text);
    }
    let content = content(dice, themes, start, text);
    let alias = depth == 0 && !name.starts_with(['@', '~', '=']) && dice.once_in(6);
    if alias && content.is_empty() {
        text.push_str(if name.ends_with('/') { "alias html/deep/;\n" } else { "alias html/deep;\n" });
    } else if name.starts_with(['@', '~']) && content.contains("%%/")
        || name.starts_with(['@', '~']) && content.contains("group/")
    {
        text.push_str("proxy_pass http://%%ORIGIN%%;\n");
    } else {
        text.push_str(content);
        text.push('\n');
    }
    if content.contains("proxy_pass") {
        match themes.0.is_empty() {
            true => options(dice, 4, PROXY, &[], text),
            false => checked(dice, 2, PROXY, &[], start, text),
        }
    }
    if depth == 0 && name == "/a/" && dice.once_in(2) {
        location(dice, themes, "/a/deep/", 1, text);
        location(dice, themes, "~ \\.html$", 1, text);
    }
    text.push_str("}\n");
}

/// What the location that is open from `start` on does.
fn content(dice: &mut Dice, themes: Themes, start: usize, text: &str) -> &'static str {
    let content = match themes.pick(dice, |theme| theme.content) {
        Some(content) => content,
        None => dice.one(CONTENT),
    };
    let clashes = !themes.0.is_empty() && names(content).any(|name| written(&text[start..], name));
    if clashes { "" } else { content }
}

fn script(dice: &mut Dice, most: usize, text: &mut String) {
    for step in dice.some(most + 1, SCRIPT) {
        text.push_str(step);
        text.push('\n');
    }
}

/// Up to `most` rows, one of each.
fn options(dice: &mut Dice, most: usize, rows: Rows, without: &[&str], text: &mut String) {
    let mut used = Vec::new();
    for _ in 0..dice.below(most + 1) {
        let row = dice.below(rows.len());
        let option = dice.one(rows[row]);
        if !used.contains(&row) && !without.iter().any(|name| option.starts_with(name)) {
            used.push(row);
            text.push_str(option);
            text.push('\n');
        }
    }
}

/// What the themes have for any place.
fn themed_options(dice: &mut Dice, themes: Themes, without: &[&str], start: usize, text: &mut String) {
    for theme in themes.each() {
        checked(dice, 4, theme.anywhere, without, start, text);
    }
}

/// As [`options`], without what the block that is open from `start` on has already.
fn checked(dice: &mut Dice, most: usize, rows: Rows, without: &[&str], start: usize, text: &mut String) {
    if rows.is_empty() {
        return;
    }
    for _ in 0..dice.below(most + 1) {
        let row = dice.below(rows.len());
        let option = dice.one(rows[row]);
        let fits = !names(option).any(|name| without.contains(&name) || written(&text[start..], name));
        if fits {
            text.push_str(option);
            text.push('\n');
        }
    }
}

/// The directives of some statements that a block may have once.
fn names(statements: &str) -> impl Iterator<Item = &str> {
    let all = statements.split([';', '{', '}']).filter_map(|statement| statement.split_whitespace().next());
    all.filter(|name| !OFTEN.contains(name))
}

fn written(block: &str, name: &str) -> bool {
    block.split([';', '{', '}']).any(|statement| statement.split_whitespace().next() == Some(name))
}

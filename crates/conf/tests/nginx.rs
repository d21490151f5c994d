//! The same texts for nginx and for us: the first mistake must be told in the same words, at the same line.
//!
//! What is expected is written down, so that the tests say something where no nginx is installed. Where one is, it is
//! asked too.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use conf::{
    Args, Directive, EVENTS, HTTP, IN_HTTP, Inherit, LOCATION, MAIN, Result, SERVER, Scope, Setting, Source,
    SystemInputs, Tables, Template, Tree, block, directive, exactly, flag, free,
};
use proptest::prelude::*;

#[derive(Default)]
struct Conf {
    daemon: Setting<bool>,
    connections: Setting<u64>,
    root: Setting<Template>,
    comp_level: Setting<u64>,
    buffer: Setting<u64>,
    body: Setting<u64>,
    timeout: Setting<u64>,
    satisfy: Setting<u8>,
    events: Setting<()>,
    http: Setting<()>,
}
impl Inherit for Conf {
    fn inherit(&mut self, _: &Self) {}
}

fn once(at: &mut Scope, field: impl Fn(&mut Conf) -> &mut Setting<()>) -> Result<()> {
    // A block's function sees the new block; that there is one block only is known to what all blocks share.
    let seen = at.shared::<std::sync::Mutex<Conf>>();
    field(&mut seen.lock().unwrap()).set(())
}

fn types(_: &mut Scope, a: &Args<'_>) -> Result<()> {
    a.entries().try_for_each(|entry| match entry.len() {
        0 if entry.directive == "bad" => Err(entry.error("bad")),
        _ => Ok(()),
    })
}

static ROWS: &[Directive] = &[
    directive("daemon", MAIN, flag(), |at, a| at.own::<Conf>().daemon.set(a.flag(0)?)),
    block("events", MAIN, exactly(0), EVENTS, |at, _| once(at, |c| &mut c.events)),
    directive("worker_connections", EVENTS, exactly(1), |at, a| {
        let number = a.number(0).map_err(|_| a.error(format!("invalid number \"{}\"", a.str(0))))?;
        at.own::<Conf>().connections.set(number)
    }),
    block("http", MAIN, exactly(0), HTTP, |at, _| once(at, |c| &mut c.http)),
    block("server", HTTP, exactly(0), SERVER, |_, _| Ok(())),
    block("location", SERVER.or(LOCATION), conf::between(1, 2), LOCATION, |_, _| Ok(())),
    free("types", IN_HTTP, exactly(0), types),
    directive("root", IN_HTTP, exactly(1), |at, a| at.own::<Conf>().root.set(Template::parse(a.str(0))?)),
    directive("gzip_comp_level", IN_HTTP, exactly(1), |at, a| {
        at.own::<Conf>().comp_level.set(a.number_within(0, 1, 9)?)
    }),
    directive("client_body_buffer_size", IN_HTTP, exactly(1), |at, a| {
        at.own::<Conf>().buffer.set(a.size(0)?)
    }),
    directive("client_max_body_size", IN_HTTP, exactly(1), |at, a| at.own::<Conf>().body.set(a.offset(0)?)),
    directive("proxy_read_timeout", IN_HTTP, exactly(1), |at, a| at.own::<Conf>().timeout.set(a.msec(0)?)),
    directive("satisfy", IN_HTTP, exactly(1), |at, a| {
        at.own::<Conf>().satisfy.set(a.one_of(0, &[("all", 0), ("any", 1)])?)
    }),
];

/// What we say about a file: empty if it is well. Both ways to read it must say the same.
fn ours(file: &Path, globals: &str) -> String {
    let tables = Tables::new(&[ROWS]);
    let source = Source { file, prefix: file.parent().unwrap(), globals, text: None };
    let told = |result: Result<Scope>| match result {
        Ok(_) => String::new(),
        Err(mut error) => {
            error.help = None;
            error.to_string()
        }
    };
    let tree = Tree::read(&SystemInputs, &source);
    let read = told(conf::read(&tree, &tables, &SystemInputs, Scope::root()));
    let (_, loaded) = conf::load(&SystemInputs, &source, &tables, Scope::root());
    assert_eq!(told(loaded), read);
    read
}

static NGINX: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let found = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"].map(PathBuf::from);
    let found = found.into_iter().find(|path| path.exists());
    if found.is_none() {
        eprintln!("SKIPPED in part: no nginx here to ask, only what it is known to say is tested");
    }
    found
});

/// What nginx says, if there is one. A file it finds well but for a missing `events {}` is well.
fn nginx(file: &Path, globals: &str) -> Option<String> {
    let mut command = Command::new(NGINX.as_ref()?);
    command.arg("-t").arg("-p").arg(file.parent().unwrap()).arg("-c").arg(file).args(["-e", "/dev/null"]);
    if !globals.is_empty() {
        command.args(["-g", globals]);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let told = said.split_once("[emerg] ").map_or("", |(_, told)| told);
    let told = told.split("\nnginx: ").next().unwrap();
    let well = told.is_empty() || told.starts_with("no \"events\" section");
    Some(if well { String::new() } else { told.trim_end_matches('\n').to_owned() })
}

/// A folder of its own, gone when dropped.
struct Folder(PathBuf);
impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("conf-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
    fn write(&self, name: &str, text: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}
impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `F` in an expected message stands for the file.
fn check(text: impl AsRef<OsStr>, expected: &str) {
    let folder = Folder::new();
    let file = folder.write("t.conf", text.as_ref().as_bytes());
    let expected = expected.replace("F:", &format!("{}:", file.display()));
    let text = String::from_utf8_lossy(text.as_ref().as_bytes()).into_owned();
    assert_eq!(ours(&file, ""), expected, "ours, for {text:.200}");
    if let Some(nginx) = nginx(&file, "") {
        assert_eq!(nginx, expected, "nginx's, for {text:.200}");
    }
}

/// The word as it arrives, seen in the complaint about it.
fn check_word(written: &str, word: &str, line: u32) {
    let complaint =
        format!("invalid value \"{word}\" in \"daemon\" directive, it must be \"on\" or \"off\" in F:{line}");
    check(format!("daemon {written}"), &complaint);
}

#[test]
fn words() {
    check_word("a\"b;", "a\"b", 1);
    check_word("a#b;", "a#b", 1);
    check_word("#c\nx;", "x", 2);
    check_word("x #c\n;", "x", 2);
    check_word("a}b;", "a}b", 1);
    check_word("a${b}c;", "a${b}c", 1);
    check_word("${;", "${", 1);
    check_word("$${;", "$${", 1);
    check_word("${{{;", "${{{", 1);
    check_word("$;", "$", 1);
    check_word("\\{x;", "\\{x", 1);
    check_word("$\\{;", "$\\{", 1);
    check_word("\\;x;", "\\;x", 1);
    check_word("a\\ b;", "a\\ b", 1);
    check_word("a\\\nb;", "a\\\nb", 2);
    check_word("a\\tb\\n\\\\\\\"\\q;", "a\tb\n\\\"\\q", 1);
    check_word("'a\"b\\'c\\q';", "a\"b'c\\q", 1);
    check_word("\"$a{ };#\";", "$a{ };#", 1);
    check_word("\"a\nb\nc\";", "a\nb\nc", 3);
    check_word("\"\";", "", 1);
    check_word("\n\nx\n\n;", "x", 5);
    check_word("\"x\"\r\n;", "x", 2);
    check_word("x\r\n;", "x", 2);
}

#[test]
fn grammar() {
    check("foo 1;", "unknown directive \"foo\" in F:1");
    check("events{}\nfoo", "unexpected end of file, expecting \";\" or \"}\" in F:2");
    check("daemon \"on\nx", "unexpected end of file, expecting \";\" or \"}\" in F:2");
    check("daemon a\\", "unexpected end of file, expecting \";\" or \"}\" in F:1");
    check("events {\n", "unexpected end of file, expecting \"}\" in F:2");
    check("}", "unexpected \"}\" in F:1");
    check(";", "unexpected \";\" in F:1");
    check("events{}\n{", "unexpected \"{\" in F:2");
    check("daemon on\n}", "unexpected \"}\" in F:2");
    check("daemon \"a\"b;", "unexpected \"b\" in F:1");
    check("daemon \"a\"#c\n;", "unexpected \"#\" in F:1");
    check("daemon \"a\"\")\" ;", "unexpected \"\"\" in F:1");
    check("daemon \"a\") ;", "invalid number of arguments in \"daemon\" directive in F:1");
    check("events;", "directive \"events\" has no opening \"{\" in F:1");
    check("daemon a{b;", "directive \"daemon\" is not terminated by \";\" in F:1");
    check("daemon a$ {c;", "directive \"daemon\" is not terminated by \";\" in F:1");
    check("daemon ${b}{;", "directive \"daemon\" is not terminated by \";\" in F:1");
    check("'' x;", "unknown directive \"\" in F:1");
    check("\"daemon\" on;", "");
    check("# only this", "");
    check("", "");
    check("\u{feff}events{}", "unknown directive \"\u{feff}events\" in F:1");
    check("events {\r\n}\r\nfoo;\r\n", "unknown directive \"foo\" in F:3");
}

#[test]
fn places_and_duplicates() {
    check("daemon on; daemon on;", "\"daemon\" directive is duplicate in F:1");
    check("events{}\nevents{\n}", "\"events\" directive is duplicate in F:2");
    check("root /x;", "\"root\" directive is not allowed here in F:1");
    check("events{} http {\n daemon on; }", "\"daemon\" directive is not allowed here in F:2");
    check("daemon on on;", "invalid number of arguments in \"daemon\" directive in F:1");
    check(
        "events{} http{ server { location { } } }",
        "invalid number of arguments in \"location\" directive in F:1",
    );
    check("events{} http { root a; server { root b; root c; } }", "\"root\" directive is duplicate in F:1");
}

#[test]
fn a_second_value_is_not_read_where_there_may_be_one() {
    check("daemon on; daemon maybe;", "\"daemon\" directive is duplicate in F:1");
    check(
        "events { worker_connections 1;\nworker_connections x; }",
        "\"worker_connections\" directive is duplicate in F:2",
    );
    check("events{} http { server { root b; root $; } }", "\"root\" directive is duplicate in F:1");
    // In another block it is the first.
    let first = "invalid value \"x\" in \"daemon\" directive, it must be \"on\" or \"off\" in F:1";
    check("daemon x; daemon on;", first);
    check("events{} http { root a; server { root $; } }", "invalid variable name in F:1");
}

#[test]
fn whichever_comes_first() {
    check("http { server { root ${a b}; foo; ", "invalid number of arguments in \"root\" directive in F:1");
    check("events { foo 1; ", "unknown directive \"foo\" in F:1");
    check(
        "events { worker_connections 1; worker_connections 1; foo \"",
        "\"worker_connections\" directive is duplicate in F:1",
    );
    check("events{} http { server { root 80 ", "unexpected end of file, expecting \";\" or \"}\" in F:1");
    check("events{} http { types { a b; ", "unexpected end of file, expecting \"}\" in F:1");
    check("events{} http { types { a \"b", "unexpected end of file, expecting \";\" or \"}\" in F:1");
    check("events{} http { root b; server { root $; foo", "invalid variable name in F:1");
    check("events{} http { server { foo \"", "unexpected end of file, expecting \";\" or \"}\" in F:1");
}

#[test]
fn values() {
    let http = |text: &str, expected: &str| check(format!("events{{}} http {{ {text} }}"), expected);
    http("gzip_comp_level a;", "\"gzip_comp_level\" directive invalid number in F:1");
    http("gzip_comp_level 10;", "value must be between 1 and 9 in F:1");
    http("satisfy foo;", "invalid value \"foo\" in F:1");
    http("satisfy ALL;", "");
    let bad = |name: &str, value: &str| {
        http(&format!("{name} {value};"), &format!("\"{name}\" directive invalid value in F:1"));
    };
    let good = |name: &str, value: &str| http(&format!("{name} {value};"), "");
    for value in ["1g", "k", "-1", "\"\"", "9223372036854775808", "9007199254740992k", "1.5k"] {
        bad("client_body_buffer_size", value);
    }
    for value in ["1", "9223372036854775807", "9007199254740991k", "1M"] {
        good("client_body_buffer_size", value);
    }
    for value in ["9223372036854775808", "8589934592g", "1t", "1kk", "1.5m"] {
        bad("client_max_body_size", value);
    }
    for value in ["0", "9223372036854775807", "8589934591g", "1G"] {
        good("client_max_body_size", value);
    }
    for value in TIMES_BAD {
        bad("proxy_read_timeout", value);
    }
    for value in TIMES_GOOD {
        good("proxy_read_timeout", value);
    }
}

const TIMES_BAD: &[&str] = &[
    "30m1h",
    "1y",
    "1M",
    "1m1m",
    "500ms1s",
    "\" 1h\"",
    "\"1 h\"",
    "\"\"",
    "\"30 20s\"",
    "s",
    "1mss",
    "9223372036854776s",
    "9223372036854775808ms",
    "-1",
    "1h-1m",
];
const TIMES_GOOD: &[&str] = &[
    "\"1h 30m\"",
    "1s500ms",
    "1m30",
    "30",
    "\"1h  \"",
    "\"1h 30\"",
    "\"30 \"",
    "\"30 20\"",
    "1m1ms",
    "1w2d",
    "9223372036854775s",
    "9223372036854775807ms",
    "1w1d1h1m1s1ms",
];

#[test]
fn variables() {
    let root = |text: &str, expected: &str| check(format!("events{{}} http {{ root {text}; }}"), expected);
    root("$", "invalid variable name in F:1");
    root("a$-", "invalid variable name in F:1");
    root("${}", "invalid variable name in F:1");
    root("a${", "invalid variable name in F:1");
    root("\"$ a\"", "invalid variable name in F:1");
    root("$é", "invalid variable name in F:1");
    root("${a", "the closing bracket in \"a\" variable is missing in F:1");
    root("${a-b}", "the closing bracket in \"a\" variable is missing in F:1");
    root("${1", "the closing bracket in \"1\" variable is missing in F:1");
    root("$host}", "");
    root("$1a$10", "");
    root("${host}x$uri", "");
}

#[test]
fn free_blocks() {
    let types = |text: &str, expected: &str| check(format!("events{{}} http {{ types {{ {text}"), expected);
    types("a { } } }", "unexpected \"{\" in F:1");
    types("a b; ; } }", "unexpected \";\" in F:1");
    types("a b } }", "unexpected \"}\" in F:1");
    types("a b; } } }", "unexpected \"}\" in F:1");
    types("include a b; } }", "invalid number of arguments in \"include\" directive in F:1");
    types("a b; } types { c d; } }", "");
}

#[test]
fn too_long() {
    let a = |n: usize| "a".repeat(n);
    let started = "too long parameter \"aaaaaaaaaa...\" started in F:2";
    let missing = "too long parameter, probably missing terminating \"\"\" character in F:2";
    let complaint = |word: String| {
        format!("invalid value \"{word}\" in \"daemon\" directive, it must be \"on\" or \"off\" in F:2")
    };
    // nginx cuts its message at 2048 bytes: only ours is compared where it is the word that is complained about.
    let mine = |text: String, expected: String| {
        let folder = Folder::new();
        let file = folder.write("t.conf", text.as_bytes());
        assert_eq!(ours(&file, ""), expected.replace("F:", &format!("{}:", file.display())));
    };
    mine(format!("\ndaemon {};", a(4095)), complaint(a(4095)));
    mine(format!("\ndaemon \"{}\";", a(4094)), complaint(a(4094)));
    check(format!("\ndaemon {};", a(4096)), started);
    check(format!("\ndaemon {}", a(5000)), started);
    check(format!("daemon \n\"{}\n\";", a(4094)), started);
    check(format!("daemon \n\"{}\n\";", a(4095)), missing);
    check(format!("daemon \n\"a\nb{}\n\";", a(5000)), missing);
    check(format!("\n#{}\nfoo;", a(4094)), "unknown directive \"foo\" in F:3");
    check(format!("\n#{}\nfoo;", a(4095)), "too long parameter \"#aaaaaaaaa...\" started in F:2");
    check(format!("{}foo;", " \n".repeat(5000)), "unknown directive \"foo\" in F:5001");
}

#[test]
fn includes() {
    let folder = Folder::new();
    fs::create_dir_all(folder.0.join("d/sub")).unwrap();
    folder.write("d/a.conf", b"daemon on;");
    folder.write("d/b.conf", b"\nfoo 1;");
    folder.write("d/c.conf", b"\nevents {");
    folder.write("d/d.conf", b"}");
    folder.write("d/.hidden.conf", b"hidden;");
    let file = |text: &str| folder.write("t.conf", text.as_bytes());
    let dir = folder.0.display();
    let check = |text: &str, expected: String| {
        let file = file(text);
        assert_eq!(ours(&file, ""), expected, "ours, for {text}");
        if let Some(nginx) = nginx(&file, "") {
            assert_eq!(nginx, expected, "nginx's, for {text}");
        }
    };
    let none = |name: &str, line: u32| {
        format!("open() \"{dir}/{name}\" failed (2: No such file or directory) in {dir}/t.conf:{line}")
    };
    check("\ninclude none;", none("none", 2));
    check("include d/*.none;", String::new());
    check("include d/[ab].conf;", format!("unknown directive \"foo\" in {dir}/d/b.conf:2"));
    check("include d/?.conf;", format!("unknown directive \"foo\" in {dir}/d/b.conf:2"));
    check("include d/*.conf;", format!("unknown directive \"foo\" in {dir}/d/b.conf:2"));
    check(
        "include d/a.conf; include d/a.conf;",
        format!("\"daemon\" directive is duplicate in {dir}/d/a.conf:1"),
    );
    check("include d/c.conf; }", format!("unexpected end of file, expecting \"}}\" in {dir}/d/c.conf:2"));
    check("events { include d/d.conf;", format!("unexpected \"}}\" in {dir}/d/d.conf:1"));
    check(
        "events { include d/a.conf; }",
        format!("\"daemon\" directive is not allowed here in {dir}/d/a.conf:1"),
    );
    check("http { types { include none; } }", none("none", 1));
    check("include none {", format!("directive \"include\" is not terminated by \";\" in {dir}/t.conf:1"));
    check("include;", format!("invalid number of arguments in \"include\" directive in {dir}/t.conf:1"));
    check(
        "include d/a.conf/x;",
        format!("open() \"{dir}/d/a.conf/x\" failed (20: Not a directory) in {dir}/t.conf:1"),
    );
}

#[test]
fn the_g_option() {
    let folder = Folder::new();
    let file = folder.write("t.conf", b"daemon on;");
    let check = |globals: &str, expected: &str| {
        assert_eq!(ours(&file, globals), expected, "ours, for {globals}");
        if let Some(nginx) = nginx(&file, globals) {
            assert_eq!(nginx, expected, "nginx's, for {globals}");
        }
    };
    check("foo 1;", "unknown directive \"foo\" in command line");
    check("daemon on", "unexpected end of parameter, expecting \";\" in command line");
    check("daemon \"on", "unexpected end of parameter, expecting \";\" in command line");
    check("}", "unexpected \"}\" in command line");
    check("events{}", "block directives are not supported in -g option in command line");
    check(
        "daemon x;",
        "invalid value \"x\" in \"daemon\" directive, it must be \"on\" or \"off\" in command line",
    );
    check("daemon on; # x", &format!("\"daemon\" directive is duplicate in {}:1", file.display()));
}

fn fragment() -> impl Strategy<Value = &'static str> {
    let all = [
        "daemon",
        "daemon on",
        "daemon ",
        "events",
        "events{",
        "http{",
        "server{",
        "types{",
        "root",
        "root ",
        "on",
        "a",
        "b1",
        " ",
        " ",
        " ",
        "\n",
        "\t",
        ";",
        ";",
        ";",
        "{",
        "}",
        "}",
        "\"",
        "\"",
        "'",
        "\\",
        "\\\\",
        "$",
        "${",
        "#",
        "aé",
        "\\n",
        "\r",
        ")",
        "include x;",
    ];
    prop::sample::select(all.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_text_is_judged_as_nginx_judges_it(fragments in prop::collection::vec(fragment(), 1..20)) {
        if NGINX.is_none() {
            return Ok(());
        }
        let text = fragments.concat();
        let folder = Folder::new();
        let file = folder.write("t.conf", text.as_bytes());
        let theirs = nginx(&file, "").unwrap();
        prop_assert_eq!(ours(&file, ""), theirs, "for {:?}", text);
    }
}

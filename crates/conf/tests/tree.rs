//! Texts to trees and back, and files that mean harm.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::path::Path;

use conf::{
    Directive, HTTP, IN_HTTP, Inputs, LOCATION, MAIN, Mark, Recorded, SERVER, Scope, Source, Statement,
    SystemInputs, Tables, Tree, Word, block, directive, exactly, free,
};
use proptest::prelude::*;

fn tree(text: impl AsRef<[u8]>) -> Tree {
    read(&Recorded::default().with_file("/etc/t.conf", text))
}

fn read(inputs: &dyn Inputs) -> Tree {
    let source =
        Source { file: Path::new("/etc/t.conf"), prefix: Path::new("/srv"), globals: "", text: None };
    Tree::read(inputs, &source)
}

fn error(tree: &Tree) -> String {
    let mut error = tree.error.clone();
    error.iter_mut().for_each(|error| error.help = None);
    error.map(|error| error.to_string()).unwrap_or_default()
}

/// The mistake's second line.
fn remark(text: &str) -> String {
    tree(text).error.unwrap().help.unwrap_or_default()
}

/// A tree in short: `a b{c;}`.
fn short(statements: &[Statement]) -> String {
    let mut text = String::new();
    for statement in statements {
        let words = std::iter::once(&statement.name).chain(&statement.args);
        text += &words.map(ToString::to_string).collect::<Vec<_>>().join(" ");
        match &statement.body {
            None => text += ";",
            Some(block) => {
                let end = if block.closed { "}" } else { "..." };
                text += &format!("{{{}{end}", short(&block.statements));
            }
        }
    }
    text
}

#[test]
fn blocks_and_lines() {
    let tree = tree("a 1\n  2;\nb {\n  c;\n  d e\n  {\n  }\n}\n");
    assert_eq!(error(&tree), "");
    assert_eq!(short(&tree.statements), "a 1 2;b{c;d e{}}");
    let b = &tree.statements[1];
    assert_eq!((tree.statements[0].at.line, b.at.line, b.body.as_ref().unwrap().end.line), (2, 3, 8));
    assert_eq!(b.statements()[1].at, Mark { file: 0, line: 6 });
    assert_eq!(tree.position(b.at).to_string(), "/etc/t.conf:3");
}

#[test]
fn what_stands_before_a_mistake_is_kept() {
    let tree = tree("a; b { c; d { e;\n f g");
    assert_eq!(short(&tree.statements), "a;b{c;d{e;......");
    assert_eq!(error(&tree), "unexpected end of file, expecting \";\" or \"}\" in /etc/t.conf:2");
}

#[test]
fn includes_stand_where_they_are_named() {
    let inputs = Recorded::default()
        .with_file("/etc/t.conf", "a; http { include d/*.conf; z; } include /abs/x;")
        .with_glob("/etc/d/*.conf", &["/etc/d/1.conf", "/etc/d/2.conf"])
        .with_file("/etc/d/1.conf", "b {\n}\n")
        .with_file("/etc/d/2.conf", "\nc;")
        .with_file("/abs/x", "");
    let tree = read(&inputs);
    assert_eq!(short(&tree.statements), "a;http{b{}c;z;}");
    assert_eq!(tree.position(tree.statements[1].statements()[1].at).to_string(), "/etc/d/2.conf:2");
    let dump = String::from_utf8(tree.dump()).unwrap();
    let begins = "# configuration file /etc/t.conf:\na; http { include d/*.conf; z; } include /abs/x;\n\
        # configuration file /etc/d/1.conf:\nb {\n}\n\n# configuration file /etc/d/2.conf:\n\nc;\n";
    assert_eq!(dump, format!("{begins}# configuration file /abs/x:\n\n"));
}

#[test]
fn names_are_completed_from_two_folders() {
    let tree = tree("");
    assert_eq!(tree.full_name("a", conf::Relative::Conf), Path::new("/etc/a"));
    assert_eq!(tree.full_name("a", conf::Relative::Prefix), Path::new("/srv/a"));
    assert_eq!(tree.full_name("/a", conf::Relative::Prefix), Path::new("/a"));
}

#[test]
fn a_file_included_twice_is_read_and_dumped_once() {
    let inputs = Recorded::default()
        .with_file("/etc/t.conf", "include x; a { include x; include x; }")
        .with_file("/etc/x", "b;");
    let tree = read(&inputs);
    assert_eq!(short(&tree.statements), "b;a{b;b;}");
    assert_eq!(tree.files.len(), 2);
}

#[test]
fn files_that_include_each_other() {
    let inputs = Recorded::default()
        .with_file("/etc/t.conf", "a;\ninclude x;")
        .with_file("/etc/x", "\n\ninclude t.conf;");
    assert_eq!(error(&read(&inputs)), "file \"/etc/t.conf\" includes itself in /etc/x:3");
    let inputs = Recorded::default().with_file("/etc/t.conf", "include t.conf;");
    assert_eq!(error(&read(&inputs)), "file \"/etc/t.conf\" includes itself in /etc/t.conf:1");
    let inputs = Recorded::default()
        .with_file("/etc/t.conf", "include *;")
        .with_glob("/etc/*", &["/etc/a", "/etc/t.conf"])
        .with_file("/etc/a", "a;");
    assert_eq!(error(&read(&inputs)), "file \"/etc/t.conf\" includes itself in /etc/t.conf:1");
}

#[test]
fn files_that_go_on_and_on() {
    let mut inputs = Recorded::default().with_file("/etc/t.conf", "include 0;");
    for i in 0..100 {
        inputs = inputs.with_file(format!("/etc/{i}"), format!("include {};", i + 1));
    }
    assert_eq!(error(&read(&inputs)), "files include each other more than 64 deep in /etc/62:1");
}

#[test]
fn files_that_multiply() {
    let mut inputs = Recorded::default().with_file("/etc/t.conf", "include 0;");
    for i in 0..40 {
        inputs = inputs.with_file(format!("/etc/{i}"), format!("include {0};include {0};", i + 1));
    }
    inputs = inputs.with_file("/etc/40", "");
    assert!(error(&read(&inputs)).starts_with("files included again and again add up to more than"));
}

#[test]
fn files_that_cannot_be_read() {
    let inputs = Recorded::default().with_file("/etc/t.conf", "\ninclude x;");
    let denied = inputs.clone().with_unreadable("/etc/x", 13);
    assert_eq!(error(&read(&denied)), "open() \"/etc/x\" failed (13: Permission denied) in /etc/t.conf:2");
    let folder = inputs.with_unreadable("/etc/x", 21);
    assert_eq!(error(&read(&folder)), "pread() \"/etc/x\" failed (21: Is a directory) in /etc/t.conf:2");
    assert_eq!(
        error(&read(&Recorded::default())),
        "open() \"/etc/t.conf\" failed (2: No such file or directory)"
    );
}

#[test]
fn what_has_no_end_is_given_up_on() {
    let zero = SystemInputs.read(Path::new("/dev/zero")).unwrap_err();
    assert_eq!(conf::os_error(&zero), "27: File too large");
    assert!(SystemInputs.read(Path::new("/")).is_err());
    assert_eq!(&*SystemInputs.read(Path::new("/dev/null")).unwrap(), b"");
    assert!(!SystemInputs.read(Path::new("/proc/self/stat")).unwrap().is_empty());
}

#[test]
fn hostile_texts() {
    let mb = 1 << 20;
    let words = error(&tree(format!("a {}", "b ".repeat(mb))));
    assert_eq!(words, "more than 262144 parameters in \"a\" directive in /etc/t.conf:1");
    assert_eq!(error(&tree("a {".repeat(mb))), "blocks are nested more than 200 deep in /etc/t.conf:1");
    assert_eq!(error(&tree("{".repeat(mb))), "unexpected \"{\" in /etc/t.conf:1");
    assert_eq!(error(&tree("a;\nb \0;")), "unexpected NUL byte in /etc/t.conf:2");
    assert_eq!(error(&tree("a \"b\\\0\";")), "unexpected NUL byte in /etc/t.conf:1");
    assert_eq!(error(&tree("a b\\\0;")), "unexpected NUL byte in /etc/t.conf:1");
    assert_eq!(error(&tree("a \"b\"\0;")), "unexpected NUL byte in /etc/t.conf:1");
    assert_eq!(error(&tree("# \0 in a comment\n")), "");
    let line = "x".repeat(100 * mb);
    assert!(error(&tree(&line)).starts_with("too long parameter \"xxxxxxxxxx...\" started"));
    assert!(error(&tree("a '".to_owned() + &line)).starts_with("too long parameter, probably missing"));
    assert!(error(&tree("#".to_owned() + &line)).starts_with("too long parameter \"#xxxxxxxxx...\""));
    assert_eq!(error(&tree("a \"b")), "unexpected end of file, expecting \";\" or \"}\" in /etc/t.conf:1");
}

static ROWS: &[Directive] = &[
    block("http", MAIN, exactly(0), HTTP, |_, _| Ok(())),
    block("server", HTTP, exactly(0), SERVER, |_, _| Ok(())),
    block("location", SERVER, exactly(1), LOCATION, |_, _| Ok(())),
    directive("root", IN_HTTP, exactly(1), |_, _| Ok(())),
    directive("proxy_pass", LOCATION, exactly(1), |_, _| Ok(())),
    free("types", IN_HTTP, exactly(0), |_, _| Ok(())),
];

#[test]
fn loading_stops_at_the_first_mistake() {
    let text = format!("http {{ root a; types {{ any thing; }} b; include none; {}", "}".repeat(100));
    let source =
        Source { file: Path::new("/etc/t.conf"), prefix: Path::new("/"), globals: "", text: Some(&text) };
    let (tree, scope) = conf::load(&Recorded::default(), &source, &Tables::new(&[ROWS]), Scope::root());
    assert_eq!(scope.unwrap_err().message, "unknown directive \"b\"");
    assert_eq!((tree.files.len(), tree.statements.len()), (1, 0));
    assert_eq!(tree.dump(), format!("# configuration file /etc/t.conf:\n{text}\n").into_bytes());
}

/// The second line, or the first if there is only one.
fn help(text: &str) -> String {
    let tables = Tables::new(&[ROWS]);
    let tree = tree(text);
    let error = conf::read(&tree, &tables, &Recorded::default(), Scope::root()).unwrap_err();
    error.to_string().lines().last().unwrap().to_owned()
}

#[test]
fn a_second_line_helps() {
    assert_eq!(help("http { sevrer { } }"), "did you mean \"server\"?");
    assert_eq!(help("http { server { location / { proxy_pas x; } } }"), "did you mean \"proxy_pass\"?");
    assert_eq!(help("root x;"), "\"root\" is allowed in: http, server, location");
    assert_eq!(help("http { proxy_pass x; }"), "\"proxy_pass\" is allowed in: location");
    assert_eq!(help("http { something_else x; }"), "unknown directive \"something_else\" in /etc/t.conf:1");
    assert!(help("http { js_import x; }").starts_with("\"js_import\" belongs to ngx_http_js_module"));
    assert_eq!(
        help("http { server { location / { health_check; } } }"),
        "\"health_check\" belongs to ngx_http_upstream_hc_module, part of nginx's commercial subscription"
    );
    assert_eq!(help("\u{feff}http { }"), "the file begins with a byte order mark");
}

#[test]
fn what_is_left_open_is_named() {
    assert_eq!(remark("a {\n b {\n }\n"), "\"a\" in /etc/t.conf:1 is not closed");
    assert_eq!(remark("a 'b\n\nc"), "the quote that begins in line 1 is not closed");
    assert_eq!(remark("a { b\n }"), "\"b\" before it lacks its \";\"");
    assert_eq!(remark("a\n"), "\"a\" lacks its \";\"");
    assert_eq!(remark("}"), "");
    assert_eq!(help("http 1 {"), "\"http\" takes no arguments, not 1");
    assert_eq!(help("http { root a b; }"), "\"root\" takes 1 argument, not 2");
}

#[test]
fn what_nginx_has_and_we_lack_is_said_to_be_that() {
    let tables = Tables::new(&[ROWS]);
    let said = |text: &str| {
        let error = conf::read(&tree(text), &tables, &Recorded::default(), Scope::root()).unwrap_err();
        error.to_string().lines().next().unwrap().to_owned()
    };
    assert_eq!(said("mail {"), "directive \"mail\" is not supported by plimsoll in /etc/t.conf:1");
    assert_eq!(
        said("http { fastcgi_pass x; }"),
        "directive \"fastcgi_pass\" is not supported by plimsoll in /etc/t.conf:1"
    );
    // A word of nginx's that we know, where nginx has it and we do not.
    assert_eq!(
        said("http { server { location / { location x { } } } }").split(" in /").next().unwrap(),
        "directive \"location\" is not supported by plimsoll"
    );
    assert_eq!(said("proxy_pass x;"), "\"proxy_pass\" directive is not allowed here in /etc/t.conf:1");
}

#[test]
fn bytes_that_are_not_text_are_refused_where_text_is_needed() {
    let tables = Tables::new(&[ROWS]);
    let said = |text: &[u8]| {
        conf::read(&tree(text), &tables, &Recorded::default(), Scope::root())
            .map_err(|error| error.to_string())
    };
    assert_eq!(
        said(b"http {\nroot \xff; }").unwrap_err(),
        "argument \"\u{fffd}\" of \"root\" directive is not UTF-8 in /etc/t.conf:2"
    );
    assert_eq!(
        said(b"http { types {\n\xff a; } }").unwrap_err(),
        "a parameter in \"types\" block is not UTF-8 in /etc/t.conf:2"
    );
    assert!(said(b"http { # \xff\n }").is_ok());
}

/// A tree as it might be written by a program: any words, any shape.
fn statements() -> impl Strategy<Value = Vec<(Vec<Vec<u8>>, bool)>> {
    let byte = prop_oneof![prop::sample::select(b"\"'\\ ;{}$#\n\t\rabn\x80\xff".to_vec()), 1u8..=255];
    let word = prop::collection::vec(byte, 0..30);
    let words =
        prop::collection::vec(word, 1..4).prop_filter("not an include", |words| words[0] != b"include");
    prop::collection::vec((words, any::<bool>()), 0..12)
}

fn written(statements: &[(Vec<Vec<u8>>, bool)]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut open = 0;
    for (words, opens) in statements {
        for word in words {
            text.push(b'"');
            for &byte in word {
                text.extend_from_slice(if matches!(byte, b'"' | b'\\') { b"\\" } else { b"" });
                text.push(byte);
            }
            text.extend_from_slice(b"\" ");
        }
        text.push(if *opens { b'{' } else { b';' });
        open += usize::from(*opens);
    }
    text.resize(text.len() + open, b'}');
    text
}

fn words(statements: &[Statement]) -> Vec<(Vec<Word>, bool)> {
    let mut all = Vec::new();
    for statement in statements {
        let words = std::iter::once(&statement.name).chain(&statement.args).cloned().collect();
        all.push((words, statement.body.is_some()));
        all.extend(self::words(statement.statements()));
    }
    all
}

proptest! {
    #[test]
    fn any_words_can_be_written(statements in statements()) {
        let tree = tree(written(&statements));
        prop_assert_eq!(error(&tree), "");
        let read: Vec<(Vec<Vec<u8>>, bool)> = words(&tree.statements)
            .into_iter()
            .map(|(words, opens)| (words.iter().map(|word| word.bytes().to_vec()).collect(), opens))
            .collect();
        prop_assert_eq!(read, statements);
    }

    #[test]
    fn a_printed_tree_reads_back_as_the_same(text in "[ab\"'{};$#\\\\ \n\u{80}-\u{fff}]{0,60}") {
        let tree = tree(text);
        let again = self::tree(tree.print());
        prop_assert_eq!(error(&again), "");
        prop_assert_eq!(words(&again.statements), words(&tree.statements));
        prop_assert_eq!(again.print(), tree.print());
    }

    #[test]
    fn no_bytes_make_it_panic(text in prop::collection::vec(any::<u8>(), 0..400)) {
        let tree = tree(&text);
        let lines = text.iter().filter(|byte| **byte == b'\n').count() + 1;
        for line in tree.error.iter().filter_map(|error| error.at.as_ref()).map(|at| at.line as usize) {
            prop_assert!((1..=lines).contains(&line));
        }
        let _ = conf::read(&tree, &Tables::new(&[ROWS]), &Recorded::default(), Scope::root());
    }
}

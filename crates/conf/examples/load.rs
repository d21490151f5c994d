//! What reading a configuration costs: `load FILE` reads it as the server does, with a handful of directives, and says
//! how long each step took. For comparing with `nginx -t` on the same file.
#![forbid(unsafe_code)]

use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use conf::{
    Directive, EVENTS, HTTP, IN_HTTP, Inherit, LOCATION, List, MAIN, SERVER, Scope, Setting, Source,
    SystemInputs, Tables, Template, at_least, between, block, directive, exactly, free,
};

#[derive(Default)]
struct Conf {
    root: Setting<Template>,
    names: List<String>,
    body: Setting<u64>,
    pairs: List<(String, Template)>,
}
impl Inherit for Conf {
    fn inherit(&mut self, outer: &Conf) {
        self.root.inherit(&outer.root);
        self.body.inherit(&outer.body);
        self.pairs.inherit(&outer.pairs);
    }
}

#[derive(Default)]
struct Events(Mutex<Setting<()>>);
impl Events {
    fn once(&self) -> conf::Result<()> {
        self.0.lock().map_or(Ok(()), |mut seen| seen.set(()))
    }
}

static ROWS: &[Directive] = &[
    block("events", MAIN, exactly(0), EVENTS, |at, _| at.shared::<Events>().once()),
    block("http", MAIN, exactly(0), HTTP, |_, _| Ok(())),
    block("server", HTTP, exactly(0), SERVER, |_, _| Ok(())),
    block("location", SERVER.or(LOCATION), between(1, 2), LOCATION, |_, _| Ok(())),
    directive("listen", SERVER, at_least(1), |_, _| Ok(())),
    directive("server_name", SERVER, at_least(1), |at, a| {
        a.iter().for_each(|name| at.own::<Conf>().names.push(name.to_owned()));
        Ok(())
    }),
    directive("root", IN_HTTP, exactly(1), |at, a| at.own::<Conf>().root.set(Template::parse(a.str(0))?)),
    directive("client_max_body_size", IN_HTTP, exactly(1), |at, a| at.own::<Conf>().body.set(a.offset(0)?)),
    directive("server_names_hash_max_size", HTTP, exactly(1), |_, _| Ok(())),
    directive("add_header", IN_HTTP, between(2, 3), |at, a| {
        at.own::<Conf>().pairs.push((a.str(0).to_owned(), Template::parse(a.str(1))?));
        Ok(())
    }),
    directive("return", SERVER.or(LOCATION), between(1, 2), |_, _| Ok(())),
    directive("map_hash_max_size", HTTP, exactly(1), |_, _| Ok(())),
    free("map", HTTP, exactly(2), |at, a| {
        for entry in a.entries() {
            let value = Template::parse(entry.str(0)).map_err(|error| error.at(entry.at()))?;
            at.own::<Conf>().pairs.push((entry.directive.to_owned(), value));
        }
        Ok(())
    }),
];

fn main() {
    let Some(file) = std::env::args().nth(1) else { return eprintln!("usage: load FILE") };
    let Ok(file) = std::fs::canonicalize(file) else { return eprintln!("no such file") };
    let tables = Tables::new(&[ROWS]);
    let begin = Instant::now();
    let source = Source { file: &file, prefix: Path::new("/"), globals: "", text: None };
    let (_, scope) = conf::load(&SystemInputs, &source, &tables, Scope::root());
    let read = begin.elapsed();
    match scope {
        Ok(mut scope) => {
            scope.inherit_down();
            println!("read {read:?}, inherited {:?}", begin.elapsed() - read);
        }
        Err(error) => println!("{error}\nafter {read:?}"),
    }
}

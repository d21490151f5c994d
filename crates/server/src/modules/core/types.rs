//! `types`: a file's type by its extension.

use std::collections::HashMap;
use std::sync::Arc;

use conf::{Args, Directive, Error, Inherit, Scope, directive, free};

use crate::worker::generation::Compiler;

/// Types by extension, lower case.
pub type Types = HashMap<Box<[u8]>, Arc<[u8]>>;

/// As written at one level.
#[derive(Default)]
pub struct Conf {
    map: Arc<Types>,
    written: bool,
}
impl Inherit for Conf {
    fn inherit(&mut self, outer: &Conf) {
        if !self.written {
            self.map = outer.map.clone();
            self.written = outer.written;
        }
    }
}

/// `types { type extension ..; }`
pub const TYPES: Directive = free("types", super::ANY, conf::exactly(0), types);
/// `types_hash_max_size`
pub const TYPES_HASH_MAX_SIZE: Directive =
    directive("types_hash_max_size", super::ANY, conf::exactly(1), needless);
/// `types_hash_bucket_size`
pub const TYPES_HASH_BUCKET_SIZE: Directive =
    directive("types_hash_bucket_size", super::ANY, conf::exactly(1), needless);

fn needless(_: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    a.number::<u32>(0).map(drop)
}

fn types(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let conf = at.own::<Conf>();
    conf.written = true;
    let mut repeated = Vec::new();
    let map = Arc::make_mut(&mut conf.map);
    for line in a.entries() {
        let kind: Arc<[u8]> = line.name_bytes().into();
        for extension in line.words {
            let key = extension.bytes().to_ascii_lowercase().into_boxed_slice();
            if let Some(old) = map.insert(key, kind.clone()) {
                let message = format!(
                    "duplicate extension \"{}\", content type: \"{}\", previous content type: \"{}\"",
                    String::from_utf8_lossy(extension.bytes()),
                    String::from_utf8_lossy(&kind),
                    String::from_utf8_lossy(&old)
                );
                repeated.push(Error::warn(message).at(line.at()));
            }
        }
    }
    for warning in repeated {
        at.warn(warning);
    }
    Ok(())
}

/// The types in force; nginx's three where none are written.
pub fn compile(at: &Scope, with: &mut Compiler<'_>) -> Arc<Types> {
    match at.conf::<Conf>() {
        Some(conf) if conf.written => conf.map.clone(),
        _ => with.default_types.get_or_insert_with(default_types).clone(),
    }
}

fn default_types() -> Arc<Types> {
    let all: [(&[u8], &[u8]); 3] = [(b"html", b"text/html"), (b"gif", b"image/gif"), (b"jpg", b"image/jpeg")];
    Arc::new(all.iter().map(|(extension, kind)| ((*extension).into(), (*kind).into())).collect())
}

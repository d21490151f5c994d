//! `types`: a file's type by its extension.

use std::collections::HashMap;
use std::sync::Arc;

use conf::{Args, Directive, Error, Inherit, Scope, directive, free};

use crate::hash::Cheap;
use crate::http::request::Request;
use crate::worker::generation::Compiler;

/// Types by extension, lower case.
pub type Types = HashMap<Box<[u8]>, Arc<[u8]>, Cheap>;
/// Longer extensions are looked up with an allocation.
const LONGEST: usize = 32;

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

fn needless(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    a.number::<u32>(0)?;
    super::process::once_here(at, a)
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

/// Gives the response the type of the path's extension, or `default_type`.
///
/// A type that is there already stays: an upstream gave it with `X-Accel-Redirect`.
pub fn set_type(request: &mut Request) {
    if !request.response.content_type.is_empty() {
        return;
    }
    let core = &request.generation.shared.plan(request.plan).core;
    let extension = extension(&request.uri);
    let kind = if extension.is_empty() { None } else { of_extension(&core.types, extension) };
    request.response.set_content_type(kind.unwrap_or(&core.default_type));
}
fn of_extension<'a>(types: &'a Types, extension: &[u8]) -> Option<&'a Arc<[u8]>> {
    let mut lower = [0; LONGEST];
    let Some(lower) = lower.get_mut(..extension.len()) else {
        return types.get(&*extension.to_ascii_lowercase());
    };
    lower.copy_from_slice(extension);
    lower.make_ascii_lowercase();
    types.get(lower)
}
/// What follows the last dot of a path's last segment; a dot at its beginning does not count.
fn extension(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|byte| matches!(byte, b'.' | b'/')) {
        Some(dot) if path[dot] == b'.' && dot > 0 && path[dot - 1] != b'/' => &path[dot + 1..],
        _ => b"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_follows_the_last_dot_of_a_name() {
        for (path, want) in [
            ("/a.html", "html"),
            ("/a.tar.gz", "gz"),
            ("/.html", ""),
            ("/d.d/file", ""),
            ("/d/", ""),
            ("/a.", ""),
            ("", ""),
        ] {
            assert_eq!(extension(path.as_bytes()), want.as_bytes(), "{path}");
        }
    }
}

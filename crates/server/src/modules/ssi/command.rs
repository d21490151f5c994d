//! What commands there are, and what may be written in them.

use super::text::Result;
use crate::log::shown;
use formats::ssi::Command;

/// How many parameters a command may have.
const PARAMETERS: usize = 16;

/// The parameters a command knows, and which of them it needs.
pub fn known(name: &[u8]) -> Option<(&'static [&'static str], &'static [&'static str])> {
    Some(match name {
        b"include" => (&["virtual", "file", "wait", "set", "stub"], &[]),
        b"echo" => (&["var", "default", "encoding"], &["var"]),
        b"config" => (&["errmsg", "timefmt"], &[]),
        b"set" => (&["var", "value"], &["var", "value"]),
        b"if" | b"elif" => (&["expr"], &["expr"]),
        b"else" | b"endif" | b"endblock" => (&[], &[]),
        b"block" => (&["name"], &["name"]),
        _ => return None,
    })
}

/// The values given to the `known` parameters.
pub fn parameters<'c>(
    command: &'c Command,
    known: &[&str],
    wanted: &[&str],
) -> Result<Vec<Option<&'c [u8]>>> {
    let of = shown(&command.name);
    if command.parameters.len() > PARAMETERS {
        return Err(format!("too many SSI command parameters: \"{of}\""));
    }
    let mut given = vec![None; known.len()];
    for (name, value) in &command.parameters {
        let Some(at) = known.iter().position(|known| known.as_bytes() == name) else {
            return Err(format!("invalid parameter name: \"{}\" in \"{of}\" SSI command", shown(name)));
        };
        if given[at].replace(&value[..]).is_some() {
            return Err(format!("duplicate \"{}\" parameter in \"{of}\" SSI command", shown(name)));
        }
    }
    for (name, value) in known.iter().zip(&given) {
        if value.is_none() && wanted.contains(name) {
            return Err(format!("mandatory \"{name}\" parameter is absent in \"{of}\" SSI command"));
        }
    }
    Ok(given)
}

/// A command as it would be written.
pub fn written(command: &Command) -> Vec<u8> {
    let mut text = [b"<!--#", &command.name[..]].concat();
    for (name, value) in &command.parameters {
        text.extend([b" ", &name[..], b"=\"", value, b"\""].concat());
    }
    text.extend_from_slice(b" -->");
    text
}

/// What `include` names, and whether the page waits for it.
pub struct Inclusion<'b> {
    /// The path, with variables still in it.
    pub target: &'b [u8],
    /// `wait="yes"`; files are always waited for.
    pub waited: bool,
}

/// What the parameters of `include` mean.
pub fn inclusion<'b>(given: &impl Fn(&str) -> Option<&'b [u8]>) -> Result<Inclusion<'b>> {
    let (uri, file) = (given("virtual"), given("file"));
    if let (Some(uri), Some(file)) = (uri, file) {
        let (uri, file) = (shown(uri), shown(file));
        return Err(format!("inclusion may be either virtual=\"{uri}\" or file=\"{file}\""));
    }
    let target = uri.or(file).ok_or("no parameter in \"include\" SSI command")?;
    if given("set").is_some() && given("stub").is_some() {
        return Err("\"set\" and \"stub\" cannot be used together in \"include\" SSI command".into());
    }
    let Some(wait) = given("wait") else { return Ok(Inclusion { target, waited: uri.is_none() }) };
    if uri.is_none() {
        return Err(format!("\"wait\" cannot be used with file=\"{}\"", shown(target)));
    }
    let waited = wait.eq_ignore_ascii_case(b"yes");
    match waited || wait.eq_ignore_ascii_case(b"no") {
        true => Ok(Inclusion { target, waited }),
        false => Err(format!("invalid value \"{}\" in the \"wait\" parameter", shown(wait))),
    }
}

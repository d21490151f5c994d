//! `.._cache_path`: where answers are kept, and how many.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use conf::{Args, Error, Scope};

use super::zone::{Hash, Zone};
use crate::worker::zones;

/// A folder for answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The zone's name.
    pub name: String,
    /// Whose directive declares it: `proxy`, `fastcgi` ..
    pub owner: String,
    /// The folder.
    pub path: PathBuf,
    /// Hexadecimal digits that each level of folders takes, from a name's end.
    pub levels: Vec<usize>,
    /// Memory for the index.
    pub memory: u64,
    /// What nobody asked for so long is removed.
    pub inactive: Duration,
    /// Bytes on disk.
    pub max_size: Option<u64>,
    /// Bytes that are left free on the file system.
    pub min_free: u64,
    /// How the manager and the loader pace themselves.
    pub manager: Pace,
    /// See `manager`.
    pub loader: Pace,
}

/// So many files in a row, for so long at most, then a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Files in a row.
    pub files: u64,
    /// The pause.
    pub sleep: Duration,
    /// How long a row may take.
    pub threshold: Duration,
}

/// The zones that a configuration declares.
#[derive(Default)]
pub struct Declared(Mutex<HashMap<String, Arc<Zone>>>);

impl Declared {
    /// A zone by its name.
    pub fn find(&self, name: &str) -> Option<Arc<Zone>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
    /// All zones.
    pub fn all(&self) -> Vec<Arc<Zone>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// The folders that one configuration uses, and where it says so.
#[derive(Default)]
struct Paths(Mutex<HashMap<PathBuf, conf::Position>>);
impl Paths {
    /// Takes a folder for one zone.
    fn take(&self, a: &Args<'_>, path: &Path) -> Result<(), Error> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = all.insert(path.into(), a.at()) {
            let text = format!("the same path name \"{}\" used in {other} and", path.display());
            return Err(a.error(text));
        }
        Ok(())
    }
}

/// The least memory of a zone: two pages.
const LEAST: u64 = 2 * 4096;

/// Reads `path keys_zone=name:size [levels=..] ..` and declares the zone.
///
/// # Errors
/// nginx's words.
pub fn declare(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let pace = Pace { files: 100, sleep: Duration::from_millis(50), threshold: Duration::from_millis(200) };
    let mut place = Place {
        name: String::new(),
        owner: a.directive.strip_suffix("_cache_path").unwrap_or_default().into(),
        path: a.prefix_path(a.str(0).trim_end_matches('/')).into(),
        levels: Vec::new(),
        memory: 0,
        inactive: Duration::from_secs(600),
        max_size: None,
        min_free: 0,
        manager: pace,
        loader: pace,
    };
    for i in 1..a.words.len() {
        parameter(a, a.str(i), &mut place)?;
    }
    if place.name.is_empty() || place.memory == 0 {
        return Err(a.error(format!("\"{}\" must have \"keys_zone\" parameter", a.directive)));
    }
    zones::declare(at, a, a.directive, &place.name, place.memory)?;
    at.shared::<Paths>().take(a, &place.path)?;
    let declared = at.shared::<Declared>();
    let mut zones = declared.0.lock().unwrap_or_else(PoisonError::into_inner);
    if zones.contains_key(&place.name) {
        return Err(a.error(format!("duplicate zone \"{}\"", place.name)));
    }
    zones.insert(place.name.clone(), Zone::of(place));
    Ok(())
}

fn parameter(a: &Args<'_>, text: &str, place: &mut Place) -> Result<(), Error> {
    let Some((name, value)) = text.split_once('=') else {
        return Err(a.error(format!("invalid parameter \"{text}\"")));
    };
    let invalid = || a.error(format!("invalid {name} value \"{text}\""));
    let bytes = || conf::offset(value.as_bytes()).ok_or_else(invalid);
    let number = || value.parse::<u64>().map_err(|_| invalid());
    let msec = || conf::msec(value.as_bytes()).map(Duration::from_millis).ok_or_else(invalid);
    match name {
        "levels" => {
            place.levels = levels(value).ok_or_else(|| a.error(format!("invalid \"levels\" \"{text}\"")))?
        }
        "use_temp_path" if matches!(value, "on" | "off") => {} // written beside its place in any case
        "use_temp_path" => {
            return Err(
                a.error(format!("invalid use_temp_path value \"{text}\", it must be \"on\" or \"off\""))
            );
        }
        "keys_zone" => {
            let wrong = || a.error(format!("invalid keys zone size \"{text}\""));
            let (name, size) = value.split_once(':').ok_or_else(wrong)?;
            place.name = name.into();
            place.memory = conf::size(size.as_bytes()).ok_or_else(wrong)?;
            if place.memory < LEAST {
                return Err(a.error(format!("keys zone \"{text}\" is too small")));
            }
        }
        "inactive" => {
            place.inactive = Duration::from_secs(conf::sec(value.as_bytes()).ok_or_else(invalid)?);
        }
        "max_size" => place.max_size = Some(bytes()?),
        "min_free" => place.min_free = bytes()?,
        "loader_files" => place.loader.files = number()?,
        "loader_sleep" => place.loader.sleep = msec()?,
        "loader_threshold" => place.loader.threshold = msec()?,
        "manager_files" => place.manager.files = number()?,
        "manager_sleep" => place.manager.sleep = msec()?,
        "manager_threshold" => place.manager.threshold = msec()?,
        "purger" | "purger_files" | "purger_sleep" | "purger_threshold" if text != "purger=off" => {
            return Err(a.error(format!("parameter \"{text}\" is not supported by plimsoll")));
        }
        "purger" => {}
        _ => return Err(a.error(format!("invalid parameter \"{text}\""))),
    }
    Ok(())
}

/// `1:2:2`: up to three levels of one or two digits; nothing is none.
fn levels(text: &str) -> Option<Vec<usize>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let levels: Option<Vec<usize>> = text
        .split(':')
        .map(|digits| match digits {
            "1" => Some(1),
            "2" => Some(2),
            _ => None,
        })
        .collect();
    levels.filter(|levels| levels.len() <= 3)
}

impl Place {
    /// The file of an answer.
    pub fn file(&self, hash: &Hash) -> PathBuf {
        let name: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut path = self.path.clone();
        let mut end = name.len();
        for level in &self.levels {
            path.push(&name[end - level..end]);
            end -= level;
        }
        path.push(name);
        path
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn levels_are_one_or_two_digits() {
        assert_eq!((levels("1:2"), levels("")), (Some(vec![1, 2]), Some(Vec::new())));
        for bad in ["3", "1:", ":1", "1:2:1:1", "12"] {
            assert_eq!(levels(bad), None, "{bad}");
        }
    }
}

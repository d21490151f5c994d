//! What the unit files of a systemd service ask for. It is what the next start gets: what runs may have been started
//! before they were written.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Settings of a service, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unit {
    /// `LimitNOFILE=`: soft, then hard; `None` is "infinity".
    pub descriptors: Option<(Option<u64>, Option<u64>)>,
    /// `MemoryMax=`, `CPUQuota=`, `TasksMax=` and `LimitNOFILE=` as text.
    pub settings: BTreeMap<String, String>,
    /// Where the limit of descriptors is written.
    pub file: String,
}

/// Where units are, those that count most first.
const FOLDERS: [&str; 10] = [
    "etc/systemd/system.control",
    "run/systemd/system.control",
    "run/systemd/transient",
    "etc/systemd/system",
    "run/systemd/system",
    "run/systemd/generator",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
    "run/systemd/generator.late",
];
const WANTED: [&str; 4] = ["LimitNOFILE", "MemoryMax", "CPUQuota", "TasksMax"];

/// The unit of this name (`nginx.service`) on the machine whose files are below this root; `None`: there is none.
pub fn read(root: &Path, name: &str) -> Option<Unit> {
    if name.is_empty() || name.contains('/') {
        return None;
    }
    // `app@one.service` is made from `app@.service`.
    let template =
        name.split_once('@').and_then(|(base, rest)| Some(format!("{base}@.{}", rest.rsplit_once('.')?.1)));
    let names: Vec<&str> = std::iter::once(name).chain(template.as_deref()).collect();
    let folders = || FOLDERS.iter().map(|folder| root.join(folder));
    let main =
        names.iter().find_map(|name| folders().map(|folder| folder.join(name)).find(|file| file.is_file()));
    // Those for all units of its type count less than its own.
    let every = name.rsplit_once('.').map(|(_, kind)| kind);
    let named = names.iter().copied().chain(every);
    let drop_ins =
        drop_ins(named.flat_map(|name| folders().map(move |folder| folder.join(format!("{name}.d")))));
    let mut unit = Unit::default();
    for file in main.iter().chain(&drop_ins) {
        let name = Path::new("/").join(file.strip_prefix(root).unwrap_or(file));
        unit.add(&fs::read_to_string(file).unwrap_or_default(), &name);
    }
    (main.is_some() || !drop_ins.is_empty()).then_some(unit)
}

/// Their names decide in which order they count; of two with one name, the folder that counts most.
fn drop_ins(folders: impl Iterator<Item = PathBuf>) -> Vec<PathBuf> {
    let mut found = BTreeMap::new();
    for entry in folders.flat_map(fs::read_dir).flatten().flatten() {
        if entry.path().extension().is_some_and(|ending| ending == "conf") {
            found.entry(entry.file_name()).or_insert(entry.path());
        }
    }
    found.into_values().collect()
}

impl Unit {
    /// What the file of this name says besides, or instead.
    pub fn add(&mut self, text: &str, file: &Path) {
        let mut service = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                service = line == "[Service]";
            }
            let Some((name, value)) = line.split_once('=').filter(|_| service) else { continue };
            let (name, value) = (name.trim(), value.trim());
            if !WANTED.contains(&name) {
                continue;
            }
            self.settings.insert(name.to_owned(), value.to_owned());
            if name == "LimitNOFILE" {
                self.descriptors = limits(value);
                self.file = file.display().to_string();
            }
        }
    }
}

/// `65536`, `1024:65536`, `infinity`.
fn limits(value: &str) -> Option<(Option<u64>, Option<u64>)> {
    let one = |text: &str| match text {
        "infinity" => Some(None),
        number => number.parse().ok().map(Some),
    };
    let (soft, hard) = value.split_once(':').unwrap_or((value, value));
    Some((one(soft)?, one(hard)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn drop_ins_count_more_than_the_unit() {
        let root = std::env::temp_dir().join(format!("machine-unit-{}", std::process::id()));
        let write = |file: &str, text: &str| {
            let file = root.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        write(
            "lib/systemd/system/nginx.service",
            "[Unit]\nLimitNOFILE=7\n[Service]\nLimitNOFILE=1024:4096\nMemoryMax=1G\n",
        );
        write("lib/systemd/system/a@.service", "[Service]\nLimitNOFILE=infinity\n");
        let first = read(&root, "nginx.service").unwrap();
        assert_eq!(first.descriptors, Some((Some(1024), Some(4096))));
        assert_eq!(first.settings["MemoryMax"], "1G");
        write("etc/systemd/system/nginx.service.d/b.conf", "[Service]\nLimitNOFILE = 65536\n");
        write("run/systemd/system/nginx.service.d/a.conf", "[Service]\nLimitNOFILE=5\n");
        let second = read(&root, "nginx.service").unwrap();
        assert_eq!(second.descriptors, Some((Some(65_536), Some(65_536))));
        assert_eq!(second.file, "/etc/systemd/system/nginx.service.d/b.conf");
        assert_eq!(read(&root, "a@one.service").unwrap().descriptors, Some((None, None)));
        assert_eq!((read(&root, "none.service"), read(&root, "")), (None, None));
        write("etc/systemd/system/service.d/b.conf", "[Service]\nLimitNOFILE=1\n");
        write("etc/systemd/system/service.d/z.conf", "[Service]\nMemoryMax=2G\n");
        let of_its_type = read(&root, "nginx.service").unwrap();
        assert_eq!(
            (of_its_type.descriptors, &*of_its_type.settings["MemoryMax"]),
            (second.descriptors, "2G")
        );
        fs::remove_dir_all(&root).unwrap();
    }
}

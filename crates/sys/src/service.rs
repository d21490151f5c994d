//! The systemd service that a program runs in, or will be started as: its limit of descriptors is not the shell's.

use std::fs;
use std::path::{Path, PathBuf};

use crate::limits::Limit;

/// A service and its RLIMIT_NOFILE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// `nginx.service`
    pub name: String,
    /// What it starts with.
    pub limit: Limit,
}

/// Where units are, what is set last counting most.
const FOLDERS: [&str; 4] =
    ["lib/systemd/system", "usr/lib/systemd/system", "run/systemd/system", "etc/systemd/system"];
/// systemd's own default where nothing is set.
const DEFAULT: Limit = Limit { soft: Some(1024), hard: Some(524_288) };

/// The service of this process, if it runs in one; its limits are the process's own.
pub fn own() -> Option<String> {
    service_in(&fs::read_to_string("/proc/self/cgroup").ok()?)
}

/// `groups` is what /proc/self/cgroup says. A user's own manager is no service of anybody's program.
fn service_in(groups: &str) -> Option<String> {
    let unit = |line: &str| {
        let name = line.rsplit('/').next()?;
        (name.ends_with(".service") && !name.starts_with("user@")).then(|| name.to_owned())
    };
    groups.lines().find_map(unit)
}

/// The service of this name (`nginx`), where systemd runs and has one.
pub fn installed(name: &str) -> Option<Service> {
    Path::new("/run/systemd/system").is_dir().then(|| installed_in(Path::new("/"), name)).flatten()
}

fn installed_in(root: &Path, name: &str) -> Option<Service> {
    let name = format!("{name}.service");
    let unit =
        FOLDERS.iter().rev().map(|folder| root.join(folder).join(&name)).find(|unit| unit.is_file())?;
    let mut limit = fs::read_to_string(root.join("etc/systemd/system.conf"))
        .ok()
        .and_then(|text| last(&text, "DefaultLimitNOFILE"))
        .unwrap_or(DEFAULT);
    for file in std::iter::once(unit).chain(drop_ins(root, &name)) {
        let text = fs::read_to_string(file).unwrap_or_default();
        limit = last(&text, "LimitNOFILE").unwrap_or(limit);
    }
    Some(Service { name, limit })
}

/// In the order in which systemd reads them: by name, whatever the folder.
fn drop_ins(root: &Path, name: &str) -> Vec<PathBuf> {
    let folders = FOLDERS.iter().map(|folder| root.join(folder).join(format!("{name}.d")));
    let files = folders.filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let mut files: Vec<PathBuf> = files
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "conf"))
        .collect();
    files.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
    files
}

/// `KEY=number`, `KEY=soft:hard` or `KEY=infinity`: the last one in a file counts.
fn last(text: &str, key: &str) -> Option<Limit> {
    let value = |line: &str| {
        let (name, value) = line.trim().split_once('=')?;
        (name.trim() == key).then(|| value.trim().to_owned())
    };
    let value = text.lines().rev().find_map(value)?;
    let (soft, hard) = value.split_once(':').unwrap_or((&value, &value));
    Some(Limit { soft: number(soft)?, hard: number(hard)? })
}

fn number(text: &str) -> Option<Option<u64>> {
    match text {
        "infinity" => Some(None),
        digits => digits.parse().ok().map(Some),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_service_is_known_by_its_group() {
        let found = |groups: &str| service_in(groups);
        assert_eq!(found("0::/system.slice/nginx.service\n").unwrap(), "nginx.service");
        assert_eq!(found("1:cpu:/\n0::/user.slice/user-0.slice/session-1.scope\n"), None);
        assert_eq!(found("0::/user.slice/user-0.slice/user@0.service\n"), None);
    }

    #[test]
    fn drop_ins_count_more_than_the_unit() {
        let root = std::env::temp_dir().join(format!("sys-service-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), text).unwrap();
        };
        assert_eq!(installed_in(&root, "a"), None);
        write("lib/systemd/system/a.service", "[Service]\nExecStart=/a\n");
        let limit = |root: &Path| installed_in(root, "a").unwrap().limit;
        assert_eq!(limit(&root), DEFAULT);
        write("etc/systemd/system.conf", "#DefaultLimitNOFILE=1\nDefaultLimitNOFILE=2048:4096\n");
        assert_eq!(limit(&root), Limit { soft: Some(2048), hard: Some(4096) });
        write("etc/systemd/system/a.service.d/20-more.conf", "[Service]\nLimitNOFILE=infinity\n");
        write("lib/systemd/system/a.service.d/10-less.conf", "[Service]\nLimitNOFILE = 512\n");
        write("lib/systemd/system/a.service.d/notes.txt", "LimitNOFILE=1\n");
        assert_eq!(limit(&root), Limit { soft: None, hard: None });
        fs::remove_dir_all(&root).unwrap();
    }
}

//! What a server was built with: where its files are unless it is told otherwise.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use machine::servers::Server;
use memchr::{memchr, memmem, memrchr};

/// Places a program has in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Built {
    /// Its version.
    pub version: String,
    /// What relative names start from.
    pub prefix: String,
    /// The configuration.
    pub conf: String,
    /// The error log before there is a configuration.
    pub error_log: String,
}

/// More than any server's program.
const MOST: u64 = 256 << 20;

/// Reads it in the program's file, which is not run: one of a container is somebody else's. Where it cannot be read, the
/// places are those of Debian.
pub(super) fn built(server: &Server) -> Built {
    let program = program(server).unwrap_or_default();
    if server.name.contains("plimsoll") {
        return Built {
            version: own_version(&program).unwrap_or_default(),
            prefix: "/etc/plimsoll".to_owned(),
            conf: "plimsoll.conf".to_owned(),
            error_log: "logs/error.log".to_owned(),
        };
    }
    of_program(&program).unwrap_or_else(|| Built {
        prefix: "/etc/nginx".to_owned(),
        conf: "/etc/nginx/nginx.conf".to_owned(),
        error_log: "/var/log/nginx/error.log".to_owned(),
        ..Built::default()
    })
}

/// Plimsoll's, as it stands in the header of its answers: what runs need not be what looks.
pub fn own_version(bytes: &[u8]) -> Option<String> {
    const HEADER: &[u8] = b"Server: plimsoll/";
    memmem::find_iter(bytes, HEADER).find_map(|at| {
        let rest = bytes.get(at + HEADER.len()..)?;
        let version = std::str::from_utf8(rest.get(..memchr(b'\r', rest)?)?).ok()?;
        let is_version = |c: char| c.is_ascii_alphanumeric() || ".-+".contains(c);
        (version.starts_with(|c: char| c.is_ascii_digit()) && version.chars().all(is_version))
            .then(|| version.to_owned())
    })
}

fn program(server: &Server) -> io::Result<Vec<u8>> {
    let running = PathBuf::from(format!("/proc/{}/exe", server.master.pid));
    // Without the right to see what another's process runs, the file of that name is it, most likely.
    let named = || {
        let called = Path::new(&server.flags.program);
        let file = if called.is_absolute() { called } else { Path::new("/usr/sbin/nginx") };
        File::open(
            machine::namespace::root_of(server.master.pid).join(file.strip_prefix("/").unwrap_or(file)),
        )
    };
    let mut bytes = Vec::new();
    File::open(running).or_else(|_| named())?.take(MOST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// `nginx version: nginx/1.22.1`, and what it was configured with, as the program itself would print it.
pub fn of_program(bytes: &[u8]) -> Option<Built> {
    const VERSION: &[u8] = b" version: ";
    const ARGUMENTS: &[u8] = b"configure arguments: --";
    let version = memmem::find(bytes, b"nginx version: ").map(|at| text_at(bytes, at))?;
    let version = version.get(5 + VERSION.len()..)?.split_whitespace().next()?;
    let arguments = memmem::find(bytes, ARGUMENTS).map(|at| text_at(bytes, at)).unwrap_or_default();
    let option = |name: &str| {
        let mut words = arguments.split_whitespace();
        words.find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
    };
    Some(Built {
        version: version.rsplit('/').next().unwrap_or_default().to_owned(),
        prefix: option("--prefix").unwrap_or_else(|| "/usr/local/nginx".to_owned()),
        conf: option("--conf-path").unwrap_or_else(|| "conf/nginx.conf".to_owned()),
        error_log: option("--error-log-path").unwrap_or_else(|| "logs/error.log".to_owned()),
    })
}

/// The text around here that ends with a zero, as programs have theirs.
fn text_at(bytes: &[u8], at: usize) -> String {
    let start = memrchr(0, &bytes[..at]).map_or(0, |zero| zero + 1);
    let end = memchr(0, &bytes[at..]).map_or(bytes.len(), |zero| at + zero);
    String::from_utf8_lossy(&bytes[start..end]).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_stands_in_a_program() {
        let of = |arguments: &str| {
            let said = format!("nginx version: nginx/1.27.0 (me)\n\0configure arguments:{arguments}\n\0");
            let program = format!("\0\x7f x --y\0{said}z");
            let built = of_program(program.as_bytes()).unwrap();
            (built.version, built.prefix, built.conf, built.error_log)
        };
        let all = |parts: [&str; 4]| parts.map(str::to_owned).into();
        assert_eq!(
            of(" --prefix=/opt/n --with-x='a b' --error-log-path=/l"),
            all(["1.27.0", "/opt/n", "conf/nginx.conf", "/l"])
        );
        assert_eq!(of(""), all(["1.27.0", "/usr/local/nginx", "conf/nginx.conf", "logs/error.log"]));
        assert_eq!(of(" --with-debug --conf-path=/c").2, "/c");
        assert_eq!(of_program(b"something else"), None);
    }

    #[test]
    fn the_version_of_another_plimsoll() {
        let of = |bytes: &[u8]| own_version(bytes);
        let two = b"Server: plimsoll/{}\r\nServer: plimsoll/9.8.7-rc.1\r\nmore";
        assert_eq!(of(two).as_deref(), Some("9.8.7-rc.1"));
        assert_eq!((of(b"Server: plimsoll/1.0"), of(b"plimsoll/1.0\r\n")), (None, None));
    }

    proptest! {
        #[test]
        fn any_program(mut bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..200) {
            let _ = of_program(&bytes);
            bytes.splice(at.min(bytes.len()).., *b"nginx version: nginx/1 --prefix=");
            let _ = of_program(&bytes);
            bytes.extend_from_slice(b"Server: plimsoll/");
            let _ = own_version(&bytes);
        }
    }
}

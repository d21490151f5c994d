//! The command line: nginx's flags, as written, then as the [`Call`] they make.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::program::Call;

/// Where everything relative is looked for without `-p`.
pub const PREFIX: &str = "/etc/plimsoll/";
/// The configuration below the prefix without `-c`.
const CONFIGURATION: &str = "plimsoll.conf";

/// What `-s` asks of the running master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Fast shutdown.
    Stop,
    /// Graceful shutdown.
    Quit,
    /// Open the logs anew.
    Reopen,
    /// Read the configuration anew.
    Reload,
}

/// How `-t` shows the capacity of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// `--capacity`: a table.
    Table,
    /// `--json`: everything, for programs.
    Json,
}

/// The flags, as written.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `-v`, `--version`, `-V`, `-h`: say the version.
    pub version: bool,
    /// `-V`: and how it was built.
    pub configure: bool,
    /// `-h`, `-?`, `--help`: and the usage.
    pub help: bool,
    /// `-t`, `-T`: only check the configuration.
    pub test: bool,
    /// `-T`: and print it.
    pub dump: bool,
    /// `-q`
    pub quiet: bool,
    /// `--capacity`, `--json`: what `-t` shows of the capacity, whatever standard output is.
    pub show: Option<Show>,
    /// `-s`
    pub signal: Option<Order>,
    prefix: Option<OsString>,
    error_log: Option<OsString>,
    conf: Option<OsString>,
    directives: Option<OsString>,
}

/// Reads the arguments, without the program's name. Flags may be joined (`-tq`), a value may follow its flag at once
/// (`-cfile`) or as the next argument.
///
/// # Errors
/// What nginx says of a wrong one.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Flags, String> {
    let mut flags = Flags::default();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        if flags.long(&arg) {
            continue;
        }
        let Some(mut rest) = arg.as_bytes().strip_prefix(b"-") else {
            return Err(format!("invalid option: \"{}\"", arg.display()));
        };
        while let Some((&flag, after)) = rest.split_first() {
            rest = after;
            if flags.switch(flag) {
                continue;
            }
            let Some(lacks) = value_of(flag) else {
                return Err(format!("invalid option: \"{}\"", char::from(flag)));
            };
            let here = (!rest.is_empty()).then(|| OsString::from_vec(rest.to_vec()));
            let Some(value) = here.or_else(|| args.next()) else {
                return Err(format!("option \"-{}\" requires {lacks}", char::from(flag)));
            };
            flags.set(flag, value)?;
            break;
        }
    }
    Ok(flags)
}

/// What a flag's value is called; `None`: there is no such flag.
fn value_of(flag: u8) -> Option<&'static str> {
    match flag {
        b'p' => Some("directory name"),
        b'e' | b'c' => Some("file name"),
        b'g' | b's' => Some("parameter"),
        _ => None,
    }
}

impl Flags {
    /// A long flag, of which nginx has none; whether it is one.
    fn long(&mut self, arg: &OsStr) -> bool {
        match arg.as_bytes() {
            b"--capacity" => self.show = Some(Show::Table),
            b"--json" => self.show = Some(Show::Json),
            b"--help" => (self.version, self.help) = (true, true),
            b"--version" => self.version = true,
            _ => return false,
        }
        true
    }
    /// A flag without a value; whether it is one.
    fn switch(&mut self, flag: u8) -> bool {
        match flag {
            b'?' | b'h' => (self.version, self.help) = (true, true),
            b'v' => self.version = true,
            b'V' => (self.version, self.configure) = (true, true),
            b't' => self.test = true,
            b'T' => (self.test, self.dump) = (true, true),
            b'q' => self.quiet = true,
            _ => return false,
        }
        true
    }

    fn set(&mut self, flag: u8, value: OsString) -> Result<(), String> {
        match flag {
            b'p' => self.prefix = Some(value),
            b'e' => self.error_log = Some(value),
            b'c' => self.conf = Some(value),
            b'g' => self.directives = Some(value),
            _ => self.signal = Some(order(&value)?),
        }
        Ok(())
    }

    /// What they mean, standing in the folder `current`.
    pub fn call(&self, current: &Path) -> Call {
        let prefix = folder(current, self.prefix.as_deref().unwrap_or(OsStr::new(PREFIX)));
        let conf = match &self.conf {
            Some(conf) => Some(below(&prefix, conf)),
            None => Some(prefix.join(CONFIGURATION)).filter(|path| path.exists()),
        };
        let error_log = self.error_log.as_ref().map(|log| match log.as_bytes() {
            b"" | b"stderr" => PathBuf::from("stderr"),
            _ => below(&prefix, log),
        });
        let directives = self.directives.as_ref().map(|d| d.to_string_lossy().into_owned());
        Call { prefix, conf, directives: directives.unwrap_or_default(), error_log }
    }
}

fn order(value: &OsStr) -> Result<Order, String> {
    match value.as_bytes() {
        b"stop" => Ok(Order::Stop),
        b"quit" => Ok(Order::Quit),
        b"reopen" => Ok(Order::Reopen),
        b"reload" => Ok(Order::Reload),
        _ => Err(format!("invalid option: \"-s {}\"", value.display())),
    }
}

/// An absolute folder with a slash at its end.
fn folder(current: &Path, name: &OsStr) -> PathBuf {
    let mut folder = current.join(name).into_os_string();
    if !folder.as_bytes().ends_with(b"/") {
        folder.push("/");
    }
    folder.into()
}

/// nginx appends: the prefix is absolute here already.
fn below(prefix: &Path, name: &OsStr) -> PathBuf {
    prefix.join(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn parsed(args: &[&str]) -> Result<Flags, String> {
        parse(args.iter().map(OsString::from))
    }

    /// What nginx 1.22.1 writes to the same arguments.
    #[test]
    fn refusals_are_nginxs() {
        for (args, expected) in [
            (&["-x"][..], "invalid option: \"x\""),
            (&["-tx"], "invalid option: \"x\""),
            (&["foo"], "invalid option: \"foo\""),
            (&["-s"], "option \"-s\" requires parameter"),
            (&["-s", "foo"], "invalid option: \"-s foo\""),
            (&["-sfoo"], "invalid option: \"-s foo\""),
            (&["-s", ""], "invalid option: \"-s \""),
            (&["-g"], "option \"-g\" requires parameter"),
            (&["-p"], "option \"-p\" requires directory name"),
            (&["-c"], "option \"-c\" requires file name"),
            (&["-e"], "option \"-e\" requires file name"),
        ] {
            assert_eq!(parsed(args).unwrap_err(), expected, "{args:?}");
        }
    }

    #[test]
    fn flags_join_and_values_follow() {
        let all = parsed(&["-tqp/a", "-c", "b", "-sreload"]).unwrap();
        assert!(all.test && all.quiet && !all.dump && !all.version);
        assert_eq!((all.prefix.as_deref(), all.conf.as_deref()), (Some("/a".as_ref()), Some("b".as_ref())));
        assert_eq!(all.signal, Some(Order::Reload));
        assert_eq!(parsed(&["-t", "--capacity"]).unwrap().show, Some(Show::Table));
        assert_eq!(parsed(&["--json", "-t"]).unwrap().show, Some(Show::Json));
        assert_eq!(parsed(&["-"]).unwrap(), Flags::default(), "as nginx takes it");
        let help = parsed(&["-?"]).unwrap();
        assert!(help.help && help.version && !help.configure);
        assert!(parsed(&["-V"]).unwrap().configure);
    }

    #[test]
    fn relative_paths_stand_below_the_prefix() {
        let call = |args: &[&str]| parsed(args).unwrap().call("/here".as_ref());
        let given = call(&["-p", "x", "-c", "y.conf", "-e", "z.log", "-g", "pid a;"]);
        assert_eq!(given.prefix.as_os_str(), "/here/x/");
        assert_eq!(given.conf.unwrap().as_os_str(), "/here/x/y.conf");
        assert_eq!(given.error_log.unwrap().as_os_str(), "/here/x/z.log");
        assert_eq!(given.directives, "pid a;");
        let none = call(&["-p", "/nowhere/", "-e", "stderr"]);
        assert_eq!((none.conf, none.error_log), (None, Some("stderr".into())));
        assert_eq!(none.prefix.as_os_str(), "/nowhere/");
    }

    proptest! {
        #[test]
        fn no_argument_breaks_it(args in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..6), 0..4)) {
            let _ = parse(args.into_iter().map(OsString::from_vec));
        }
    }
}

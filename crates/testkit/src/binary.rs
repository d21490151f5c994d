//! The servers a test can run against.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Once;

use crate::server::{self, Exit, Server};
use crate::site::Site;

/// A server program that reads nginx.conf and knows nginx's flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// The server under test.
    Plimsoll,
    /// The oracle.
    Nginx,
}

impl Binary {
    /// The servers this run is about: both, less what the environment excludes or the machine lacks.
    pub fn wanted() -> Vec<Binary> {
        let mut wanted = Vec::new();
        if !flag("NGINX_ONLY") {
            wanted.push(Binary::Plimsoll);
        }
        if !flag("PLIMSOLL_ONLY") {
            match Binary::Nginx.path().is_file() {
                true => wanted.push(Binary::Nginx),
                false => skip_loudly(),
            }
        }
        wanted
    }

    /// The program file.
    pub fn path(self) -> PathBuf {
        match self {
            Binary::Plimsoll => plimsoll(),
            Binary::Nginx => env::var_os("NGINX").unwrap_or_else(|| "/usr/sbin/nginx".into()).into(),
        }
    }

    /// The name the server gives itself in `Server` and in its pages.
    pub fn name(self) -> &'static str {
        match self {
            Binary::Plimsoll => "plimsoll",
            Binary::Nginx => "nginx",
        }
    }

    /// Starts this server and waits until it accepts.
    ///
    /// # Panics
    /// If it does not come up; the message has what it wrote to standard error.
    #[track_caller]
    pub fn serve(self, site: impl Into<Site>) -> Server {
        match server::start(self, site.into(), &[]) {
            Ok(server) => server,
            Err(exit) => panic!("{} did not start: {exit}", self.name()),
        }
    }

    /// As [`Binary::serve`], run by another program: `wrapper` is its command line, which must end in running
    /// what follows it in the same process (as valgrind and taskset do).
    #[track_caller]
    pub fn serve_under(self, wrapper: &[String], site: impl Into<Site>) -> Server {
        match server::start(self, site.into(), wrapper) {
            Ok(server) => server,
            Err(exit) => panic!("{} under {wrapper:?} did not start: {exit}", self.name()),
        }
    }

    /// Starts this server and waits until it accepts, or gives what it said when it did not.
    ///
    /// # Errors
    /// When it refuses the configuration.
    #[track_caller]
    pub fn try_serve(self, site: impl Into<Site>) -> Result<Server, Box<Exit>> {
        server::start(self, site.into(), &[])
    }

    /// Starts this server, expecting that it refuses the configuration.
    ///
    /// # Panics
    /// If it starts all the same.
    #[track_caller]
    pub fn refuses(self, site: impl Into<Site>) -> Exit {
        match server::start(self, site.into(), &[]) {
            Ok(_) => panic!("{} started with a configuration it should refuse", self.name()),
            Err(exit) => *exit,
        }
    }

    /// Runs `-t` on the configuration: what it says and how it exits.
    #[track_caller]
    pub fn check(self, site: impl Into<Site>) -> Exit {
        server::run(self, &site.into(), &["-t"])
    }

    /// Runs the server with these flags besides `-p`, `-c` and `-e` until it exits by itself.
    #[track_caller]
    pub fn run(self, site: impl Into<Site>, flags: &[&str]) -> Exit {
        server::run(self, &site.into(), flags)
    }
}

fn flag(name: &str) -> bool {
    env::var_os(name).is_some_and(|v| !v.is_empty() && v != "0")
}

fn skip_loudly() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        eprintln!("SKIPPED: no nginx on this machine, nothing is compared with it (apt-get install nginx)")
    });
}

/// `PLIMSOLL`, else what cargo built beside the running test.
fn plimsoll() -> PathBuf {
    let named = ["PLIMSOLL", "CARGO_BIN_EXE_plimsoll", "NEXTEST_BIN_EXE_plimsoll"];
    named.iter().find_map(env::var_os).map_or_else(beside_the_test, PathBuf::from)
}

/// Test programs lie in `target/PROFILE/deps`, programs one folder up.
fn beside_the_test() -> PathBuf {
    let test = env::current_exe().unwrap_or_default();
    let profile = test.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    profile.join("plimsoll")
}

/// Says which server was running when a test panicked.
pub(crate) struct Blame(pub(crate) Binary);

impl Drop for Blame {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- this failed on {} ----", self.0.name());
        }
    }
}

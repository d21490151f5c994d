//! Which of the servers of a machine is meant.

use std::path::PathBuf;

use machine::process::Process;
use machine::servers::{self, Server};

use crate::input;

/// A server, by one of the names it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// The master, or one of its workers.
    Process(u32),
    /// What this file has the id of.
    File(PathBuf),
    /// What runs as this systemd service.
    Service(String),
}

impl Whom {
    /// `4711`, `/run/nginx.pid`, `nginx.service` or `nginx`.
    pub fn of(text: &str) -> Whom {
        match text.parse() {
            Ok(pid) => Whom::Process(pid),
            Err(_) if text.contains('/') || text.ends_with(".pid") => Whom::File(text.into()),
            Err(_) if text.ends_with(".service") => Whom::Service(text.to_owned()),
            Err(_) => Whom::Service(format!("{text}.service")),
        }
    }

    /// The server, or why there is none.
    pub(super) fn find(&self, processes: &[Process]) -> Result<Server, String> {
        let of_pid = |pid| servers::server_of(pid, processes).ok_or_else(|| format!("no process {pid}"));
        match self {
            Whom::Process(pid) => of_pid(*pid),
            Whom::File(file) => {
                let name = file.display();
                let bytes = input::read(file).map_err(|error| format!("{name}: {error}"))?;
                let pid = String::from_utf8_lossy(&bytes).trim().parse();
                let found = of_pid(pid.map_err(|_| format!("{name}: that is no id of a process"))?);
                found.map_err(|why| format!("{name}: {why}"))
            }
            Whom::Service(service) => {
                let mut all = servers::servers(processes).into_iter();
                all.find(|server| server.master.service() == *service)
                    .ok_or_else(|| format!("no running nginx or plimsoll in {service}"))
            }
        }
    }
}

/// A server that was not looked at.
pub(super) fn words(server: &Server) -> String {
    let conf = server.flags.conf.as_ref().map_or_else(String::new, |conf| format!(" ({conf})"));
    format!("{} {}{conf}", server.name, server.master.pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_servers() {
        assert_eq!(Whom::of("7"), Whom::Process(7));
        assert_eq!(Whom::of("/run/nginx.pid"), Whom::File("/run/nginx.pid".into()));
        assert_eq!(Whom::of("nginx"), Whom::Service("nginx.service".into()));
        assert_eq!(Whom::of("a@1.service"), Whom::Service("a@1.service".into()));
        let wrong = Whom::of("/nowhere/x.pid").find(&[]).err().unwrap_or_default();
        assert!(wrong.contains("/nowhere/x.pid: "), "{wrong}");
        assert_eq!(Whom::of("7").find(&[]), Err("no process 7".to_owned()));
    }
}

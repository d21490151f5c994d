//! haproxy beside the two, where it has something of the kind: one thread, no log.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

/// A running haproxy; dropping it ends it.
pub struct Haproxy {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Haproxy {
    /// Starts it with this rule in its front end.
    pub fn start(rule: &str, origin: &str) -> Result<Haproxy> {
        let folder = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let file = folder.path().join("haproxy.cfg");
        let text = format!(
            "global\n nbthread 1\n maxconn 2000\n\
             defaults\n mode http\n timeout client 600s\n timeout server 600s\n timeout connect 5s\n\
             \x20timeout http-keep-alive 600s\n\
             frontend all\n bind 127.0.0.1:{port}\n {rule}\n\
             backend origin\n http-reuse always\n server origin {origin}\n"
        );
        std::fs::write(&file, text)?;
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().context("haproxy")?;
        let mut haproxy = Haproxy { child, port, _folder: folder };
        haproxy.until_ready()?;
        Ok(haproxy)
    }

    fn until_ready(&mut self) -> Result<()> {
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if self.child.try_wait()?.is_some() || begun.elapsed() > Duration::from_secs(5) {
                bail!("haproxy did not start");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process.
    pub fn processes(&self) -> Vec<i32> {
        i32::try_from(self.child.id()).into_iter().collect()
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! Facts for tests.

use std::path::Path;

use doctor::facts::{Facts, Limit, Open, Running, Status, Upstream, Worker};
use doctor::logs::Blocks;
use doctor::logs::error::{Scanner, Window};
use doctor::probe::config::Config;
use machine::kernel::Settings;
use machine::sockets::{Held, Queue, Towards};

/// How lines about a request end.
pub const TAIL: &str = ", client: 10.1.1.1, server: , request: \"GET / HTTP/1.1\", upstream: \"http://10.0.0.7:8000/\", host: \"x\"";

/// What these lines of an error log tell.
pub fn of_log(lines: &[&str]) -> Facts {
    let text: String =
        lines.iter().enumerate().map(|(n, line)| format!("2026/06/27 12:00:{n:02} {line}\n")).collect();
    let mut scanner = Scanner::new(Window::default());
    scanner.read("error.log", &mut Blocks::new(text.as_bytes())).unwrap();
    Facts { events: scanner.finish(), ..Facts::default() }
}

/// This configuration, of no running server.
pub fn configured(text: &str) -> Facts {
    let dump = format!("# configuration file /etc/nginx/nginx.conf:\n{text}");
    let config = Config::of_dump(Path::new("dump"), &dump);
    assert_eq!(config.error, None);
    Facts { config: Some(config), ..Facts::default() }
}

/// A running nginx with room for everything.
pub fn healthy() -> Facts {
    let worker = |pid| Worker {
        pid,
        limit: Limit { soft: Some(4096), hard: Some(4096) },
        open: Some(Open { sockets: 40, files: 10, deleted: 0, all: 60 }),
        held: Held { listening: 1, clients: 20, upstreams: 20 },
        busy: Some(0.1),
        ..Worker::default()
    };
    let conf = "worker_processes 2; worker_rlimit_nofile 4096; events { worker_connections 1024; }\
                http { server { listen 80; location / { proxy_pass http://10.0.0.7:8000; } } }";
    Facts {
        running: Some(Running {
            name: "nginx".into(),
            master: 10,
            limit: Limit { soft: Some(1024), hard: Some(524_288) },
            root: true,
            workers: vec![worker(11), worker(12)],
            online: 2,
            memory: Some(4 << 30),
            resident: 20 << 20,
            ..Running::default()
        }),
        kernel: Settings {
            somaxconn: Some(4096),
            ports: Some((32_768, 60_999)),
            nr_open: Some(1 << 20),
            file_max: Some(1 << 40),
            ..Settings::default()
        },
        queues: vec![Queue { address: "0.0.0.0:80".into(), ceiling: 511, ..Queue::default() }],
        upstreams: vec![Upstream {
            address: "10.0.0.7:8000".into(),
            towards: Towards { open: 40, connecting: 0, time_wait: 100 },
            ..Upstream::default()
        }],
        status: Some(Status { active: 40, writing: 20, waiting: 20, ..Status::default() }),
        ..configured(conf)
    }
}

//! What an error-log line says about capacity, recognised by the numbers of errors: their words differ between C
//! libraries.

use serde::{Deserialize, Serialize};

use super::near;

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// No slot for a client: closed without an answer.
    SlotsOnAccept,
    /// No slot towards the upstream: 500.
    SlotsToUpstream,
    /// Less than a sixteenth of the slots was free: idle clients were closed.
    SlotsReusing,
    /// Not even the listening sockets found slots.
    SlotsForListeners,
    /// The limit of descriptors is below `worker_connections`.
    SlotsOverLimit,
    /// `worker_rlimit_nofile` was refused.
    RlimitRefused,
    /// No descriptor for a client (24 on accept).
    FilesOnAccept,
    /// No descriptor towards the upstream (24).
    FilesToUpstream,
    /// No descriptor for a file (24).
    FilesOpen,
    /// No descriptor for the master: a reload was refused (24, emerg).
    FilesOfMaster,
    /// No descriptor on the whole machine (23).
    FilesOfMachine,
    /// A unix upstream's accept queue is full (11 on connect).
    UpstreamQueue,
    /// No answer to a connect (110).
    ConnectTimeout,
    /// An upstream that takes too long to answer (110).
    UpstreamSlow,
    /// Nobody listens there (111, 2).
    UpstreamDown,
    /// No local port is left (99).
    Ports,
    /// The port of `proxy_bind` is taken (98).
    BindInUse,
    /// The kernel's memory for sockets is used up (105).
    KernelMemory,
    /// All servers of a group are set aside.
    NoLiveUpstreams,
    /// One server of a group was set aside.
    UpstreamDisabled,
    /// `limit_conn` or `limit_req` did its work.
    Limited,
    /// The application says that its workers are all busy.
    Application,
    /// A worker was killed (signal 9), most likely for memory.
    Killed,
}

impl Cause {
    /// All of them.
    pub const ALL: [Cause; 23] = [
        Cause::SlotsOnAccept,
        Cause::SlotsToUpstream,
        Cause::SlotsReusing,
        Cause::SlotsForListeners,
        Cause::SlotsOverLimit,
        Cause::RlimitRefused,
        Cause::FilesOnAccept,
        Cause::FilesToUpstream,
        Cause::FilesOpen,
        Cause::FilesOfMaster,
        Cause::FilesOfMachine,
        Cause::UpstreamQueue,
        Cause::ConnectTimeout,
        Cause::UpstreamSlow,
        Cause::UpstreamDown,
        Cause::Ports,
        Cause::BindInUse,
        Cause::KernelMemory,
        Cause::NoLiveUpstreams,
        Cause::UpstreamDisabled,
        Cause::Limited,
        Cause::Application,
        Cause::Killed,
    ];

    /// What programs call it.
    pub fn key(self) -> &'static str {
        match self {
            Cause::SlotsOnAccept => "slots_on_accept",
            Cause::SlotsToUpstream => "slots_to_upstream",
            Cause::SlotsReusing => "slots_reusing",
            Cause::SlotsForListeners => "slots_for_listeners",
            Cause::SlotsOverLimit => "slots_over_limit",
            Cause::RlimitRefused => "rlimit_refused",
            Cause::FilesOnAccept => "files_on_accept",
            Cause::FilesToUpstream => "files_to_upstream",
            Cause::FilesOpen => "files_open",
            Cause::FilesOfMaster => "files_of_master",
            Cause::FilesOfMachine => "files_of_machine",
            Cause::UpstreamQueue => "upstream_queue",
            Cause::ConnectTimeout => "connect_timeout",
            Cause::UpstreamSlow => "upstream_slow",
            Cause::UpstreamDown => "upstream_down",
            Cause::Ports => "ports",
            Cause::BindInUse => "bind_in_use",
            Cause::KernelMemory => "kernel_memory",
            Cause::NoLiveUpstreams => "no_live_upstreams",
            Cause::UpstreamDisabled => "upstream_disabled",
            Cause::Limited => "limited",
            Cause::Application => "application",
            Cause::Killed => "killed",
        }
    }

    /// A few words, for a picture.
    pub fn words(self) -> &'static str {
        match self {
            Cause::SlotsOnAccept => "no slot for a client",
            Cause::SlotsToUpstream => "no slot towards an upstream",
            Cause::SlotsReusing => "idle clients closed to make room",
            Cause::SlotsForListeners => "fewer slots than listening sockets",
            Cause::SlotsOverLimit => "more slots than descriptors",
            Cause::RlimitRefused => "worker_rlimit_nofile refused",
            Cause::FilesOnAccept => "no descriptor for a client (24)",
            Cause::FilesToUpstream => "no descriptor towards an upstream (24)",
            Cause::FilesOpen => "no descriptor for a file (24)",
            Cause::FilesOfMaster => "no descriptor for the master (24)",
            Cause::FilesOfMachine => "no descriptor on the machine (23)",
            Cause::UpstreamQueue => "the application's accept queue is full (11)",
            Cause::ConnectTimeout => "no answer to a connect (110)",
            Cause::UpstreamSlow => "the application answers too late (110)",
            Cause::UpstreamDown => "nobody listens at the upstream (111)",
            Cause::Ports => "no local port left (99)",
            Cause::BindInUse => "the port of proxy_bind is taken (98)",
            Cause::KernelMemory => "no kernel memory for a socket (105)",
            Cause::NoLiveUpstreams => "no live upstreams",
            Cause::UpstreamDisabled => "a server was set aside",
            Cause::Limited => "limit_conn or limit_req refused",
            Cause::Application => "the application says it is busy",
            Cause::Killed => "a worker was killed",
        }
    }
}

/// What every line that means something has in it, one or the other. They begin with what is rare in logs: that is what
/// is searched for first.
pub(crate) const NEEDLES: &[&str] = &[
    "worker_connections",
    "RLIMIT_NOFILE",
    "(24:",
    "(23:",
    "(11:",
    "(98:",
    "(99:",
    "(105:",
    "(110:",
    "(111:",
    "unix:",
    "no live upstreams",
    "temporarily disabled",
    "limiting connections",
    "limiting requests",
    "listen queue",
    "max_children",
    "WORKER TIMEOUT",
    "exited on signal 9",
    "\"errno\":",
    "\"MESSAGE\":[",
];

/// The cause in a message of this level, if it is one. What a client chose (request, path) is not believed.
pub fn cause(level: &str, text: &str) -> Option<Cause> {
    let before = |text, end| near::split(text, end).map_or(text, |(before, _)| before);
    let head = before(text, ", client: ");
    let own = before(head, "\"");
    let has = |what| near::has(own, what);
    if has("worker_connections") {
        return slots(own);
    }
    if has("RLIMIT_NOFILE") {
        return has("failed").then_some(Cause::RlimitRefused);
    }
    if let Some(errno) = errno(head) {
        return of_errno(errno, level, own, head);
    }
    match () {
        () if has("no live upstreams") => Some(Cause::NoLiveUpstreams),
        () if has("temporarily disabled") => Some(Cause::UpstreamDisabled),
        () if has("limiting connections") || has("limiting requests") => Some(Cause::Limited),
        () if has("listen queue") && near::has(head, "full") => Some(Cause::Application),
        () if has("max_children") || has("WORKER TIMEOUT") => Some(Cause::Application),
        () if has("exited on signal 9") => Some(Cause::Killed),
        () => None,
    }
}

fn slots(text: &str) -> Option<Cause> {
    let has = |what| near::has(text, what);
    match () {
        () if has(" exceed open file resource limit") => Some(Cause::SlotsOverLimit),
        () if !has(" are not enough") => None,
        () if has("while connecting to upstream") => Some(Cause::SlotsToUpstream),
        () if has("reusing connections") => Some(Cause::SlotsReusing),
        () if has("listening sockets") => Some(Cause::SlotsForListeners),
        () => Some(Cause::SlotsOnAccept),
    }
}

/// The number in `failed (24: ..)` or `timed out (110: ..)`: the last, as a file's name stands before it.
fn errno(head: &str) -> Option<u32> {
    memchr::memrchr_iter(b'(', head.as_bytes()).find_map(|at| {
        let said = ["failed ", "timed out "].iter().any(|words| head[..at].ends_with(words));
        // A user's name stands in quotes, and may be anything.
        let own = said && !head[at..].contains('"');
        let (number, _) = head[at + 1..].split_once(':').filter(|_| own)?;
        number.parse().ok()
    })
}

/// `own` is what stands before the first name in the line.
fn of_errno(errno: u32, level: &str, own: &str, head: &str) -> Option<Cause> {
    let has = |what| near::has(own, what);
    let connecting = head.ends_with("while connecting to upstream");
    match errno {
        23 => Some(Cause::FilesOfMachine),
        24 if has("accept") => Some(Cause::FilesOnAccept),
        24 if level == "emerg" => Some(Cause::FilesOfMaster),
        24 if has("socket()") => Some(Cause::FilesToUpstream),
        24 => Some(Cause::FilesOpen),
        11 if has("connect()") => Some(Cause::UpstreamQueue),
        110 if connecting => Some(Cause::ConnectTimeout),
        // Over a websocket nothing was said for long: nobody was waiting for an answer.
        110 if has("upgraded connection") => None,
        110 if has("upstream") => Some(Cause::UpstreamSlow),
        111 | 2 if has("connect()") && connecting => Some(Cause::UpstreamDown),
        99 if has("connect()") => Some(Cause::Ports),
        98 if has("bind(") && connecting => Some(Cause::BindInUse),
        105 => Some(Cause::KernelMemory),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row = (&'static str, &'static str, Option<Cause>);

    /// Levels, messages and causes.
    #[track_caller]
    fn check(rows: &[Row]) {
        for (level, text, expected) in rows {
            assert_eq!(cause(level, text), *expected, "{text}");
            let found = NEEDLES.iter().any(|needle| text.contains(needle));
            assert!(found || expected.is_none(), "no needle is in {text}");
        }
    }

    #[test]
    fn slots_and_descriptors() {
        use Cause::*;
        check(&[
            ("alert", "1024 worker_connections are not enough", Some(SlotsOnAccept)),
            (
                "alert",
                "*204815 worker_connections are not enough while connecting to upstream, client: 203.0.113.7",
                Some(SlotsToUpstream),
            ),
            (
                "alert",
                "*7 768 worker_connections are not enough while connecting to upstream, client: ::1",
                Some(SlotsToUpstream),
            ),
            ("warn", "512 worker_connections are not enough, reusing connections", Some(SlotsReusing)),
            ("emerg", "4 worker_connections are not enough for 5 listening sockets", Some(SlotsForListeners)),
            ("warn", "4096 worker_connections exceed open file resource limit: 1024", Some(SlotsOverLimit)),
            (
                "alert",
                "setrlimit(RLIMIT_NOFILE, 65536) failed (1: Operation not permitted)",
                Some(RlimitRefused),
            ),
            ("crit", "accept4() failed (24: Too many open files)", Some(FilesOnAccept)),
            ("crit", "accept4() failed (24: No file descriptors available)", Some(FilesOnAccept)),
            ("crit", "accept4() failed (23: Too many open files in system)", Some(FilesOfMachine)),
            (
                "alert",
                "*3 socket() failed (24: Too many open files) while connecting to upstream, client: 1.2.3.4",
                Some(FilesToUpstream),
            ),
            (
                "crit",
                "*3 open() \"/srv/a\" failed (24: Too many open files), client: 1.2.3.4",
                Some(FilesOpen),
            ),
            ("emerg", "open() \"/var/log/a.log\" failed (24: Too many open files)", Some(FilesOfMaster)),
        ]);
    }

    #[test]
    fn upstreams_and_ports() {
        use Cause::*;
        check(&[
            (
                "error",
                "*9 connect() to unix:/run/g.sock failed (11: Resource temporarily unavailable) while connecting to upstream, client: 1.2.3.4",
                Some(UpstreamQueue),
            ),
            (
                "error",
                "*9 upstream timed out (110: Operation timed out) while connecting to upstream, client: 1.2.3.4",
                Some(ConnectTimeout),
            ),
            (
                "error",
                "*9 upstream timed out (110: Connection timed out) while reading response header from upstream, client: 1, upstream: \"http://1.1.1.1/\"",
                Some(UpstreamSlow),
            ),
            (
                "error",
                "*9 connect() failed (111: Connection refused) while connecting to upstream, client: 1",
                Some(UpstreamDown),
            ),
            (
                "crit",
                "*9 connect() to 10.0.0.7:80 failed (99: Address not available) while connecting to upstream",
                Some(Ports),
            ),
            (
                "crit",
                "*9 bind(127.0.0.1:5000) failed (98: Address in use) while connecting to upstream, client: 1",
                Some(BindInUse),
            ),
            (
                "alert",
                "*9 socket() failed (105: No buffer space available) while connecting to upstream",
                Some(KernelMemory),
            ),
            ("error", "*9 no live upstreams while connecting to upstream, client: 1", Some(NoLiveUpstreams)),
            (
                "warn",
                "*9 upstream server temporarily disabled while connecting to upstream",
                Some(UpstreamDisabled),
            ),
        ]);
    }

    #[test]
    fn policies_and_applications() {
        use Cause::*;
        check(&[
            ("error", "*9 limiting connections by zone \"a\", client: 1", Some(Limited)),
            ("error", "*9 limiting requests, excess: 5.1 by zone \"a\", client: 1", Some(Limited)),
            ("", "*** uWSGI listen queue of socket \"x\" (fd: 3) full !!! (101/100) ***", Some(Application)),
            (
                "",
                "WARNING: [pool www] server reached pm.max_children setting (5), consider raising it",
                Some(Application),
            ),
            ("", "[2026-11-22 12:00:00 +0000] [7] [CRITICAL] WORKER TIMEOUT (pid:8)", Some(Application)),
            ("alert", "worker process 77 exited on signal 9", Some(Killed)),
        ]);
    }

    #[test]
    fn what_others_chose_is_no_cause() {
        check(&[
            ("emerg", "bind() to 0.0.0.0:80 failed (98: Address already in use)", None),
            (
                "error",
                "*1 open() \"/a worker_connections are not enough failed (24: y)\" failed (2: No such file), client: 1",
                None,
            ),
            (
                "error",
                "*1 open() \"/srv/x\" failed (2: No such file), client: 1, request: \"GET /connect() failed (11:\"",
                None,
            ),
            ("error", "*1 open() \"/srv/x\" failed (2: No such file or directory), client: 1", None),
            ("notice", "signal process started", None),
            (
                "error",
                "*9 upstream timed out (110: Connection timed out) while proxying upgraded connection, client: 1",
                None,
            ),
        ]);
    }

    #[test]
    fn programs_know_them_by_one_name() {
        for cause in Cause::ALL {
            let written = serde_json::to_string(&cause).unwrap_or_default();
            assert_eq!(written, format!("\"{}\"", cause.key()));
        }
    }
}

//! What can be said of a server before any traffic comes.

use crate::advice::{self, not_this};
use crate::draw;
use crate::finding::{Change, Confidence, Effect, Finding, Severity};
use crate::link::Kind;
use crate::setup::{DEFAULT_BACKLOG, Listening, Server, Setup};

impl Setup {
    /// Everything that is wrong with it, or will be under load; the worst first.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> =
            self.loops.iter().map(|(to, place)| proxy_loop(to, &place.words())).collect();
        findings.extend(self.listens.iter().filter_map(|listen| self.backlog_clamped(listen)));
        let all = [
            self.descriptors_short(),
            self.rlimit_refused(),
            self.limit_of_shell(),
            self.workers_over_quota(),
            self.idle_upstream(),
            self.memory_short(),
            self.ports_short(),
        ];
        findings.extend(all.into_iter().flatten());
        let chain = self.chain();
        for finding in &mut findings {
            finding.requests = finding.link.and_then(|kind| chain.requests_through(kind));
        }
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        findings
    }

    fn backlog_clamped(&self, listen: &Listening) -> Option<Finding> {
        let most = self.somaxconn?;
        let wanted = match (listen.backlog, self.server) {
            (Some(backlog), _) => backlog,
            (None, Server::Nginx) => DEFAULT_BACKLOG,
            (None, Server::Plimsoll) => return None,
        };
        if wanted <= most {
            return None;
        }
        let what = match listen.backlog {
            Some(backlog) => format!("backlog={backlog}"),
            None => format!("the default backlog {DEFAULT_BACKLOG}"),
        };
        let title = format!("{what} of listen {} is clamped to net.core.somaxconn {most}", listen.address);
        let change = Change::new(
            format!("net.core.somaxconn = {wanted}"),
            "/etc/sysctl.d/60-somaxconn.conf",
            Effect::Restart,
        );
        let finding = Finding::new(Severity::Warning, "backlog_clamped", Some(Kind::AcceptQueue), title)
            .means("connections beyond it are dropped by the kernel, and no log says so")
            .change(change);
        Some(with_place(wrong(finding, Kind::AcceptQueue), &listen.place.words()))
    }

    fn descriptors_short(&self) -> Option<Finding> {
        let limit = self.descriptors_each()?;
        let needed = self.needed_descriptors();
        if needed <= limit {
            return None;
        }
        let title = format!(
            "{} x {} worker_connections need {needed} descriptors, the limit is {limit}",
            self.workers, self.connections
        );
        let link = self.chain().links.into_iter().find(|link| link.kind == Kind::Descriptors)?;
        // Those of files are seldom all open at once, and some for the last few connections matter to nobody.
        let connections = self.fixed_descriptors().saturating_add(self.slots() / self.processes().max(1));
        let (severity, confidence) = match limit < connections - connections / 16 {
            true => (Severity::Warning, Confidence::Certain),
            false => (Severity::Note, Confidence::Possible),
        };
        let mut finding = Finding::new(severity, "descriptors_short", Some(Kind::Descriptors), title)
            .sure(confidence)
            .seen(link.set_by.clone())
            .means("connections fail with (24) before the slots are used up");
        finding.changes = advice::raise(&link, self);
        Some(wrong(finding, Kind::Descriptors))
    }

    fn rlimit_refused(&self) -> Option<Finding> {
        let each = self.rlimit_nofile?;
        let ours = self.server == Server::Plimsoll;
        let total = each.saturating_mul(if ours { self.workers } else { 1 });
        // Plimsoll's workers share what there is: whether that is enough is another question.
        if let Some(most) = self.nr_open.filter(|most| each > *most) {
            let title = format!("worker_rlimit_nofile {each} is more than fs.nr_open {most} allows");
            let change =
                Change::new(format!("fs.nr_open = {each}"), "/etc/sysctl.d/60-files.conf", Effect::Restart);
            let each = if self.privileged { most } else { self.hard.map_or(most, |hard| hard.min(most)) };
            return Some(
                Finding::new(Severity::Warning, "rlimit_over_nr_open", Some(Kind::Descriptors), title)
                    .seen(format!("fs.nr_open: {most}"))
                    .means(match ours {
                        true => "the workers share as many as fs.nr_open allows",
                        false => {
                            "the kernel refuses the whole setting: the workers go on with the limit they had"
                        }
                    })
                    .change(Change::new(
                        format!("worker_rlimit_nofile {each};"),
                        "main context",
                        Effect::Reload,
                    ))
                    .change(change.note("where it is really needed"))
                    .not_this("LimitNOFILE=infinity: fs.nr_open bounds that too"),
            );
        }
        let hard = self.hard.filter(|hard| total > *hard && !self.privileged)?;
        let workers = match total > each {
            true => format!(" for each of {} workers", self.workers),
            false => String::new(),
        };
        let title = format!("worker_rlimit_nofile {each}{workers} is more than the hard limit {hard} allows");
        let place = if self.service.is_empty() { "the service" } else { self.service.as_str() };
        let change =
            Change::new(format!("LimitNOFILE={total}"), format!("[Service] of {place}"), Effect::Restart);
        let finding = Finding::new(Severity::Warning, "rlimit_refused", Some(Kind::Descriptors), title)
            .seen(format!("hard limit {hard}, and no right to raise it (CAP_SYS_RESOURCE)"))
            .means("the workers go on with the limit they had")
            .change(change);
        Some(wrong(finding, Kind::Descriptors))
    }

    fn limit_of_shell(&self) -> Option<Finding> {
        let shell = self.shell_soft?;
        if Some(shell) == self.soft || self.service.is_empty() {
            return None;
        }
        let title = format!(
            "{} starts with a descriptor limit of {}, this shell has {shell}",
            self.service,
            draw::limit(self.soft)
        );
        Some(
            Finding::new(Severity::Note, "limit_of_shell", Some(Kind::Descriptors), title)
                .seen(format!("LimitNOFILE={} of {}", draw::limit(self.soft), self.service))
                .means(
                    "the figures here are for the service; started from this shell it has the shell's limit",
                )
                .change(Change::new(
                    format!("systemctl restart {}", self.service),
                    "in place of a start from the shell",
                    Effect::AtOnce,
                ))
                .not_this("ulimit -n in a shell, limits.conf: a systemd service has LimitNOFILE= only"),
        )
    }

    fn workers_over_quota(&self) -> Option<Finding> {
        let usable = self.quota?;
        if self.workers as f64 <= usable.ceil() {
            return None;
        }
        let title = format!("{} workers for {usable} processors' worth of time", self.workers);
        Some(
            Finding::new(Severity::Warning, "workers_over_quota", Some(Kind::EventLoop), title)
                .seen(format!("the cgroup allows {usable}, {} processors are online", self.online))
                .means("when the quota of a period is used up, all of them stand still until the next")
                .change(Change::new(
                    format!("worker_processes {};", usable.ceil().max(1.0)),
                    "main context",
                    Effect::Reload,
                ))
                .not_this(
                    "worker_processes auto of nginx: it counts the machine's processors, not the quota",
                ),
        )
    }

    fn idle_upstream(&self) -> Option<Finding> {
        let slots = self.slots() / self.workers.max(1);
        // Where idle ones give way, they cost nothing that anybody needs.
        if self.server != Server::Nginx || self.idle_upstream.saturating_mul(4) <= slots {
            return None;
        }
        let title = format!(
            "idle upstream connections may hold {} of the {slots} slots of each worker",
            self.idle_upstream.min(slots)
        );
        Some(
            Finding::new(Severity::Warning, "idle_upstream", Some(Kind::Slots), title)
                .sure(Confidence::Possible)
                .seen(format!("keepalive of all groups together: {} for each worker", self.idle_upstream))
                .means("nginx never takes them back for clients, and stub_status does not count them")
                .change(
                    Change::new("a smaller keepalive", "upstream context", Effect::Reload)
                        .note("what the upstream needs at once, not what it may need"),
                )
                .not_this("no keepalive at all: every request takes a new port"),
        )
    }

    fn memory_short(&self) -> Option<Finding> {
        let memory = self.memory?;
        let requests = self.slots() as f64 / self.mix.average(|need| need.slots).max(1.0);
        let needed = requests * self.request_memory as f64;
        if needed <= memory as f64 {
            return None;
        }
        let title = format!(
            "all slots in use may need {} of memory, there is {}",
            draw::bytes(needed as u64),
            draw::bytes(memory)
        );
        Some(
            Finding::new(Severity::Note, "memory_short", Some(Kind::Memory), title)
                .sure(Confidence::Possible)
                .seen(format!("{} slots, {} a request", self.slots(), draw::bytes(self.request_memory)))
                .means("with the buffers that each request may fill; most fill little of them")
                .change(Change::new(
                    "proxy_buffers 4 8k;",
                    "where answers are large: smaller ones, or fewer slots",
                    Effect::Reload,
                ))
                .not_this("swap: a worker that waits for it stands still for everybody"),
        )
    }

    fn ports_short(&self) -> Option<Finding> {
        let ports = self.ports?;
        let proxied = self.slots() / 2;
        let [destination] = &self.destinations[..] else { return None };
        if proxied <= ports {
            return None;
        }
        let title = format!("{proxied} proxied requests fit, but only {ports} ports lead to {destination}");
        let mut finding = Finding::new(Severity::Note, "ports_short", Some(Kind::Ports), title)
            .sure(Confidence::Possible)
            .seen(format!("net.ipv4.ip_local_port_range: {ports} ports"))
            .means("those beyond get 502; connections in TIME_WAIT take ports too");
        let link = crate::link::Link::new(Kind::Ports, Some(ports), "");
        finding.changes = advice::raise(&link, self);
        Some(wrong(finding, Kind::Ports))
    }
}

/// Beside a `proxy_pass`.
const NOT_AGAIN: &str = "if ($http_x_passed_on) { return 508; } proxy_set_header X-Passed-On 1;";

fn proxy_loop(to: &str, place: &str) -> Finding {
    let title = format!("requests passed to {to} come back to this server");
    let finding = Finding::new(Severity::Critical, "proxy_loop", Some(Kind::Slots), title)
        .means("each takes two slots more on every round, until none is left")
        .change(Change::new("another proxy_pass, or another listen", place, Effect::Reload))
        .change(
            Change::new(NOT_AGAIN, place, Effect::Reload)
                .note("until then: what comes round again is refused (508) and takes no more slots"),
        )
        .not_this("more of anything: a loop takes all there is");
    with_place(finding, place)
}

fn with_place(finding: Finding, place: &str) -> Finding {
    if place.is_empty() { finding } else { finding.seen(place) }
}

fn wrong(mut finding: Finding, kind: Kind) -> Finding {
    finding.not_this.extend(not_this(kind).iter().map(|s| (*s).to_owned()));
    finding
}

//! Bodies of requests: how long they may be, and where they are kept.

use std::sync::Arc;
use std::time::Duration;

use conf::{Directive, Scope, directive};

use super::ANY;
use crate::temp::TempPath;
use crate::worker::generation::Compiler;

pub(super) const DIRECTIVES: &[Directive] = &[
    directive("client_max_body_size", ANY, conf::exactly(1), |at, a| {
        at.own::<Conf>().max_size.set(a.offset(0)?)
    }),
    directive("client_body_buffer_size", ANY, conf::exactly(1), |at, a| {
        at.own::<Conf>().buffer_size.set(a.size(0)?)
    }),
    directive("client_body_timeout", ANY, conf::exactly(1), |at, a| at.own::<Conf>().timeout.set(a.msec(0)?)),
    directive("client_body_in_file_only", ANY, conf::exactly(1), |at, a| {
        let value = a.one_of(0, &[("off", InFile::Off), ("on", InFile::On), ("clean", InFile::Clean)])?;
        at.own::<Conf>().in_file_only.set(value)
    }),
    directive("client_body_temp_path", ANY, conf::between(1, 4), |at, a| {
        let path = TempPath::read(at, a)?;
        at.own::<Conf>().temp_path.set(path)
    }),
];

settings! {
    /// As written.
    struct Conf {
        max_size: u64,
        buffer_size: u64,
        timeout: u64,
        in_file_only: InFile,
        temp_path: TempPath,
    }
}

/// Whether request bodies are put into files that have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InFile {
    /// Only those that do not fit in memory, without a name.
    Off,
    /// All; the files stay.
    On,
    /// All; the files go with the request.
    Clean,
}

/// As run.
pub struct ClientBody {
    /// The longest that is taken, in bytes; 0: any.
    pub max_size: u64,
    /// How much is kept in memory, in bytes.
    pub buffer_size: usize,
    /// How long may pass between two pieces.
    pub timeout: Duration,
    /// Which go into a file that has a name.
    pub in_file_only: InFile,
    /// Where those go that do not fit into memory.
    pub temp_path: Arc<TempPath>,
}

pub(super) fn compile(at: &Scope, with: &mut Compiler<'_>) -> ClientBody {
    let none = Conf::default();
    let c = at.conf::<Conf>().unwrap_or(&none);
    let path = temp_path(at, with);
    if c.temp_path.written().is_some() {
        with.temp_path(&path.path);
    }
    ClientBody {
        max_size: c.max_size.or(1 << 20),
        buffer_size: c.buffer_size.or(16 << 10) as usize,
        timeout: Duration::from_millis(c.timeout.or(60_000)),
        in_file_only: c.in_file_only.or(InFile::Off),
        temp_path: Arc::new(path),
    }
}

/// Where bodies of clients are kept that do not fit into memory. Who keeps some sees to it that the folder is made, for
/// the worker may have no right to make it; a server that keeps none needs no folder.
pub fn temp_path(at: &Scope, with: &Compiler<'_>) -> TempPath {
    let written = at.conf::<Conf>().and_then(|conf| conf.temp_path.written());
    written.cloned().unwrap_or_else(|| TempPath::flat(with.prefix_path("client_body_temp")))
}

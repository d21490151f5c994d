//! Upstream servers: groups and the choice among them, connections and their reuse, what a request remembers of them.

mod balance;
mod connect;
mod find;
mod group;
mod health;
mod latency;
mod line;
mod manage;
mod names;
mod overload;
mod peers;
mod pool;
mod queue;
mod ranks;
mod record;
mod refresh;
mod ring;
mod save;
mod secure;
mod sticky;
mod tried;

pub use balance::{Balancer, Measure};
pub use connect::{NoLink, Options, begin, finish, open, seat};
pub use find::{find, group_number};
pub use group::{Group, Held, KeepAlive, Turn};
pub use health::{Check, Match, Test, Value};
pub use line::{Line, Place};
pub use manage::Change;
pub use names::{key, number, resolve, split};
pub use overload::{AcceptQueue, OverloadWait, may_pass, no_descriptor, queue_of, wait_for_room};
pub use peers::{Mode, Peer, PeerState};
pub use pool::{Key, Link, ThreadState, rest};
pub use queue::{NoTurn, Patience};
pub use record::{CacheRecord, CacheStatus, Record, Try};
pub use refresh::{Followed, follow};
pub use sticky::{Cookie, Expires, How, SAME_SITE, Sessions, Sticky};

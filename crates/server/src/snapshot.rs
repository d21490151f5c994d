//! What the master hands to the worker: everything read from a configuration, and the descriptors that go with it.
//!
//! It travels over a pair of SEQPACKET sockets as a *parcel*: one message that announces it and carries its contents
//! in a sealed memory file, then the descriptors in batches. Every message that carries descriptors is acknowledged
//! before the next is sent, so that no more are in flight than the kernel allows an unprivileged sender.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::program::{Call, Listen};

/// Raised with every change of what is sent: the worker runs the same binary as its master, and says so if not.
const VERSION: u16 = 1;
/// The longest message.
const LONGEST: usize = 4096;
/// The longest text of an answer; the rest is cut.
const LONGEST_TEXT: usize = 3072;

/// One configuration, whole: compiling it is a pure function.
#[derive(Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// Counts the configurations of this master, from 1.
    pub generation: u64,
    /// The command line.
    pub call: Call,
    /// Every file and name that was read.
    pub inputs: conf::Recorded,
    /// The worker's user, group and all its groups; `None`: those of the master.
    pub user: Option<Account>,
    /// The listening sockets, in the order of their descriptors; with `reuseport` an address comes several times.
    pub listens: Vec<Listen>,
    /// The log files, in the order of their descriptors, after the sockets.
    pub logs: Vec<PathBuf>,
}

/// Who the worker is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// All groups, `gid` among them.
    pub groups: Vec<u32>,
}

/// What a parcel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A [`Snapshot`]: to be put in force.
    Snapshot,
    /// Paths of log files (`Vec<PathBuf>`), opened anew.
    Reopen,
    /// Listening sockets (`Vec<Listen>`), from a master to the one that succeeds it.
    Sockets,
}

/// A message to the worker.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Message {
    /// The beginning of a parcel; its contents come with it, as a sealed memory file.
    Parcel { kind: Kind, version: u16, descriptors: u32 },
    /// The next descriptors of the parcel.
    Descriptors,
    /// Finish what was begun, then end.
    Quit,
    /// End now.
    Terminate,
}

/// A message of the worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The last message that carried descriptors has arrived.
    Received,
    /// This generation is in force; what the one before had alone may be closed.
    Ready(u64),
    /// This generation cannot be put in force, and why. The one before stays.
    Refused(u64, String),
}

/// A complete message, as the worker sees it.
#[derive(Debug)]
pub enum Arrived {
    /// A parcel with all its descriptors.
    Parcel(Parcel),
    /// Finish what was begun, then end.
    Quit,
    /// End now.
    Terminate,
    /// The other end is gone.
    Closed,
}

/// Contents and descriptors.
#[derive(Debug)]
pub struct Parcel {
    /// What it is.
    pub kind: Kind,
    /// The descriptors, in the order in which they were sent.
    pub fds: Vec<OwnedFd>,
    contents: Vec<u8>,
}

impl Parcel {
    /// The contents.
    ///
    /// # Errors
    /// When they are not what the kind says.
    pub fn open<T: DeserializeOwned>(&self) -> io::Result<T> {
        postcard::from_bytes(&self.contents).map_err(invalid)
    }
}

fn invalid(error: postcard::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// What is to be sent as one message, and its descriptors.
#[derive(Debug)]
pub struct Outgoing {
    bytes: Vec<u8>,
    fds: Vec<Arc<OwnedFd>>,
}

impl Outgoing {
    fn new(message: &Message, fds: Vec<Arc<OwnedFd>>) -> io::Result<Outgoing> {
        Ok(Outgoing { bytes: postcard::to_allocvec(message).map_err(invalid)?, fds })
    }
    /// Finish what was begun, then end.
    pub fn quit() -> io::Result<Outgoing> {
        Outgoing::new(&Message::Quit, Vec::new())
    }
    /// End now.
    pub fn terminate() -> io::Result<Outgoing> {
        Outgoing::new(&Message::Terminate, Vec::new())
    }
    /// Whether the next message has to wait for [`Answer::Received`].
    pub fn is_acknowledged(&self) -> bool {
        !self.fds.is_empty()
    }
    /// Sends it.
    ///
    /// # Errors
    /// When the other end is gone, or `WouldBlock` when it does not read.
    pub fn send(&self, to: impl AsFd) -> io::Result<()> {
        let fds: Vec<BorrowedFd<'_>> = self.fds.iter().map(|fd| fd.as_fd()).collect();
        sys::fdpass::send(to, &self.bytes, &fds)
    }
}

/// Contents in memory that any number of workers may be sent.
#[derive(Clone, Debug)]
pub struct Sealed {
    kind: Kind,
    contents: Arc<OwnedFd>,
}

impl Sealed {
    /// Contents of a parcel of this kind.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn new(kind: Kind, contents: &impl Serialize) -> io::Result<Sealed> {
        let bytes = postcard::to_allocvec(contents).map_err(invalid)?;
        let contents = Arc::new(sys::memfd::sealed("snapshot", &bytes)?);
        Ok(Sealed { kind, contents })
    }
    /// The messages that send it, with its descriptors.
    ///
    /// # Errors
    /// None in practice: encoding such a message cannot fail.
    pub fn messages(&self, fds: &[Arc<OwnedFd>]) -> io::Result<Vec<Outgoing>> {
        let descriptors = u32::try_from(fds.len()).map_err(io::Error::other)?;
        let head = Message::Parcel { kind: self.kind, version: VERSION, descriptors };
        let mut messages = vec![Outgoing::new(&head, vec![self.contents.clone()])?];
        for batch in fds.chunks(sys::fdpass::MOST) {
            messages.push(Outgoing::new(&Message::Descriptors, batch.to_vec())?);
        }
        Ok(messages)
    }
}

/// Sends an answer to the master.
///
/// # Errors
/// When the master is gone.
pub fn answer(to: impl AsFd, answer: &Answer) -> io::Result<()> {
    sys::fdpass::send(to, &postcard::to_allocvec(answer).map_err(invalid)?, &[])
}

impl Answer {
    /// A refusal whose text fits a message.
    pub fn refused(generation: u64, mut text: String) -> Answer {
        text.truncate(text.floor_char_boundary(LONGEST_TEXT));
        Answer::Refused(generation, text)
    }
}

/// The next answer of the worker; `None` when its end is closed.
///
/// # Errors
/// `WouldBlock` when there is none yet and the descriptor does not block.
pub fn receive_answer(from: impl AsFd) -> io::Result<Option<Answer>> {
    let mut buffer = [0; LONGEST];
    let received = sys::fdpass::receive(from, &mut buffer)?;
    match received.len {
        0 => Ok(None),
        len => postcard::from_bytes(&buffer[..len]).map(Some).map_err(invalid),
    }
}

/// The next complete message of the master: waits for all of a parcel and acknowledges its parts.
///
/// # Errors
/// When a message is not understood or did not arrive whole (the limit of descriptors is reached): the sides no
/// longer agree on what was sent, so the channel is of no more use.
pub fn receive(from: impl AsFd) -> io::Result<Arrived> {
    let (message, mut fds) = match receive_message(&from)? {
        None => return Ok(Arrived::Closed),
        Some(received) => received,
    };
    match message {
        Message::Quit => Ok(Arrived::Quit),
        Message::Terminate => Ok(Arrived::Terminate),
        Message::Descriptors => Err(unexpected("descriptors of no parcel")),
        Message::Parcel { version, .. } if version != VERSION => {
            Err(unexpected(&format!("a parcel of version {version}, not {VERSION}")))
        }
        Message::Parcel { kind, descriptors, .. } => {
            let contents = fds.pop().ok_or_else(|| unexpected("a parcel without contents"))?;
            let contents = sys::memfd::read(contents)?;
            let fds = receive_descriptors(from, descriptors as usize)?;
            Ok(Arrived::Parcel(Parcel { kind, fds, contents }))
        }
    }
}

fn unexpected(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("unexpected message: {what}"))
}

fn receive_message(from: impl AsFd) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
    let mut buffer = [0; LONGEST];
    let received = sys::fdpass::receive(&from, &mut buffer)?;
    if received.len == 0 {
        return Ok(None);
    }
    if !received.fds.is_empty() {
        answer(&from, &Answer::Received)?;
    }
    let message = postcard::from_bytes(&buffer[..received.len]).map_err(invalid)?;
    Ok(Some((message, received.fds)))
}

fn receive_descriptors(from: impl AsFd, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut fds = Vec::with_capacity(count.min(1 << 16));
    while fds.len() < count {
        match receive_message(&from)? {
            Some((Message::Descriptors, more)) if !more.is_empty() => fds.extend(more),
            Some((other, _)) => return Err(unexpected(&format!("{other:?} within a parcel"))),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
    match fds.len() == count {
        true => Ok(fds),
        false => Err(unexpected("more descriptors than announced")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::master::outbox::Outbox;
    use crate::program::Address;
    use rustix::event::{PollFd, PollFlags, poll};

    fn snapshot(listens: usize, logs: usize) -> Snapshot {
        Snapshot {
            generation: 7,
            call: Call { directives: "daemon off;".into(), ..Call::default() },
            inputs: conf::Recorded::default(),
            user: Some(Account { uid: 1, gid: 2, groups: vec![2, 3] }),
            listens: (0..listens).map(|i| Listen::new(Address::Unix(format!("/s{i}").into()))).collect(),
            logs: (0..logs).map(|i| format!("/log{i}").into()).collect(),
        }
    }

    fn pair() -> (Outbox, OwnedFd) {
        let (ours, theirs) = sys::fdpass::pair().unwrap();
        (Outbox::new(ours).unwrap(), theirs)
    }

    /// Plays the master until everything has arrived.
    fn deliver(outbox: &mut Outbox) {
        while !outbox.is_empty() {
            poll(&mut [PollFd::new(&outbox, PollFlags::IN)], None).unwrap();
            assert_eq!(outbox.receive().unwrap(), None);
        }
    }

    fn identity(fd: &OwnedFd) -> (u64, u64) {
        let stat = rustix::fs::fstat(fd).unwrap();
        (stat.st_dev, stat.st_ino)
    }

    #[test]
    fn a_thousand_descriptors_arrive_in_order() {
        let (mut outbox, theirs) = pair();
        let fds: Vec<Arc<OwnedFd>> =
            (0..1001).map(|i| Arc::new(sys::memfd::sealed("test", &[i as u8]).unwrap())).collect();
        let worker = std::thread::spawn(move || {
            let Arrived::Parcel(parcel) = receive(&theirs).unwrap() else { panic!("no parcel") };
            answer(&theirs, &Answer::Ready(7)).unwrap();
            (parcel, theirs)
        });
        let sealed = Sealed::new(Kind::Snapshot, &snapshot(600, 401)).unwrap();
        outbox.send(sealed.messages(&fds).unwrap()).unwrap();
        let answer = loop {
            poll(&mut [PollFd::new(&outbox, PollFlags::IN)], None).unwrap();
            if let Some(answer) = outbox.receive().unwrap() {
                break answer;
            }
        };
        assert_eq!(answer, Answer::Ready(7));
        let (parcel, _theirs) = worker.join().unwrap();
        let arrived: Snapshot = parcel.open().unwrap();
        assert_eq!((arrived.generation, arrived.user), (7, snapshot(0, 0).user));
        assert_eq!((arrived.listens, arrived.logs), (snapshot(600, 401).listens, snapshot(600, 401).logs));
        let sent: Vec<_> = fds.iter().map(|fd| identity(fd)).collect();
        assert_eq!(parcel.fds.iter().map(identity).collect::<Vec<_>>(), sent);
    }

    #[test]
    fn messages_keep_their_order_behind_a_parcel() {
        let (mut outbox, theirs) = pair();
        let paths: Vec<PathBuf> = vec!["/a".into()];
        let fd = Arc::new(sys::memfd::sealed("test", b"x").unwrap());
        outbox.send(Sealed::new(Kind::Reopen, &paths).unwrap().messages(&[fd]).unwrap()).unwrap();
        outbox.send(Outgoing::quit()).unwrap();
        outbox.send(Outgoing::terminate()).unwrap();
        let master = std::thread::spawn(move || {
            deliver(&mut outbox);
        });
        let Arrived::Parcel(parcel) = receive(&theirs).unwrap() else { panic!("no parcel") };
        assert_eq!((parcel.kind, parcel.open::<Vec<PathBuf>>().unwrap()), (Kind::Reopen, paths));
        assert!(matches!(receive(&theirs).unwrap(), Arrived::Quit));
        assert!(matches!(receive(&theirs).unwrap(), Arrived::Terminate));
        master.join().unwrap();
        assert!(matches!(receive(&theirs).unwrap(), Arrived::Closed));
    }

    #[test]
    fn another_version_is_not_taken() {
        let (ours, theirs) = sys::fdpass::pair().unwrap();
        let contents = Arc::new(sys::memfd::sealed("test", b"").unwrap());
        let head = Message::Parcel { kind: Kind::Snapshot, version: VERSION + 1, descriptors: 0 };
        Outgoing::new(&head, vec![contents]).unwrap().send(&ours).unwrap();
        assert_eq!(receive(&theirs).unwrap_err().kind(), io::ErrorKind::InvalidData);
        Outgoing::new(&Message::Descriptors, Vec::new()).unwrap().send(&ours).unwrap();
        assert_eq!(receive(&theirs).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn half_a_parcel_is_no_parcel() {
        let (ours, theirs) = sys::fdpass::pair().unwrap();
        let contents = Arc::new(sys::memfd::sealed("test", b"").unwrap());
        let head = Message::Parcel { kind: Kind::Snapshot, version: VERSION, descriptors: 2 };
        Outgoing::new(&head, vec![contents.clone()]).unwrap().send(&ours).unwrap();
        Outgoing::new(&Message::Descriptors, vec![contents]).unwrap().send(&ours).unwrap();
        rustix::net::shutdown(&ours, rustix::net::Shutdown::Write).unwrap();
        assert_eq!(receive(&theirs).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_long_refusal_fits() {
        let (mut outbox, theirs) = pair();
        answer(&theirs, &Answer::refused(3, "\u{e4}".repeat(5000))).unwrap();
        let Some(Answer::Refused(3, text)) = outbox.receive().unwrap() else { panic!("no refusal") };
        assert!(text.len() >= LONGEST_TEXT - 1 && text.chars().all(|c| c == '\u{e4}'));
    }
}

//! Sockets on the loop: connecting, writing to slow readers, files.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

mod stage;

use std::cell::Cell;
use std::fs::File;
use std::io::{ErrorKind, IoSlice, Read, Seek, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::rc::Rc;

use reactor::{Handle, Socket};
use sys::net::{connect, take_error};

use stage::{Stage, ms, socket};

/// Runs one task to its end.
fn run<F: Future<Output = ()> + 'static>(stage: Stage, task: F) {
    let (handle, ended) = (stage.handle.clone(), Rc::new(Cell::new(false)));
    let theirs = ended.clone();
    stage.handle.spawn(async move {
        task.await;
        theirs.set(true);
        handle.stop();
    });
    stage.run();
    assert!(ended.get());
}

type Register = fn(&Handle<u32>, std::os::fd::OwnedFd) -> std::io::Result<Socket<u32>>;

async fn connects(handle: &Handle<u32>, address: SocketAddr, register: Register) -> std::io::Result<()> {
    let (fd, _) = connect(address)?;
    let socket = register(handle, fd)?;
    socket.writable().await?;
    take_error(socket.fd())
}

#[test]
fn a_connect_ends_well_or_is_refused() {
    for register in [Socket::new as Register, Socket::connecting] {
        let stage = Stage::new();
        let handle = stage.handle.clone();
        run(stage, async move {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            connects(&handle, address, register).await.unwrap();
            drop(listener);
            let refused = connects(&handle, address, register).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        });
    }
}

/// A connect to nowhere ends with the deadline.
#[test]
fn a_connect_that_hangs_times_out() {
    let stage = Stage::new();
    let handle = stage.handle.clone();
    // A listener whose queue is full: the kernel drops what comes.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    let _first = std::net::TcpStream::connect(address).unwrap();
    run(stage, async move {
        let (fd, _) = connect(address).unwrap();
        let socket = Socket::connecting(&handle, fd).unwrap();
        socket.set_deadline(Some(handle.now() + ms(500)));
        assert_eq!(socket.writable().await.unwrap_err().kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn a_full_socket_is_not_asked_again_until_there_is_room() {
    let stage = Stage::new();
    let (socket, mut peer) = socket(&stage.handle);
    let _open = peer.try_clone().unwrap();
    let world = stage.world.clone();
    run(stage, async move {
        let block = [7; 65536];
        let mut sent = 0;
        let full = loop {
            match socket.try_write(&block) {
                Ok(n) => sent += n,
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
        world.at(world.passed() + ms(50), move || {
            let mut all = vec![0; sent];
            peer.read_exact(&mut all).unwrap();
        });
        let pieces = [IoSlice::new(b"head"), IoSlice::new(b"body")];
        assert_eq!(socket.writev(&pieces).await.unwrap(), 8);
        assert_eq!(world.passed(), ms(50));
    });
}

#[test]
fn more_pieces_than_the_kernel_takes_are_written_in_parts() {
    let stage = Stage::new();
    let (socket, mut peer) = socket(&stage.handle);
    run(stage, async move {
        let pieces = vec![IoSlice::new(b"x"); 3000];
        let written = socket.writev(&pieces).await.unwrap();
        assert_eq!(written, 1024);
        assert_eq!(socket.writev(&pieces).await.unwrap(), 1024, "there is room yet");
        peer.read_exact(&mut vec![0; 2048]).unwrap();
    });
}

/// A file is sent whole to a reader that takes its time, and its end is told even where less was sent than asked for.
#[test]
fn a_file_is_sent_to_a_slow_reader() {
    const SIZE: usize = 3 << 20;
    let stage = Stage::new();
    let (socket, mut peer) = socket(&stage.handle);
    let mut file = File::from(rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
    let contents: Vec<u8> = (0..SIZE).map(|i| (i / 7) as u8).collect();
    file.write_all(&contents).unwrap();
    file.rewind().unwrap();
    peer.set_nonblocking(true).unwrap();
    let received = Rc::new(std::cell::RefCell::new(Vec::new()));
    let (theirs, handle) = (received.clone(), stage.handle.clone());
    stage.handle.spawn(async move {
        let mut buffer = vec![0; 10_000];
        while theirs.borrow().len() < SIZE {
            handle.sleep(ms(1)).await;
            if let Ok(n) = peer.read(&mut buffer) {
                theirs.borrow_mut().extend_from_slice(&buffer[..n]);
            }
        }
        handle.stop();
    });
    stage.handle.spawn(async move {
        let mut offset = 0;
        while socket.sendfile(file.as_fd(), &mut offset, SIZE + 1000).await.unwrap() > 0 {}
        assert_eq!(offset, SIZE as u64);
    });
    stage.run();
    assert!(*received.borrow() == contents);
}

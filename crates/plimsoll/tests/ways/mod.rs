//! The ways to an application that are not HTTP: how a request by each is read, and an answer written.

use std::io;

use testkit::Wire;

/// Reads one request.
pub type Read = fn(&mut Wire) -> io::Result<Vec<u8>>;

/// The ways to an application, and how one request by it is read.
pub const WAYS: [(&str, Read); 3] = [("fastcgi", fastcgi), ("scgi", scgi), ("uwsgi", uwsgi)];

fn fastcgi(wire: &mut Wire) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let head = wire.read_exact(8)?;
        let length = usize::from(head[4]) << 8 | usize::from(head[5]);
        all.extend(wire.read_exact(length)?);
        wire.read_exact(head[6].into())?;
        if head[1] == 5 && length == 0 {
            return Ok(all);
        }
    }
}
fn scgi(wire: &mut Wire) -> io::Result<Vec<u8>> {
    let length = wire.read_through(b":")?;
    let length = String::from_utf8_lossy(&length).trim_end_matches(':').parse::<usize>();
    wire.read_exact(length.expect("a length") + 1)
}
fn uwsgi(wire: &mut Wire) -> io::Result<Vec<u8>> {
    let head = wire.read_exact(4)?;
    wire.read_exact(usize::from(head[1]) | usize::from(head[2]) << 8)
}
/// An answer as CGI programs make it, in the form of this way.
pub fn answer(way: &str, text: &str) -> Vec<u8> {
    match way {
        "fastcgi" => {
            let length = (text.len() as u16).to_be_bytes();
            let head = [1, 6, 0, 1, length[0], length[1], 0, 0];
            let end = [1, 3, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            [&head[..], text.as_bytes(), &end].concat()
        }
        _ => text.into(),
    }
}

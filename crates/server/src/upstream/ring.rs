//! Where a key belongs: nginx's hashes of keys, and its ring of points for `hash .. consistent`.

use std::collections::HashMap;

/// The points of a group's servers, 160 for each unit of weight (ketama, as Cache::Memcached::Fast has it).
#[derive(Debug, Default)]
pub(super) struct Ring {
    /// Hashes, each with the number of its server.
    points: Vec<(u32, u32)>,
    /// The slots of each server: several addresses of one share its points.
    places: Vec<Vec<u32>>,
}

/// Points for each unit of weight.
const POINTS: u32 = 160;

impl Ring {
    /// The ring of the servers of these slots, each as the configuration writes it, with its weight.
    pub fn new<'a>(slots: impl Iterator<Item = (&'a str, u32)>) -> Ring {
        let (mut points, mut places) = (Vec::new(), Vec::<Vec<u32>>::new());
        let mut numbers = HashMap::new();
        for (place, (server, weight)) in (0..).zip(slots) {
            let number = *numbers.entry(server).or_insert(places.len());
            if number == places.len() {
                places.push(Vec::new());
            }
            places[number].push(place);
            put_points(&mut points, server, weight, number as u32);
        }
        // Equal points are the first server's.
        points.sort_by_key(|(hash, _)| *hash);
        points.dedup_by_key(|(hash, _)| *hash);
        Ring { points, places }
    }
    /// The number of the first point that is not before `hash`; it may be one behind the last.
    pub fn find(&self, hash: u32) -> u32 {
        self.points.partition_point(|(point, _)| *point < hash) as u32
    }
    /// The places of the slots of the server at a point, in order; after the last point comes the first.
    pub fn places(&self, point: u32) -> &[u32] {
        let server = (point as usize).checked_rem(self.points.len()).map(|i| self.points[i].1);
        server.and_then(|server| self.places.get(server as usize)).map_or(&[], Vec::as_slice)
    }
}

fn put_points(points: &mut Vec<(u32, u32)>, server: &str, weight: u32, number: u32) {
    let (host, port) = host_and_port(server);
    let base = update(update(update(START, host.as_bytes()), &[0]), port.as_bytes());
    let mut before = 0_u32;
    for _ in 0..weight.saturating_mul(POINTS) {
        before = !update(base, &before.to_le_bytes());
        points.push((before, number));
    }
}

/// What nginx hashes of a server: a socket's path without `unix:`, a port only if it is written.
fn host_and_port(server: &str) -> (&str, &str) {
    if server.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("unix:")) {
        return (&server[5..], "");
    }
    match server.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (host, port),
        _ => (server, ""),
    }
}

/// nginx's `hash` without `consistent`: compatible with Cache::Memcached.
pub(super) fn memcached(key: &[u8], again: u32) -> u32 {
    let mut crc = START;
    if again > 0 {
        let mut digits = Vec::with_capacity(10);
        wire::push_decimal(&mut digits, again.into());
        crc = update(crc, &digits);
    }
    (!update(crc, key) >> 16) & 0x7fff
}

/// CRC-32 of IEEE 802.3.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    !update(START, bytes)
}

const START: u32 = u32::MAX;

fn update(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, byte| TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

static TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let (mut value, mut bit) = (i as u32, 0);
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ 0xedb8_8320 } else { value >> 1 };
            bit += 1;
        }
        table[i] = value;
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
        assert_eq!(memcached(b"123456789", 0), (0xcbf4_3926 >> 16) & 0x7fff);
    }

    #[test]
    fn ports_are_told_from_hosts() {
        assert_eq!(host_and_port("a:80"), ("a", "80"));
        assert_eq!(host_and_port("a"), ("a", ""));
        assert_eq!(host_and_port("[::1]:8080"), ("[::1]", "8080"));
        assert_eq!(host_and_port("UNIX:/tmp/a:80"), ("/tmp/a:80", ""));
    }

    #[test]
    fn a_server_less_moves_few_keys() {
        let servers: Vec<String> = (0..5).map(|i| format!("10.0.0.{i}:80")).collect();
        let all = Ring::new(servers.iter().map(|server| (server.as_str(), 1)));
        let fewer = Ring::new(servers[1..].iter().map(|server| (server.as_str(), 1)));
        let mut moved = 0;
        for i in 0..2000 {
            let hash = crc32(format!("key {i}").as_bytes());
            let (before, after) = (all.places(all.find(hash)), fewer.places(fewer.find(hash)));
            if before != [after[0] + 1] {
                assert_eq!(before, [0], "only the keys of the server that went");
                moved += 1;
            }
        }
        assert!((200..600).contains(&moved), "{moved} of 2000");
    }
}

//! A film's boxes: which there are, and how they look when a part is cut out of it.

use std::io;
use std::ops::Range;

use super::boxes::{Clock, Header, Inside, More};
use super::tables::{Fault, Offsets, Span, Table, put_box, u32_at};
use super::track::{Sizes, Track};

/// Reads the file at a place.
pub type Read<'a> = dyn Fn(u64, &mut [u8]) -> io::Result<()> + 'a;

/// How much memory it may take.
pub struct Limits {
    /// For the `moov` box.
    pub moov: u64,
}

/// What to send.
#[derive(Debug)]
pub enum Cut {
    /// The file as it is.
    Whole,
    /// New boxes, and a part of the file behind them.
    Part {
        /// The new boxes.
        head: Vec<u8>,
        /// Where in the file the part is.
        data: Range<u64>,
    },
}

/// Cuts a part out of a file of `size` bytes.
pub fn cut(read: &Read<'_>, size: u64, span: Span, limits: &Limits) -> Result<Cut, Fault> {
    let mut film = Film { span, size, ..Film::default() };
    if film.scan(read, limits)? {
        return Ok(Cut::Whole);
    }
    film.finish()
}

/// The boxes that are looked into.
#[derive(Clone, Copy)]
enum Level {
    Movie,
    Track,
    Media,
    Info,
    Tables,
}

/// As read.
struct Film {
    span: Span,
    size: u64,
    kind: Option<Vec<u8>>,
    movie: bool,
    header: Option<Vec<u8>>,
    timescale: u64,
    tracks: Vec<Track>,
    data_end: Option<u64>,
}
impl Default for Film {
    fn default() -> Film {
        let span = Span { start: 0, length: 0, key_frame: false };
        let (kind, header, tracks, data_end) = (None, None, Vec::new(), None);
        Film { span, size: 0, kind, movie: false, header, timescale: 0, tracks, data_end }
    }
}

/// What is said of a track that has nothing in the part.
enum Stop {
    Skip,
    Fault(Fault),
}
impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Fault(fault)
    }
}

impl Film {
    /// Reads the boxes of the file; `true`: it can be sent as it is.
    fn scan(&mut self, read: &Read<'_>, limits: &Limits) -> Result<bool, Fault> {
        let mut at = 0;
        while at < self.size {
            let mut bytes = [0; 16];
            let some = (self.size - at).min(16) as usize;
            read(at, &mut bytes[..some]).map_err(Fault::Read)?;
            let Some(found) = Header::read(&bytes[..some], self.size - at)? else { break };
            let start = at + found.header;
            let data = |most, more| found.data(read, (start, self.size), most, more);
            at += found.size;
            match &found.name {
                b"ftyp" => {
                    let (mut data, length) = data(1024, "")?;
                    data.truncate(length);
                    set(&mut self.kind, "ftyp", data)?;
                }
                b"moov" => {
                    let whole = self.span.start == 0 && self.span.length == 0;
                    if whole && self.data_end.is_none() {
                        return Ok(true);
                    }
                    if std::mem::replace(&mut self.movie, true) {
                        return Err(duplicate("moov"));
                    }
                    let (data, length) = data(limits.moov, ", you may want to increase mp4_max_buffer_size")?;
                    let walked = self.walk(Level::Movie, Inside { bytes: &data, length });
                    let more = walked.map_err(|stop| match stop {
                        Stop::Fault(fault) => fault,
                        Stop::Skip => Fault::within("no mp4 trak atoms were found"),
                    })?;
                    if self.data_end.is_some() || more == More::No {
                        break;
                    }
                }
                b"mdat" => {
                    if self.data_end.replace(at).is_some() {
                        return Err(duplicate("mdat"));
                    }
                    if !self.tracks.is_empty() {
                        break;
                    }
                }
                _ => {}
            }
        }
        Ok(false)
    }

    /// Reads the boxes within a box.
    fn walk(&mut self, level: Level, inside: Inside<'_>) -> Result<More, Stop> {
        let Inside { mut bytes, length } = inside;
        let end = bytes.len() - length;
        while bytes.len() > end {
            let room = bytes.len() - end;
            let Some(found) = Header::read(bytes, room as u64)? else { return Ok(More::No) };
            let (header, size) = (found.header as usize, found.size as usize);
            let inside = Inside { bytes: &bytes[header..], length: size - header };
            let more = match level {
                Level::Movie => self.movie_box(&found.name, inside)?,
                Level::Track => self.track_box(&found.name, inside)?,
                Level::Media => self.media_box(&found.name, inside)?,
                Level::Info => self.info_box(&found.name, inside)?,
                Level::Tables => self.table_box(&found.name, inside.data()).map(|()| More::Yes)?,
            };
            if more == More::No {
                return Ok(more);
            }
            bytes = &bytes[size..];
        }
        Ok(More::Yes)
    }

    fn movie_box(&mut self, name: &[u8; 4], inside: Inside<'_>) -> Result<More, Fault> {
        let data = inside.data();
        match name {
            b"mvhd" => {
                let mut data = data.to_vec();
                let clock = Clock::read("mvhd", &data, 16, 100)?;
                let timescale = u64::from(u32_at(&data, clock.at - 4).unwrap_or(0));
                let start = self.span.start.saturating_mul(timescale) / 1000;
                if clock.duration < start {
                    return Err(Fault::Of("start time exceeds file duration".into()));
                }
                clock.set(&mut data, self.left(clock.duration - start, timescale));
                self.timescale = timescale;
                set(&mut self.header, "mvhd", data)?;
            }
            b"trak" => {
                self.tracks.push(Track::default());
                match self.walk(Level::Track, inside) {
                    Err(Stop::Fault(fault)) => return Err(fault),
                    Err(Stop::Skip) => drop(self.tracks.pop()),
                    Ok(more) => return Ok(more),
                }
            }
            b"cmov" => return Err(Fault::Of("compressed moov atom (cmov) is not supported".into())),
            _ => {}
        }
        Ok(More::Yes)
    }

    fn track_box(&mut self, name: &[u8; 4], inside: Inside<'_>) -> Result<More, Stop> {
        let data = inside.data();
        let timescale = self.timescale;
        match name {
            b"tkhd" => {
                let clock = Clock::read("tkhd", data, 20, 84)?;
                let (data, duration) = self.shortened(data, &clock, timescale)?;
                let track = self.track()?;
                track.movie_duration = duration;
                set(&mut track.header, "tkhd", data)?;
            }
            b"mdia" => {
                once(&mut self.track()?.has_media, "mdia")?;
                return self.walk(Level::Media, inside);
            }
            _ => {}
        }
        Ok(More::Yes)
    }

    fn media_box(&mut self, name: &[u8; 4], inside: Inside<'_>) -> Result<More, Stop> {
        let data = inside.data();
        match name {
            b"mdhd" => {
                let clock = Clock::read("mdhd", data, 16, 24)?;
                let timescale = u64::from(u32_at(data, clock.at - 4).unwrap_or(0));
                let (data, duration) = self.shortened(data, &clock, timescale)?;
                let track = self.track()?;
                (track.timescale, track.duration) = (timescale, duration);
                set(&mut track.media_header, "mdhd", data)?;
            }
            b"hdlr" => set(&mut self.track()?.handler, "hdlr", data.to_vec())?,
            b"minf" => {
                once(&mut self.track()?.has_info, "minf")?;
                return self.walk(Level::Info, inside);
            }
            _ => {}
        }
        Ok(More::Yes)
    }

    fn info_box(&mut self, name: &[u8; 4], inside: Inside<'_>) -> Result<More, Stop> {
        let data = inside.data();
        let track = self.track()?;
        let shown = track.video.is_some() || track.sound.is_some();
        match name {
            b"vmhd" | b"smhd" if shown => return Err(duplicate("vmhd/smhd").into()),
            b"vmhd" => set(&mut track.video, "vmhd", data.to_vec())?,
            b"smhd" => set(&mut track.sound, "smhd", data.to_vec())?,
            b"dinf" => set(&mut track.data_info, "dinf", data.to_vec())?,
            b"stbl" => {
                once(&mut track.has_tables, "stbl")?;
                return self.walk(Level::Tables, inside);
            }
            _ => {}
        }
        Ok(More::Yes)
    }

    fn table_box(&mut self, name: &[u8; 4], data: &[u8]) -> Result<(), Fault> {
        let track = self.track()?;
        match name {
            b"stsd" if data.len() < 16 => Err(Fault::small("stsd")),
            b"stsd" => set(&mut track.descriptions, "stsd", data.to_vec()),
            b"stts" => set(&mut track.times, "stts", Table::read("stts", data, 4)?),
            b"stss" => set(&mut track.key_frames, "stss", Table::read("stss", data, 4)?),
            b"ctts" => set(&mut track.compositions, "ctts", Table::read("ctts", data, 4)?),
            b"stsc" => set(&mut track.chunks, "stsc", Table::read("stsc", data, 4)?),
            b"stsz" => {
                let sizes = match u32_at(data, 4) {
                    Some(0) => Sizes::Each(Table::read("stsz", data, 8)?),
                    Some(_) if data.len() >= 12 => Sizes::Uniform(data.to_vec()),
                    _ => return Err(Fault::small("stsz")),
                };
                set(&mut track.sizes, "stsz", sizes)
            }
            b"stco" | b"co64" => set(&mut track.offsets, "stco/co64", Offsets::read(name == b"co64", data)?),
            _ => Ok(()),
        }
    }

    fn track(&mut self) -> Result<&mut Track, Fault> {
        self.tracks.last_mut().ok_or_else(|| Fault::within("no mp4 trak atoms were found"))
    }

    /// A box with what is left of its duration; a track that is over by then is left out.
    fn shortened(&self, data: &[u8], clock: &Clock, timescale: u64) -> Result<(Vec<u8>, u64), Stop> {
        let start = self.span.start.saturating_mul(timescale) / 1000;
        let rest = clock.duration.checked_sub(start).filter(|rest| *rest > 0).ok_or(Stop::Skip)?;
        let duration = self.left(rest, timescale);
        let mut data = data.to_vec();
        clock.set(&mut data, duration);
        Ok((data, duration))
    }
    fn left(&self, rest: u64, timescale: u64) -> u64 {
        match self.span.length {
            0 => rest,
            length => rest.min(length.saturating_mul(timescale) / 1000),
        }
    }

    /// Cuts all tracks, and puts the new file together.
    fn finish(mut self) -> Result<Cut, Fault> {
        if self.tracks.is_empty() {
            return Err(Fault::within("no mp4 trak atoms were found"));
        }
        let data_end = self.data_end.ok_or_else(|| Fault::within("no mp4 mdat atom was found"))?;
        for track in &mut self.tracks {
            track.cut(&self.span, self.size, data_end)?;
            let duration = track.duration;
            if let Some(data) = &mut track.media_header {
                Clock::read("mdhd", data, 16, 24)?.set(data, duration);
            }
        }
        let start = self.tracks.iter().map(|track| track.start_offset).fold(self.size, u64::min);
        let end = self.tracks.iter().map(|track| track.end_offset).fold(0, u64::max);
        if end <= start {
            return Err(Fault::within("no data between start time and end time"));
        }
        if start >= data_end {
            return Err(Fault::within("start time is out mp4 mdat atom"));
        }
        // How far the data moves depends on the size of what stands before it, which does not depend on that.
        let moved = self.put(0, end - start).len() as i64 - start as i64;
        Ok(Cut::Part { head: self.put(moved, end - start), data: start..end })
    }

    fn put(&self, by: i64, length: u64) -> Vec<u8> {
        let tables: usize = self.tracks.iter().filter_map(|track| Some(track.offsets.as_ref()?.size())).sum();
        let mut out = Vec::with_capacity(4096 + tables);
        if let Some(kind) = &self.kind {
            put_box(b"ftyp", &mut out, |out| out.extend_from_slice(kind));
        }
        put_box(b"moov", &mut out, |out| {
            if let Some(header) = &self.header {
                put_box(b"mvhd", out, |out| out.extend_from_slice(header));
            }
            self.tracks.iter().for_each(|track| track.put(by, out));
        });
        match u32::try_from(length.saturating_add(8)) {
            Ok(size) => {
                out.extend_from_slice(&size.to_be_bytes());
                out.extend_from_slice(b"mdat");
            }
            Err(_) => {
                out.extend_from_slice(b"\0\0\0\x01mdat");
                out.extend_from_slice(&length.saturating_add(16).to_be_bytes());
            }
        }
        out
    }
}

fn duplicate(name: &str) -> Fault {
    Fault::In(format!("duplicate mp4 {name} atom"))
}
/// Fills in what may be there once.
fn set<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), Fault> {
    match place.replace(value) {
        Some(_) => Err(duplicate(name)),
        None => Ok(()),
    }
}
fn once(place: &mut bool, name: &str) -> Result<(), Fault> {
    match std::mem::replace(place, true) {
        true => Err(duplicate(name)),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers(numbers: &[u32]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
    }
    fn boxed(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_box(name, &mut out, |out| out.extend_from_slice(data));
        out
    }
    /// Ten samples of a second in chunks of three.
    fn film() -> Vec<u8> {
        let tables = [
            boxed(b"stsd", &[0; 16]),
            boxed(b"stts", &numbers(&[0, 2, 4, 1000, 6, 1000])),
            boxed(b"stss", &numbers(&[0, 2, 1, 5])),
            boxed(b"stsc", &numbers(&[0, 2, 1, 3, 1, 4, 1, 1])),
            boxed(b"stsz", &numbers(&[0, 0, 10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])),
            boxed(b"stco", &numbers(&[0, 4, 8, 14, 29, 53])),
        ];
        let mut clock = numbers(&[0, 0, 0, 1000, 10_000]);
        clock.resize(100, 0);
        let header = boxed(b"tkhd", &[&numbers(&[0, 0, 0, 1, 0, 10_000])[..], &[0; 60]].concat());
        let info = boxed(b"minf", &boxed(b"stbl", &tables.concat()));
        let media = boxed(b"mdia", &[boxed(b"mdhd", &clock[..24]), info].concat());
        let track = boxed(b"trak", &[header, media].concat());
        let movie = boxed(b"moov", &[boxed(b"mvhd", &clock), track].concat());
        [boxed(b"mdat", &[7; 55]), movie].concat()
    }
    fn try_cut(film: &[u8], span: Span) -> Result<Cut, Fault> {
        let read = |at: u64, into: &mut [u8]| {
            let from = film.get(at as usize..at as usize + into.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            into.copy_from_slice(from);
            Ok(())
        };
        cut(&read, film.len() as u64, span, &Limits { moov: 1 << 20 })
    }

    #[test]
    fn a_part_begins_and_ends_within_chunks() {
        let span = Span { start: 4000, length: 3000, key_frame: false };
        let Ok(Cut::Part { data, .. }) = try_cut(&film(), span) else { panic!("no part") };
        assert_eq!(data, 14 + 4..29 + 7);
    }

    proptest! {
        #[test]
        fn no_film_does_harm(
            changes in prop::collection::vec((0_usize..700, any::<u8>()), 0..4),
            (start, length, key_frame) in (0_u64..12_000, 0_u64..12_000, any::<bool>()),
        ) {
            let mut film = film();
            for (at, byte) in changes {
                if let Some(place) = film.get_mut(at) {
                    *place = byte;
                }
            }
            if let Ok(Cut::Part { head, data }) = try_cut(&film, Span { start, length, key_frame }) {
                prop_assert!(data.start < data.end && data.end <= film.len() as u64);
                // What was cut is a film again.
                let whole = [&head[..], &film[data.start as usize..data.end as usize]].concat();
                let _ = try_cut(&whole, Span { start: 1000, length: 1000, key_frame });
            }
        }
    }
}

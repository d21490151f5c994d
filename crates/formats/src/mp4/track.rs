//! One track of a film: what of its tables is in the part that is asked for.

use super::tables::{Fault, Offsets, Span, Table, put_box};

/// As read, and then as cut.
#[derive(Default)]
pub(super) struct Track {
    /// Boxes that are passed on whole, but for the durations in the first two.
    pub(super) header: Option<Vec<u8>>,
    pub(super) media_header: Option<Vec<u8>>,
    pub(super) handler: Option<Vec<u8>>,
    pub(super) video: Option<Vec<u8>>,
    pub(super) sound: Option<Vec<u8>>,
    pub(super) data_info: Option<Vec<u8>>,
    pub(super) descriptions: Option<Vec<u8>>,
    pub(super) has_media: bool,
    pub(super) has_info: bool,
    pub(super) has_tables: bool,
    /// Duration in the film's time, and in the track's own.
    pub(super) movie_duration: u64,
    pub(super) duration: u64,
    pub(super) timescale: u64,
    /// How much of it is before the time asked for.
    pub(super) prefix: u64,
    pub(super) times: Option<Table<2>>,
    pub(super) key_frames: Option<Table<1>>,
    pub(super) compositions: Option<Table<2>>,
    pub(super) chunks: Option<Table<3>>,
    pub(super) sizes: Option<Sizes>,
    pub(super) offsets: Option<Offsets>,
    first: Edge,
    last: Edge,
    /// Where its samples are in the file.
    pub(super) start_offset: u64,
    pub(super) end_offset: u64,
}

/// The sizes of the samples.
pub(super) enum Sizes {
    /// All the same: passed on as it is.
    Uniform(Vec<u8>),
    Each(Table<1>),
}

/// One end of the part: samples and chunks before it, and the samples of the chunk that it cuts.
#[derive(Default)]
struct Edge {
    sample: u64,
    chunk: u64,
    chunk_samples: u64,
    size: u64,
}

impl Track {
    /// Cuts its tables. The file has `file_end` bytes, those of samples end at `data_end`.
    pub(super) fn cut(&mut self, span: &Span, file_end: u64, data_end: u64) -> Result<(), Fault> {
        self.cut_times(span)?;
        self.cut_key_frames(span);
        self.cut_compositions(span);
        self.cut_chunks(span)?;
        self.cut_sizes(span, file_end)?;
        self.cut_offsets(span, file_end, data_end)
    }

    fn cut_times(&mut self, span: &Span) -> Result<(), Fault> {
        let Some(mut times) = self.times.take() else {
            return Err(Fault::within("no mp4 stts atoms were found"));
        };
        let Some((at, rest)) = seek(&times.rows, span.start.saturating_mul(self.timescale) / 1000) else {
            return Err(Fault::within("start time is out mp4 stts samples"));
        };
        let back = self.key_frame_before(before_row(&times.rows, at) + rest, span)?;
        let (at, rest) = self.step_back(&times.rows, at, rest, back)?;
        self.first.sample = before_row(&times.rows, at) + rest;
        self.duration = self.duration.saturating_add(self.prefix);
        times.rows[at][0] = u64::from(times.rows[at][0]).saturating_sub(rest) as u32;
        times.rows.drain(..at);
        if span.length > 0 {
            let end = (span.length.saturating_mul(self.timescale) / 1000).saturating_add(self.prefix);
            let found = seek(&times.rows, end);
            let rows = found.map_or(times.rows.len(), |(at, _)| at);
            self.last.sample = self.first.sample + before_row(&times.rows, rows);
            if let Some((at, rest)) = found {
                self.last.sample += rest;
                times.rows[at][0] = rest as u32;
                times.rows.truncate(at + 1);
            }
        }
        self.times = Some(times);
        Ok(())
    }

    /// How many samples before this one the last key frame is.
    fn key_frame_before(&self, sample: u64, span: &Span) -> Result<u64, Fault> {
        let Some(table) = self.key_frames.as_ref().filter(|_| span.key_frame) else { return Ok(0) };
        let mut back = 0;
        for [key] in &table.rows {
            match u64::from(*key) {
                0 => return Err(Fault::within("zero sync sample")),
                key if key > sample + 1 => break,
                key => back = sample + 1 - key,
            }
        }
        Ok(back)
    }

    /// The row and the sample in it `back` samples before, whose time is counted in `prefix`.
    fn step_back(
        &mut self,
        rows: &[[u32; 2]],
        at: usize,
        rest: u64,
        back: u64,
    ) -> Result<(usize, u64), Fault> {
        let (mut at, mut rest, mut back) = (at, rest, back);
        while rest < back {
            self.prefix = self.prefix.saturating_add(rest * u64::from(rows[at][1]));
            back -= rest;
            at = at.checked_sub(1).ok_or_else(|| Fault::within("start time is out mp4 stts samples"))?;
            rest = u64::from(rows[at][0]);
        }
        self.prefix = self.prefix.saturating_add(back * u64::from(rows[at][1]));
        Ok((at, rest - back))
    }

    fn cut_key_frames(&mut self, span: &Span) {
        let Some(Table { rows, .. }) = &mut self.key_frames else { return };
        let until = |rows: &[[u32; 1]], edge: &Edge| {
            rows.iter().position(|[sample]| u64::from(*sample) > edge.sample).unwrap_or(rows.len())
        };
        rows.drain(..until(rows, &self.first));
        if span.length > 0 {
            rows.truncate(until(rows, &self.last));
        }
        for [sample] in rows {
            *sample = sample.wrapping_sub(self.first.sample as u32);
        }
    }

    fn cut_compositions(&mut self, span: &Span) {
        let Some(Table { rows, .. }) = &mut self.compositions else { return };
        let find = |rows: &[[u32; 2]], sample: u64| {
            let mut rest = sample;
            for (at, [count, _]) in rows.iter().enumerate() {
                match rest.checked_sub(u64::from(*count)) {
                    None => return Some((at, rest)),
                    Some(left) => rest = left,
                }
            }
            None
        };
        match find(rows, self.first.sample) {
            None => rows.clear(),
            Some((at, rest)) => {
                rows[at][0] -= rest as u32;
                rows.drain(..at);
            }
        }
        if span.length > 0
            && let Some((at, rest)) = find(rows, self.last.sample - self.first.sample)
        {
            rows[at][0] = rest as u32;
            rows.truncate(at + 1);
        }
        if rows.is_empty() {
            self.compositions = None;
        }
    }

    fn cut_chunks(&mut self, span: &Span) -> Result<(), Fault> {
        let Some(mut table) = self.chunks.take() else {
            return Err(Fault::within("no mp4 stsc atoms were found"));
        };
        if table.rows.is_empty() {
            return Err(Fault::within("zero number of entries in stsc atom"));
        }
        let mut head = self.cut_first_chunk(&mut table.rows)?;
        let tail = match span.length {
            0 => None,
            _ => self.cut_last_chunk(&mut table.rows, head.as_mut())?,
        };
        for row in &mut table.rows {
            row[0] = row[0].wrapping_sub(self.first.chunk as u32);
        }
        table.rows.splice(..0, head);
        table.rows.extend(tail);
        self.chunks = Some(table);
        Ok(())
    }

    /// Drops the chunks before the first sample; what is left of a chunk that it is within needs a row of its own.
    fn cut_first_chunk(&mut self, rows: &mut Vec<[u32; 3]>) -> Result<Option<[u32; 3]>, Fault> {
        let run = self.find_run(rows, self.first.sample, "start")?;
        let rest = run.samples - run.cut;
        rows.drain(..run.at);
        self.first.chunk = run.chunk;
        self.first.chunk_samples = run.cut;
        rows[0][0] = (run.chunk + 1) as u32;
        if run.cut == 0 {
            return Ok(None);
        }
        if run.next == run.chunk + 2 {
            rows[0][1] = rest as u32;
            return Ok(None);
        }
        rows[0][0] = (run.chunk + 2) as u32;
        Ok(Some([1, rest as u32, rows[0][2]]))
    }

    /// Drops the chunks behind the last sample, likewise.
    fn cut_last_chunk(
        &mut self,
        rows: &mut Vec<[u32; 3]>,
        head: Option<&mut [u32; 3]>,
    ) -> Result<Option<[u32; 3]>, Fault> {
        let mut sample = self.last.sample - self.first.sample;
        if let Some(row) = head {
            row[1] = u64::from(row[1]).min(sample) as u32;
            sample -= u64::from(row[1]);
        }
        let run = self.find_run(rows, sample, "end")?;
        let id = rows[run.at][2];
        self.last.chunk_samples = if run.within > 0 { run.samples } else { run.before };
        rows.truncate(run.at + usize::from(run.within > 0));
        self.last.chunk = run.chunk;
        if run.cut == 0 {
            return Ok(None);
        }
        self.last.chunk += 1;
        self.last.chunk_samples = run.cut;
        if run.chunk + 1 == run.first {
            rows[run.at][1] = run.cut as u32;
            return Ok(None);
        }
        let chunk = self.last.chunk.wrapping_sub(self.first.chunk);
        Ok(Some([chunk as u32, run.cut as u32, id]))
    }

    /// The run of like chunks that a sample is in.
    fn find_run(&self, rows: &[[u32; 3]], sample: u64, which: &str) -> Result<Run, Fault> {
        let chunks = self.offsets.as_ref().map_or(0, |offsets| offsets.rows.len() as u64);
        let (mut sample, mut before) = (sample, 0);
        for (at, [first, samples, _]) in rows.iter().enumerate() {
            let (first, samples) = (u64::from(*first), u64::from(*samples));
            let next = rows.get(at + 1).map_or(chunks + 1, |row| u64::from(row[0]));
            let is_last = at + 1 == rows.len();
            let length = next.checked_sub(first).ok_or_else(|| Fault::within("unordered mp4 stsc chunks"))?;
            let all = length * samples;
            if sample < all || (is_last && sample == all) {
                return Run::new(at, first, next, samples, sample, before);
            }
            if is_last {
                break;
            }
            sample -= all;
            if length > 0 {
                before = samples;
            }
        }
        Err(Fault::In(format!("{which} time is out mp4 stsc chunks")))
    }

    fn cut_sizes(&mut self, span: &Span, file_end: u64) -> Result<(), Fault> {
        let Some(Sizes::Each(table)) = &mut self.sizes else { return Ok(()) };
        let total = table.rows.len() as u64;
        if self.first.sample >= total {
            return Err(Fault::within("start time is out mp4 stsz samples"));
        }
        let sum = |edge: &Edge, which: &str| {
            let from = edge.sample.checked_sub(edge.chunk_samples);
            let cut = from.and_then(|from| table.rows.get(from as usize..edge.sample as usize));
            let size = cut.map(|rows| rows.iter().flatten().map(|size| u64::from(*size)).sum());
            let size = size.filter(|size| *size <= file_end);
            size.ok_or_else(|| Fault::In(format!("too large mp4 {which} samples size")))
        };
        self.first.size = sum(&self.first, "start")?;
        if span.length > 0 {
            if self.last.sample > total {
                return Err(Fault::within("end time is out mp4 stsz samples"));
            }
            self.last.size = sum(&self.last, "end")?;
            table.rows.truncate(self.last.sample as usize);
        }
        table.rows.drain(..self.first.sample as usize);
        Ok(())
    }

    fn cut_offsets(&mut self, span: &Span, file_end: u64, data_end: u64) -> Result<(), Fault> {
        let Some(table) = &mut self.offsets else {
            return Err(Fault::within("no mp4 stco atoms were found"));
        };
        let (name, wide) = (table.name(), table.wide);
        let place = |offset: u64, size: u64| {
            let place = offset.checked_add(size).filter(|place| *place <= file_end);
            let place = place.filter(|place| wide || u32::try_from(*place).is_ok());
            place.ok_or_else(|| Fault::within("too large chunk offset"))
        };
        let chunks = table.rows.len() as u64;
        if self.first.chunk >= chunks {
            return Err(Fault::In(format!("start time is out mp4 {name} chunks")));
        }
        if span.length > 0 {
            if self.last.chunk > chunks || self.last.chunk < self.first.chunk {
                return Err(Fault::In(format!("end time is out mp4 {name} chunks")));
            }
            table.rows.truncate(self.last.chunk as usize);
        }
        table.rows.drain(..self.first.chunk as usize);
        // A track of which nothing is left says nothing of where the data is.
        (self.start_offset, self.end_offset) = (file_end, 0);
        if let Some(first) = table.rows.first_mut() {
            *first = place(*first, self.first.size)?;
            self.start_offset = *first;
            self.end_offset = data_end;
        }
        if let Some(last) = table.rows.last().filter(|_| span.length > 0) {
            self.end_offset = place(*last, self.last.size)?;
        }
        Ok(())
    }

    /// Appends it, every place moved by `by`.
    pub(super) fn put(&self, by: i64, out: &mut Vec<u8>) {
        let put = |name: &[u8; 4], data: &Option<Vec<u8>>, out: &mut Vec<u8>| {
            if let Some(data) = data {
                put_box(name, out, |out| out.extend_from_slice(data));
            }
        };
        put_box(b"trak", out, |out| {
            put(b"tkhd", &self.header, out);
            self.put_edit(out);
            put_box(b"mdia", out, |out| {
                put(b"mdhd", &self.media_header, out);
                put(b"hdlr", &self.handler, out);
                put_box(b"minf", out, |out| {
                    put(b"vmhd", &self.video, out);
                    put(b"smhd", &self.sound, out);
                    put(b"dinf", &self.data_info, out);
                    put_box(b"stbl", out, |out| {
                        put(b"stsd", &self.descriptions, out);
                        self.put_tables(by, out);
                    });
                });
            });
        });
    }

    /// Tells players not to show what is before the time asked for.
    fn put_edit(&self, out: &mut Vec<u8>) {
        if self.prefix == 0 {
            return;
        }
        put_box(b"edts", out, |out| {
            put_box(b"elst", out, |out| {
                out.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 1]);
                out.extend_from_slice(&self.movie_duration.to_be_bytes());
                out.extend_from_slice(&self.prefix.to_be_bytes());
                out.extend_from_slice(&[0, 1, 0, 0]);
            });
        });
    }

    fn put_tables(&self, by: i64, out: &mut Vec<u8>) {
        if let Some(table) = &self.times {
            table.put(b"stts", out);
        }
        if let Some(table) = &self.key_frames {
            table.put(b"stss", out);
        }
        if let Some(table) = &self.compositions {
            table.put(b"ctts", out);
        }
        if let Some(table) = &self.chunks {
            table.put(b"stsc", out);
        }
        match &self.sizes {
            Some(Sizes::Each(table)) => table.put(b"stsz", out),
            Some(Sizes::Uniform(data)) => put_box(b"stsz", out, |out| out.extend_from_slice(data)),
            None => {}
        }
        if let Some(table) = &self.offsets {
            table.put(by, out);
        }
    }
}

/// The samples before a row.
fn before_row(rows: &[[u32; 2]], at: usize) -> u64 {
    rows.iter().take(at).map(|[count, _]| u64::from(*count)).sum()
}

/// The row that a time is in, and the sample in it.
fn seek(rows: &[[u32; 2]], time: u64) -> Option<(usize, u64)> {
    let mut rest = time;
    for (at, [count, duration]) in rows.iter().enumerate() {
        let all = u64::from(*count) * u64::from(*duration);
        match rest.checked_sub(all) {
            None => return Some((at, rest / u64::from(*duration))),
            Some(left) => rest = left,
        }
    }
    None
}

/// A sample within a run of chunks that have the same number of samples each.
struct Run {
    at: usize,
    /// The first chunk of the run, and of the next, counted from 1.
    first: u64,
    next: u64,
    samples: u64,
    /// The sample, within the run; the chunk it is in, counted from 0; and the sample within that.
    within: u64,
    chunk: u64,
    cut: u64,
    /// How many samples the chunks before the run have.
    before: u64,
}
impl Run {
    fn new(at: usize, first: u64, next: u64, samples: u64, within: u64, before: u64) -> Result<Run, Fault> {
        if samples == 0 {
            return Err(Fault::within("zero number of samples"));
        }
        if first == 0 {
            return Err(Fault::within("zero chunk"));
        }
        let chunk = first - 1 + within / samples;
        Ok(Run { at, first, next, samples, within, chunk, cut: within % samples, before })
    }
}

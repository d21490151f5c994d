//! Settings, windows, what ends streams or all of them.

use super::{Client, Fault, MOST_ACKS, MOST_WINDOW, Taken, breach, number, unknown_stream};
use crate::frame::{FrameHead, HEAD, Kind, code, flag, setting};

impl Client {
    pub(super) fn settings(&mut self, head: FrameHead, payload: &[u8]) -> Taken {
        if head.stream != 0 {
            return of_a_stream("settings", head.stream);
        }
        let length = payload.len();
        if head.has(flag::ACK) {
            return match length {
                0 => Ok(()),
                _ => {
                    let what =
                        format!("upstream sent settings frame with ack flag and non-zero length: {length}");
                    breach(code::FRAME_SIZE_ERROR, what)
                }
            };
        }
        if !length.is_multiple_of(6) {
            return wrong_length("settings", length);
        }
        self.count(0, "upstream sent too many settings frames")?;
        // Who says nothing of it has no bound.
        self.most.get_or_insert(u32::MAX);
        for pair in payload.chunks_exact(6) {
            self.set(u16::from_be_bytes([pair[0], pair[1]]), number(&pair[2..]))?;
        }
        self.put(Kind::Settings, flag::ACK, 0, &[]);
        Ok(())
    }
    fn set(&mut self, id: u16, value: u32) -> Taken {
        match id {
            setting::HEADER_TABLE_SIZE => self.table_changed = true,
            setting::MAX_CONCURRENT_STREAMS => self.most = Some(value),
            setting::INITIAL_WINDOW_SIZE => {
                let by = i64::from(value) - self.initial;
                self.initial = value.into();
                let fits = |window: i64| window <= MOST_WINDOW;
                if !fits(self.initial) || !self.streams.iter().all(|stream| fits(stream.window + by)) {
                    let what =
                        format!("upstream sent settings frame with too large initial window size: {value}");
                    return breach(code::FLOW_CONTROL_ERROR, what);
                }
                for stream in &mut self.streams {
                    stream.window += by;
                    stream.wake();
                }
            }
            _ => {}
        }
        Ok(())
    }
    pub(super) fn ping(&mut self, head: FrameHead, payload: &[u8]) -> Taken {
        if head.stream != 0 {
            return of_a_stream("ping", head.stream);
        }
        if payload.len() != 8 {
            return wrong_length("ping", payload.len());
        }
        if head.has(flag::ACK) {
            return breach(code::PROTOCOL_ERROR, "upstream sent ping frame with ack flag");
        }
        self.count(1, "upstream sent too many ping frames")?;
        self.put(Kind::Ping, flag::ACK, 0, payload);
        Ok(())
    }
    /// What has to be answered must not be more than the server takes of answers.
    fn count(&mut self, which: usize, too_many: &str) -> Taken {
        if self.acks == [0; 2] {
            self.first_ack = self.out.len() + HEAD;
        }
        self.acks[which] += 1;
        match self.acks[which] > MOST_ACKS {
            true => breach(code::ENHANCE_YOUR_CALM, too_many),
            false => Ok(()),
        }
    }
    pub(super) fn goaway(&mut self, head: FrameHead, payload: &[u8]) -> Taken {
        if head.stream != 0 {
            return of_a_stream("goaway", head.stream);
        }
        let Some((last, rest)) = payload.split_at_checked(4).filter(|(_, rest)| rest.len() >= 4) else {
            return wrong_length("goaway", payload.len());
        };
        let (last, fault) = (number(last) & 0x7fff_ffff, Fault::Goodbye(number(rest)));
        self.worn = true;
        self.streams.iter_mut().filter(|stream| stream.id > last).for_each(|stream| stream.end(&fault));
        Ok(())
    }
    pub(super) fn reset(&mut self, head: FrameHead, payload: &[u8]) -> Taken {
        if head.stream == 0 {
            return unknown_stream(0);
        }
        if payload.len() != 4 {
            return wrong_length("rst stream", payload.len());
        }
        let Some(stream) = self.live(head.stream) else { return Ok(()) };
        let fault = match number(payload) {
            // All was said: the rest of the request is not wanted.
            code::NO_ERROR if stream.in_closed => {
                if std::mem::replace(&mut stream.was_reset, true) {
                    self.fail_closed(head.stream);
                    return Ok(());
                }
                stream.out_closed = true;
                stream.wake();
                return Ok(());
            }
            code::REFUSED_STREAM if !stream.answered => {
                self.worn = true;
                Fault::Refused(code::REFUSED_STREAM)
            }
            code => Fault::Reset(code),
        };
        if let Some(stream) = self.live(head.stream) {
            stream.fault = Some(fault);
            stream.out_closed = true;
            stream.wake();
        }
        Ok(())
    }
    pub(super) fn window_update(&mut self, head: FrameHead, payload: &[u8]) -> Taken {
        if payload.len() != 4 {
            return wrong_length("window update", payload.len());
        }
        let by = i64::from(number(payload) & 0x7fff_ffff);
        if by == 0 {
            return breach(code::PROTOCOL_ERROR, "upstream sent zero window update");
        }
        let window = match head.stream {
            0 => Some(&mut self.window),
            id => self.streams.iter_mut().find(|stream| stream.id == id).map(|stream| &mut stream.window),
        };
        let Some(window) = window else { return Ok(()) };
        *window += by;
        if *window > MOST_WINDOW {
            return breach(code::FLOW_CONTROL_ERROR, "upstream sent too large window update");
        }
        let woken = |id| head.stream == 0 || head.stream == id;
        self.streams.iter_mut().filter(|stream| woken(stream.id)).for_each(|stream| stream.wake());
        Ok(())
    }
}

fn of_a_stream(kind: &str, id: u32) -> Taken {
    breach(code::PROTOCOL_ERROR, format!("upstream sent {kind} frame with non-zero stream id: {id}"))
}
fn wrong_length(kind: &str, length: usize) -> Taken {
    breach(code::FRAME_SIZE_ERROR, format!("upstream sent {kind} frame with invalid length: {length}"))
}

//! Frames about the conversation itself: settings, windows, what ends or orders streams.

use frames::{FrameHead, Kind, code, flag, setting};

use super::{Intake, Taken, breach, number};
use crate::http2::conversation::{Conversation, FIRST_FRAME, FIRST_WINDOW, MOST_WINDOW};

impl Intake {
    pub(super) fn reset(&mut self, with: &Conversation, head: FrameHead, payload: &[u8]) -> Taken<()> {
        if payload.len() != 4 {
            let what = format!("client sent RST_STREAM frame with incorrect length {}", payload.len());
            return breach(code::FRAME_SIZE_ERROR, what);
        }
        if head.stream == 0 || head.stream > self.last && !self.leaving {
            return breach(code::PROTOCOL_ERROR, "client sent RST_STREAM frame with incorrect identifier");
        }
        if let Some(flow) = with.find(head.stream) {
            with.reset(&flow, number(payload));
        }
        Ok(())
    }
    pub(super) fn window_update(
        &mut self,
        with: &Conversation,
        head: FrameHead,
        payload: &[u8],
    ) -> Taken<()> {
        if payload.len() != 4 {
            let what = format!("client sent WINDOW_UPDATE frame with incorrect length {}", payload.len());
            return breach(code::FRAME_SIZE_ERROR, what);
        }
        let by = i64::from(number(payload) & 0x7fff_ffff);
        if by == 0 {
            let what = "client sent WINDOW_UPDATE frame with incorrect window increment 0";
            return breach(code::PROTOCOL_ERROR, what);
        }
        if head.stream == 0 {
            let window = with.window(None);
            return match with.widen(None, by) {
                true => Ok(()),
                false => breach(
                    code::FLOW_CONTROL_ERROR,
                    format!(
                        "client violated connection flow control: received WINDOW_UPDATE frame with \
                         window increment {by} not allowed for window {window}"
                    ),
                ),
            };
        }
        if head.stream > self.last && !self.leaving {
            return breach(code::PROTOCOL_ERROR, "client sent WINDOW_UPDATE frame with incorrect identifier");
        }
        let Some(flow) = with.find(head.stream) else { return Ok(()) };
        let (id, window) = (flow.id, with.window(Some(&flow)));
        if with.widen(Some(&flow), by) {
            return Ok(());
        }
        with.note(
            crate::log::Level::Info,
            format_args!(
                "client violated flow control for stream {id}: received WINDOW_UPDATE frame with \
                 window increment {by} not allowed for window {window}"
            ),
        );
        self.terminate(with, &flow, code::FLOW_CONTROL_ERROR)
    }
    pub(super) fn settings(&mut self, with: &Conversation, head: FrameHead, payload: &[u8]) -> Taken<()> {
        if head.stream != 0 {
            return breach(code::PROTOCOL_ERROR, "client sent SETTINGS frame with incorrect identifier");
        }
        if head.has(flag::ACK) {
            if !payload.is_empty() {
                let what = "client sent SETTINGS frame with the ACK flag and nonzero length";
                return breach(code::FRAME_SIZE_ERROR, what);
            }
            if !std::mem::replace(&mut self.acknowledged, true) {
                with.acknowledge(i64::from(self.bounds.preread) - FIRST_WINDOW);
            }
            return Ok(());
        }
        if !payload.len().is_multiple_of(6) {
            let what = format!("client sent SETTINGS frame with incorrect length {}", payload.len());
            return breach(code::FRAME_SIZE_ERROR, what);
        }
        for pair in payload.chunks_exact(6) {
            set(with, u16::from_be_bytes([pair[0], pair[1]]), number(&pair[2..]))?;
        }
        with.put_control(Kind::Settings, flag::ACK, 0, &[]);
        Ok(())
    }
}

impl Intake {
    /// Priorities are read, and of no consequence.
    pub(super) fn priority(&mut self, head: FrameHead, payload: &[u8]) -> Taken<()> {
        if payload.len() != 5 {
            let what = format!("client sent PRIORITY frame with incorrect length {}", payload.len());
            return breach(code::FRAME_SIZE_ERROR, what);
        }
        self.priorities = self.priorities.saturating_sub(1);
        if self.priorities == 0 {
            return breach(code::ENHANCE_YOUR_CALM, "client sent too many PRIORITY frames");
        }
        if head.stream == 0 {
            return breach(code::PROTOCOL_ERROR, "client sent PRIORITY frame with incorrect identifier");
        }
        if number(payload) & 0x7fff_ffff == head.stream {
            let stream = head.stream;
            let what = format!("client sent PRIORITY frame for stream {stream} with incorrect dependency");
            return breach(code::PROTOCOL_ERROR, what);
        }
        Ok(())
    }
}

fn set(with: &Conversation, id: u16, value: u32) -> Taken<()> {
    let wrong =
        |code, name| breach(code, format!("client sent SETTINGS frame with incorrect {name} value {value}"));
    match id {
        setting::HEADER_TABLE_SIZE => with.table_changed.set(true),
        setting::ENABLE_PUSH if value > 1 => return wrong(code::PROTOCOL_ERROR, "ENABLE_PUSH"),
        setting::INITIAL_WINDOW_SIZE => {
            let fits = i64::from(value) <= MOST_WINDOW && with.set_initial(value.into());
            if !fits {
                return wrong(code::FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE");
            }
        }
        setting::MAX_FRAME_SIZE => {
            if !(FIRST_FRAME as u32..1 << 24).contains(&value) {
                return wrong(code::PROTOCOL_ERROR, "MAX_FRAME_SIZE");
            }
            with.longest.set(value as usize);
        }
        _ => {}
    }
    Ok(())
}

pub(super) fn ping(with: &Conversation, head: FrameHead, payload: &[u8]) -> Taken<()> {
    if payload.len() != 8 {
        let what = format!("client sent PING frame with incorrect length {}", payload.len());
        return breach(code::FRAME_SIZE_ERROR, what);
    }
    if head.stream != 0 {
        return breach(code::PROTOCOL_ERROR, "client sent PING frame with incorrect identifier");
    }
    if !head.has(flag::ACK) {
        with.put_control(Kind::Ping, flag::ACK, 0, payload);
    }
    Ok(())
}

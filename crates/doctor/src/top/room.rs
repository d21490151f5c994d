//! How much room there is on the terminal, and what a line has of it.

/// Room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub columns: usize,
    pub rows: usize,
}

impl Size {
    /// Of what is no terminal.
    pub const PAPER: Size = Size { columns: 80, rows: usize::MAX };
}

/// How wide a line's parts are.
#[derive(Clone, Copy)]
pub struct Columns {
    /// The line.
    pub all: usize,
    /// A link's name.
    pub name: usize,
    /// Whether the peak is shown.
    pub peak: bool,
    /// What is inside a bar's edges; 0: there is none.
    pub bar: usize,
}

impl Columns {
    /// On so wide a terminal.
    pub fn of(all: usize) -> Columns {
        let all = all.min(160);
        let peak = all >= 72;
        let name = 25 + (all.saturating_sub(80) / 2).min(30) - 60_usize.saturating_sub(all).min(7);
        let numbers = if peak { 27 } else { 18 };
        // Behind a bar there is room for its edges and for who binds.
        let bar = all.saturating_sub(name + numbers + 12).min(40);
        Columns { all, name, peak, bar: if bar < 3 { 0 } else { bar } }
    }
    /// The figures of a link.
    pub fn numbers(self, now: &str, peak: &str, ceiling: &str) -> String {
        match self.peak {
            true => format!("{now:>9}{peak:>9}{ceiling:>9}"),
            false => format!("{now:>9}{ceiling:>9}"),
        }
    }
}

/// What a server says may end up on a terminal: nothing there but text.
pub fn cut(text: &str, width: usize) -> String {
    let plain = text.chars().map(|c| if c.is_control() { '?' } else { c });
    match text.chars().count() > width {
        true => plain.take(width.saturating_sub(1)).chain(['…']).collect(),
        false => plain.collect(),
    }
}

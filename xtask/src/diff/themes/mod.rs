//! Themes: what a case is about, as tables from which configurations and requests are drawn.
//!
//! A theme is added at the end of [`ALL`]: its place is part of what its seeds mean.

mod access;
mod cache;
mod files;
mod filters;
mod gateways;
mod includes;
mod limits;
mod redirects;
mod requests;
mod retry;

use super::dice::Dice;

/// Statements of which a block has at most one of each row.
pub type Rows = &'static [&'static [&'static str]];

/// What one field of nginx's needs to be met in all its ways.
pub struct Theme {
    /// What its seeds are called.
    pub name: &'static str,
    /// Statements of every `http {}`.
    pub http: &'static str,
    /// Statements of every `server {}`.
    pub server: &'static str,
    /// What may stand in `http`, `server` and `location` alike.
    pub anywhere: Rows,
    /// What may stand in a location only.
    pub location: Rows,
    /// What a location does.
    pub content: &'static [&'static str],
    /// Names of locations.
    pub names: &'static [&'static str],
    /// Targets of requests.
    pub targets: &'static [&'static str],
    /// Header lines of requests.
    pub fields: &'static [&'static str],
    /// Methods of requests; where there are none, the usual ones.
    pub methods: &'static [&'static str],
    /// What is sent now and then instead of a request.
    pub raw: &'static [&'static str],
}

/// A theme with nothing in it.
const EMPTY: Theme = Theme {
    name: "",
    http: "",
    server: "",
    anywhere: &[],
    location: &[],
    content: &[],
    names: &[],
    targets: &[],
    fields: &[],
    methods: &[],
    raw: &[],
};

/// All of them.
pub const ALL: &[&Theme] = &[
    &access::THEME,
    &filters::THEME,
    &files::THEME,
    &cache::THEME,
    &retry::THEME,
    &gateways::THEME,
    &limits::THEME,
    &redirects::THEME,
    &requests::THEME,
    &includes::THEME,
];

/// The themes of one case: none, or one and sometimes another.
#[derive(Clone, Copy)]
pub struct Themes(pub &'static [&'static Theme], pub Option<&'static Theme>);

impl Themes {
    /// Nothing but the usual.
    pub const NONE: Themes = Themes(&[], None);

    /// All themes of the case.
    pub fn each(&self) -> impl Iterator<Item = &'static Theme> {
        self.0.iter().copied().chain(self.1)
    }
    /// One entry of a theme's list, where the case has a theme, chance wants it and the list has one.
    pub fn pick(
        &self,
        dice: &mut Dice,
        list: impl Fn(&'static Theme) -> &'static [&'static str],
    ) -> Option<&'static str> {
        let themes: Vec<_> = self.each().filter(|theme| !list(theme).is_empty()).collect();
        if themes.is_empty() || dice.once_in(3) {
            return None;
        }
        let theme = themes[dice.below(themes.len())];
        Some(dice.one(list(theme)))
    }
}

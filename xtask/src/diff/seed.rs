//! A case's name: a number, with a theme before it where it has one.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Error, Result};

use super::dice::Dice;
use super::themes::{ALL, Theme, Themes};
use super::way::Way;

/// `17`, or `access-17`; with `+h2` and the like behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed {
    theme: Option<usize>,
    number: u64,
    /// What carries its requests.
    pub way: Way,
}

impl Seed {
    /// Without a theme.
    pub fn plain(number: u64) -> Seed {
        Seed { theme: None, number, way: Way::Bytes }
    }
    /// The same number with every theme.
    pub fn themed(number: u64) -> impl Iterator<Item = Seed> {
        (0..ALL.len()).map(move |theme| Seed { theme: Some(theme), number, way: Way::Bytes })
    }
    /// The same number with every theme, each by another way of curl's.
    pub fn curled(number: u64) -> impl Iterator<Item = Seed> {
        Seed::themed(number).zip(Way::CURLED.into_iter().cycle()).map(|(seed, way)| seed.by(way))
    }
    /// The same case, carried otherwise.
    pub fn by(self, way: Way) -> Seed {
        Seed { way, ..self }
    }
    /// The one after it.
    pub fn next(self) -> Seed {
        Seed { number: self.number + 1, ..self }
    }
    /// Its choices, and what they are about: mostly its theme alone, else with another.
    pub fn dice(self) -> (Dice, Themes) {
        let Some(theme) = self.theme else { return (Dice::new(self.number), Themes::NONE) };
        let mut dice = Dice::new(self.number + 1_000_000_007 * (theme as u64 + 1));
        let other = dice.once_in(3).then(|| ALL[dice.below(ALL.len())]);
        let own = &ALL[theme..=theme];
        // What is included is filtered otherwise: see there.
        let apart = |name: &str| matches!(name, "filters" | "includes");
        let fits = |other: &&Theme| other.name != own[0].name && !(apart(other.name) && apart(own[0].name));
        (dice, Themes(own, other.filter(fits)))
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.theme {
            Some(theme) => write!(f, "{}-{}{}", ALL[theme].name, self.number, self.way.name()),
            None => write!(f, "{}{}", self.number, self.way.name()),
        }
    }
}

impl FromStr for Seed {
    type Err = Error;

    fn from_str(text: &str) -> Result<Seed> {
        let (way, text) = Way::of(text);
        let (theme, number) = match text.rsplit_once('-') {
            Some((name, number)) => {
                let theme = ALL.iter().position(|theme| theme.name == name);
                (Some(theme.with_context(|| format!("no theme {name:?}"))?), number)
            }
            None => (None, text),
        };
        let number = number.parse().with_context(|| format!("{text:?} is no seed"))?;
        Ok(Seed { theme, number, way })
    }
}

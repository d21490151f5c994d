//! nginx's regular expressions: PCRE, with numbered and named captures kept in the request.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use conf::{Error, Scope};
use pcre2::bytes::{CaptureLocations, Regex as Pcre, RegexBuilder};

use super::request::Request;
use super::variables::{Index, Names};

/// A compiled regular expression.
#[derive(Clone)]
pub struct Regex {
    pcre: Arc<Pcre>,
    /// Room for the groups of a match, kept for the next one: at most as many as matches at a time.
    spare: Arc<Mutex<Vec<CaptureLocations>>>,
    /// Named groups, as the variables they fill.
    named: Arc<[(usize, Index)]>,
    pattern: Arc<str>,
}
impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pattern.fmt(f)
    }
}

/// Groups captured by a regular expression.
#[derive(Default)]
pub struct Captures {
    /// The text that was matched against.
    pub text: Vec<u8>,
    /// Start and end of each group in `text`; group 0 is the whole match.
    pub groups: Vec<Option<(u32, u32)>>,
}
impl Captures {
    /// Remembers the groups of a match of `text`.
    fn set(&mut self, text: &[u8], places: &CaptureLocations) {
        self.clear();
        self.text.extend_from_slice(text);
        let group = |n| places.get(n).map(|(start, end)| (start as u32, end as u32));
        self.groups.extend((0..places.len()).map(group));
    }
    /// Forgets the last match.
    pub fn clear(&mut self) {
        self.text.clear();
        self.groups.clear();
    }
    /// The bytes of group `n`, if it took part in the match.
    pub fn group(&self, n: usize) -> Option<&[u8]> {
        let (start, end) = (*self.groups.get(n)?)?;
        Some(&self.text[start as usize..end as usize])
    }
}

/// A match cost more than it may, or cannot be made: a request that depends on it is answered 500.
#[derive(Clone, Copy, Debug)]
pub struct GivenUp;

/// Work that one match may cost before it is given up: a pathological expression must not stall a loop.
const MATCH_LIMIT: &str = "(*LIMIT_MATCH=1000000)";

impl Regex {
    /// Compiles a pattern of a configuration; its named groups become variables.
    ///
    /// # Errors
    /// nginx's `pcre2_compile() failed: ..`.
    pub fn new(at: &Scope, pattern: &str, caseless: bool) -> Result<Regex, Error> {
        let built = RegexBuilder::new()
            .caseless(caseless)
            .jit_if_available(true)
            .build(&format!("{MATCH_LIMIT}{pattern}"))
            .map_err(|e| Error::emerg(complaint(&e, pattern)))?;
        let names = at.shared::<Names>();
        let fixed = |name: &&String| crate::modules::variables().is_read_only(name.as_bytes());
        if let Some(name) = built.capture_names().iter().flatten().find(fixed) {
            return Err(Error::emerg(format!("the duplicate \"{name}\" variable")));
        }
        let groups = built.capture_names().iter().enumerate();
        let named = groups.filter_map(|(i, name)| Some((i, names.assign(name.as_ref()?.as_bytes()))));
        let named = named.collect();
        Ok(Regex { pcre: Arc::new(built), spare: Arc::default(), named, pattern: pattern.into() })
    }
    /// The pattern as it was written.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }
    /// How many groups it has, the whole match not counted.
    pub fn groups(&self) -> usize {
        self.pcre.captures_len().saturating_sub(1)
    }
    /// Whether it matches; captures nothing.
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.pcre.is_match(text).unwrap_or(false)
    }
    /// Whether it matches; the groups become the request's captures and variables. A match that was given up is none.
    pub fn capture(&self, text: &[u8], request: &mut Request) -> bool {
        self.try_capture(text, request).unwrap_or(false)
    }
    /// As [`Regex::capture`], where one that was given up is to be told from one that does not match.
    ///
    /// # Errors
    /// When it was given up, which is logged.
    pub fn try_capture(&self, text: &[u8], request: &mut Request) -> Result<bool, GivenUp> {
        let spare = self.spare().pop();
        let mut places = spare.unwrap_or_else(|| self.pcre.capture_locations());
        let found = self.pcre.captures_read(&mut places, text);
        let matched = match found {
            Ok(Some(_)) => {
                self.remember(text, &places, request);
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(error) => {
                log_alert!(
                    request,
                    "pcre2_match() failed: {} on \"{}\" using \"{}\"",
                    error.code(),
                    crate::log::shown(text),
                    self.pattern
                );
                Err(GivenUp)
            }
        };
        self.spare().push(places);
        matched
    }
    /// The first two groups of a match, apart from the request's captures.
    pub fn two_groups<'a>(&self, text: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let groups = self.pcre.captures(text).ok().flatten()?;
        let group = |n| groups.get(n).map_or(0..0, |group| group.start()..group.end());
        Some((&text[group(1)], &text[group(2)]))
    }
    fn spare(&self) -> std::sync::MutexGuard<'_, Vec<CaptureLocations>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn remember(&self, text: &[u8], places: &CaptureLocations, request: &mut Request) {
        request.captures.set(text, places);
        for (group, index) in &*self.named {
            let value = places.get(*group).map_or(&b""[..], |(start, end)| &text[start..end]);
            request.assign(*index, value);
        }
    }
}

/// What a pattern that is not the configuration's found.
pub struct Match {
    /// The whole match and its groups; empty where one took no part.
    pub groups: Vec<Vec<u8>>,
    /// Groups with names.
    pub named: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Matches once with a pattern that comes with a request's answer.
///
/// # Errors
/// What is wrong with the pattern, or that the match took too long.
pub fn match_once(pattern: &str, text: &[u8]) -> Result<Option<Match>, String> {
    let built = RegexBuilder::new().build(&format!("{MATCH_LIMIT}{pattern}"));
    let pcre = built.map_err(|error| complaint(&error, pattern))?;
    let found = pcre.captures(text).map_err(|error| {
        format!("pcre2_match() failed: {error} on \"{}\" using \"{pattern}\"", crate::log::shown(text))
    })?;
    Ok(found.map(|found| {
        let group = |i| found.get(i).map(|group| group.as_bytes().to_vec()).unwrap_or_default();
        let names = pcre.capture_names().iter().enumerate();
        let named = names.filter_map(|(i, name)| Some((name.as_ref()?.clone().into_bytes(), group(i))));
        Match { groups: (0..found.len()).map(group).collect(), named: named.collect() }
    }))
}

fn complaint(error: &pcre2::Error, pattern: &str) -> String {
    let at = error.offset().map_or(0, |o| o.saturating_sub(MATCH_LIMIT.len()));
    let rest = pattern.get(at..).unwrap_or("");
    let text = error.to_string();
    let text = text.rsplit(": ").next().unwrap_or(&text);
    match rest.is_empty() {
        true => format!("pcre2_compile() failed: {text} in \"{pattern}\""),
        false => format!("pcre2_compile() failed: {text} in \"{pattern}\" at \"{rest}\""),
    }
}

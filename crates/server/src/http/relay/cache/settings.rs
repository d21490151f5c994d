//! The cache's directives, as run.

use std::collections::HashMap;
use std::sync::Arc;

use conf::{Args, Error, Scope};
use wire::Method;

use super::super::written::Written;
use crate::cache::{Declared, Zone};
use crate::http::request::Request;
use crate::http::variables::Template;
use crate::worker::zones;

/// How a location keeps answers.
pub struct Cache {
    zone: Where,
    /// `.._cache_key`
    pub key: Option<Template>,
    /// `.._cache_convert_head`
    pub convert_head: bool,
    pub(super) valid: Vec<(u16, u64)>,
    pub(super) methods: u32,
    pub(super) min_uses: u32,
    pub(super) use_stale: u32,
    pub(super) background_update: bool,
    /// Age and time-out, in milliseconds.
    pub(super) lock: Option<(u64, u64)>,
    pub(super) revalidate: bool,
    pub(super) bypass: Vec<Template>,
    pub(super) no_cache: Vec<Template>,
    pub(super) purge: Vec<Template>,
    pub(super) max_range_offset: Option<u64>,
}

/// Which zone.
enum Where {
    Zone(Arc<Zone>),
    Named(Template, HashMap<Vec<u8>, Arc<Zone>>),
}

/// What `.._cache_methods` can name: methods whose answers may be kept.
pub const METHODS: &[(&str, u32)] = &[
    ("GET", 1 << Method::Get as u32),
    ("HEAD", 1 << Method::Head as u32),
    ("POST", 1 << Method::Post as u32),
];

/// Reads `.._cache_valid [code ..] time`: statuses, 0 for any, and seconds.
///
/// # Errors
/// nginx's words.
pub fn valid(a: &Args<'_>) -> Result<Vec<(u16, u64)>, Error> {
    let last = a.words.len() - 1;
    let seconds =
        conf::sec(a.bytes(last)).ok_or_else(|| a.error(format!("invalid time value \"{}\"", a.str(last))))?;
    if last == 0 {
        return Ok([200, 301, 302].map(|status| (status, seconds)).to_vec());
    }
    let status = |i: usize| match a.str(i) {
        "any" => Ok((0, seconds)),
        text => match text.parse() {
            Ok(status @ 100..=599) => Ok((status, seconds)),
            _ => Err(a.error(format!("invalid status \"{text}\""))),
        },
    };
    (0..last).map(status).collect()
}

/// What is in force in a block.
///
/// # Errors
/// A zone that nobody declares.
pub fn compile(at: &Scope, written: &Written, prefix: &str) -> Result<Option<Cache>, Error> {
    let c = &written.once;
    let Some(Some(name)) = c.cache.written() else { return Ok(None) };
    let declared = at.shared::<Declared>();
    let unknown =
        |name: &str| Error::emerg(format!("\"{prefix}_cache\" zone \"{name}\" is unknown")).at(at.at.clone());
    let zone = match name.as_literal() {
        Some(name) => {
            let name = String::from_utf8_lossy(name);
            let zone = declared.find(&name).filter(|zone| zone.place.owner == prefix);
            Where::Zone(zone.ok_or_else(|| zones::elsewhere(at, &name).unwrap_or_else(|| unknown(&name)))?)
        }
        None => {
            let all = declared.all().into_iter().map(|zone| (zone.place.name.clone().into_bytes(), zone));
            Where::Named(name.clone(), all.collect())
        }
    };
    if prefix != "proxy" && c.cache_key.written().is_none() {
        let message = format!("no \"{prefix}_cache_key\" for \"{prefix}_cache\"");
        at.warn(Error::warn(message).at(at.at.clone()));
    }
    let get_and_head = 1 << Method::Get as u32 | 1 << Method::Head as u32;
    Ok(Some(Cache {
        zone,
        key: c.cache_key.written().cloned(),
        convert_head: c.cache_convert_head.or(true),
        valid: written.cache_valid.clone(),
        methods: c.cache_methods.or(0) | get_and_head,
        min_uses: c.cache_min_uses.or(1),
        use_stale: c.cache_use_stale.or(0),
        background_update: c.cache_background_update.or(false),
        lock: c.cache_lock.or(false).then(|| (c.cache_lock_age.or(5000), c.cache_lock_timeout.or(5000))),
        revalidate: c.cache_revalidate.or(false),
        bypass: written.cache_bypass.clone(),
        no_cache: written.no_cache.clone(),
        purge: written.cache_purge.clone(),
        max_range_offset: c.cache_max_range_offset.written().copied(),
    }))
}

impl Cache {
    /// The zone for a request; `None` if it names none.
    ///
    /// # Errors
    /// 500, logged: one that nobody declares.
    pub(super) fn zone(&self, request: &mut Request) -> Result<Option<Arc<Zone>>, u16> {
        let (template, zones) = match &self.zone {
            Where::Zone(zone) => return Ok(Some(zone.clone())),
            Where::Named(template, zones) => (template, zones),
        };
        let mut name = Vec::new();
        template.render(request, &mut name);
        if name.is_empty() || name == b"off" {
            return Ok(None);
        }
        if let Some(zone) = zones.get(&name) {
            return Ok(Some(zone.clone()));
        }
        log_error!(request, "cache \"{}\" not found", crate::log::shown(&name));
        Err(500)
    }
    /// How long answers of this status hold that do not say so themselves; 0: they are not kept.
    pub(super) fn valid(&self, status: u16) -> u64 {
        let row = self.valid.iter().find(|(of, _)| *of == status || *of == 0);
        row.map_or(0, |(_, seconds)| *seconds)
    }
}

/// Whether one of these is neither empty nor `0`.
pub(super) fn any(templates: &[Template], request: &mut Request) -> bool {
    templates.iter().any(|template| {
        let mut text = request.thread.buffer();
        template.render(request, &mut text);
        let is = !text.is_empty() && text != b"0";
        request.thread.give_buffer(text);
        is
    })
}

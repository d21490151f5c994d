//! `$upstream_*`: one value for each server asked, separated by `, `; by ` : ` where an internal redirect lies between.

use std::time::Duration;

use crate::http::request::Request;
use crate::http::response::Body;
use crate::http::variables::{Variable, family, variable};
use crate::upstream::{CacheRecord, CacheStatus, Try};

pub(super) static VARIABLES: &[Variable] = &[
    variable("upstream_addr", |r, out| {
        let text = std::mem::take(&mut r.upstream.text);
        let found = each(r, out, |one, out| {
            out.extend_from_slice(one.address.of(&text));
        });
        r.upstream.text = text;
        found
    }),
    variable("upstream_status", |r, out| {
        each(r, out, |one, out| match one.status {
            0 => out.push(b'-'),
            status => wire::push_decimal(out, status.into()),
        })
    }),
    variable("upstream_last_addr", |r, out| put(r.upstream.last_address(), out)),
    variable("upstream_last_server_name", |r, out| put(r.upstream.last_server(), out)),
    variable("upstream_queue_time", |r, out| each(r, out, |one, out| seconds(one.queued, out))),
    variable("upstream_connect_time", |r, out| each(r, out, |one, out| seconds(one.connect_time(), out))),
    variable("upstream_header_time", |r, out| each(r, out, |one, out| seconds(one.header_time(), out))),
    variable("upstream_response_time", |r, out| {
        each_ended(r, out, |one, out| seconds(one.and_then(Try::response_time), out))
    }),
    variable("upstream_response_length", |r, out| {
        each_ended(r, out, |one, out| wire::push_decimal(out, one.map_or(0, |one| one.length)))
    }),
    variable("upstream_bytes_received", |r, out| {
        each(r, out, |one, out| wire::push_decimal(out, one.received))
    }),
    variable("upstream_bytes_sent", |r, out| {
        each_ended(r, out, |one, out| wire::push_decimal(out, one.map_or(0, |one| one.sent)))
    }),
    variable("upstream_cache_status", |r, out| {
        let Some(status) = r.upstream.cache.status else { return false };
        out.extend_from_slice(status.name().as_bytes());
        true
    }),
    variable("upstream_cache_last_modified", |r, out| {
        expired(&r.upstream.cache, &r.upstream.cache.last_modified, out)
    }),
    variable("upstream_cache_etag", |r, out| expired(&r.upstream.cache, &r.upstream.cache.etag, out)),
    family("upstream_http_", |r, name, out| {
        let record = &r.upstream;
        let mut found = false;
        for header in record.head.headers.iter() {
            if is_named(header.name.of(&record.buffer), name) {
                if found {
                    out.extend_from_slice(b", ");
                }
                out.extend_from_slice(header.value.of(&record.buffer));
                found = true;
            }
        }
        found
    }),
    family("upstream_cookie_", cookie),
    family("upstream_trailer_", |r, name, out| {
        update(r);
        let mut headers = wire::Headers::default();
        // What is none was refused with the body.
        let _ = wire::parse_fields(&r.upstream.trailers, &mut headers);
        let text = &r.upstream.trailers;
        let mut found = false;
        for header in headers.iter().filter(|header| is_named(header.name.of(text), name)) {
            out.extend_from_slice(if found { b", " } else { b"" });
            out.extend_from_slice(header.value.of(text));
            found = true;
        }
        found
    }),
];

/// What is known of an answer that is being revalidated.
fn expired(cache: &CacheRecord, value: &[u8], out: &mut Vec<u8>) -> bool {
    let found = cache.status == Some(CacheStatus::Expired) && !value.is_empty();
    if found {
        out.extend_from_slice(value);
    }
    found
}

/// The response's body counts while it is passed on: takes over what it knows.
fn update(request: &mut Request) {
    if let Body::Upstream(body) = &request.response.body {
        body.account(&mut request.upstream);
    }
}

fn each(request: &mut Request, out: &mut Vec<u8>, mut value: impl FnMut(&Try, &mut Vec<u8>)) -> bool {
    update(request);
    for (i, one) in request.upstream.tries.iter().enumerate() {
        if i > 0 {
            out.extend_from_slice(if one.redirected { b" : " } else { b", " });
        }
        value(one, out);
    }
    !request.upstream.tries.is_empty()
}

/// As [`each`], of what is known when a try is over: of the answer whose head is being made nothing yet.
fn each_ended(
    request: &mut Request,
    out: &mut Vec<u8>,
    mut value: impl FnMut(Option<&Try>, &mut Vec<u8>),
) -> bool {
    // What is asked within a request is over when somebody looks.
    let going_on = request.response.theirs && !request.head_sent && !request.logging && request.depth == 0;
    let last = request.upstream.tries.len();
    let mut number = 0;
    each(request, out, |one, out| {
        number += 1;
        value((!going_on || number < last).then_some(one), out)
    })
}

fn put(found: Option<&[u8]>, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(found.unwrap_or_default());
    found.is_some()
}

fn seconds(time: Option<Duration>, out: &mut Vec<u8>) {
    let Some(time) = time else { return out.push(b'-') };
    wire::push_decimal(out, time.as_secs());
    let millis = time.subsec_millis();
    out.push(b'.');
    out.extend([millis / 100, millis / 10 % 10, millis % 10].map(|digit| b'0' + digit as u8));
}

/// A variable's name has underscores where the header's has hyphens.
fn is_named(header: &[u8], name: &[u8]) -> bool {
    let same = |(h, n): (&u8, &u8)| h.eq_ignore_ascii_case(n) || (*h == b'-' && *n == b'_');
    header.len() == name.len() && header.iter().zip(name).all(same)
}

/// The value of a cookie that the upstream sets.
fn cookie(request: &mut Request, name: &[u8], out: &mut Vec<u8>) -> bool {
    let record = &request.upstream;
    let values = record.head.headers.all(wire::Known::SetCookie);
    for value in values.map(|h| h.value.of(&record.buffer)) {
        let Some(rest) = value.get(name.len()..) else { continue };
        if !value[..name.len()].eq_ignore_ascii_case(name) {
            continue;
        }
        let Some(after) = rest.trim_ascii_start().strip_prefix(b"=") else { continue };
        let end = after.iter().position(|b| *b == b';').unwrap_or(after.len());
        out.extend_from_slice(after[..end].trim_ascii());
        return true;
    }
    false
}

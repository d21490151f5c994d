//! `load_module`: nothing is loaded. What is built in is there anyway; what is not is said once, and refused where it is used.

use conf::{Args, Directive, Error, Known, MAIN, Scope, directive};

use crate::program::tables;

pub(super) const DIRECTIVES: &[Directive] = &[directive("load_module", MAIN, conf::exactly(1), load_module)];

fn load_module(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    if !at.children.is_empty() {
        return Err(Error::directive("is specified too late"));
    }
    let file = a.str(0).rsplit('/').next().unwrap_or_default();
    let name = file.strip_suffix(".so").unwrap_or(file);
    at.warn(match is_built_in(name) {
        true => a.notice(format!("\"{name}\" is part of plimsoll, nothing is loaded")),
        false => a.warning(format!("\"{name}\" is not supported by plimsoll, its directives are refused")),
    });
    Ok(())
}

/// Modules of others whose directives are here.
const OTHERS: &[(&str, &str)] = &[
    ("ngx_http_headers_more_filter_module", "more_set_headers"),
    ("ngx_http_brotli_filter_module", "brotli"),
    ("ngx_http_brotli_static_module", "brotli_static"),
    ("ngx_http_zstd_filter_module", "zstd"),
    ("ngx_http_zstd_static_module", "zstd_static"),
];

/// Whether a module's directives are here: any one of them tells.
fn is_built_in(name: &str) -> bool {
    let here = |directive: &str| !tables().rows(directive).is_empty();
    if let Some((_, directive)) = OTHERS.iter().find(|(other, _)| *other == name) {
        return here(directive);
    }
    let documented = match name {
        "ngx_mail_module" => "ngx_mail_core_module",
        "ngx_stream_module" => "ngx_stream_core_module",
        "ngx_http_xslt_filter_module" => "ngx_http_xslt_module",
        name => name,
    };
    let block = match documented {
        "ngx_mail_core_module" => Some("mail"),
        "ngx_stream_core_module" => Some("stream"),
        _ => None,
    };
    match block {
        Some(block) => here(block),
        None => Known::all().any(|known| known.module == documented && here(known.name)),
    }
}

//! The core's variables, in nginx's words and with nginx's idea of when one has no value.

use crate::http::variables::{Variable, family, settable, variable};

mod connection;
mod headers;
mod request;
mod response;

/// The nginx release whose behaviour is followed (`$nginx_version`).
pub const NGINX_VERSION: &str = "1.31.5";

pub(super) static VARIABLES: &[Variable] = &[
    family("arg_", request::argument),
    settable("args", request::args, request::set_args),
    variable("binary_remote_addr", connection::binary_remote_addr),
    variable("body_bytes_sent", response::body_bytes_sent),
    variable("bytes_sent", response::bytes_sent),
    variable("connection", connection::connection),
    variable("connection_requests", connection::connection_requests),
    variable("connection_time", connection::connection_time),
    variable("content_length", headers::content_length),
    variable("content_type", headers::content_type),
    family("cookie_", headers::cookie),
    variable("document_root", request::document_root),
    variable("document_uri", request::uri),
    variable("host", request::host),
    variable("hostname", connection::hostname),
    family("http_", headers::header),
    variable("https", connection::https),
    variable("is_args", request::is_args),
    variable("is_request_port", request::is_request_port),
    settable("limit_rate", response::limit_rate, response::set_limit_rate),
    variable("msec", connection::msec),
    variable("nginx_version", |_, out| {
        out.extend_from_slice(NGINX_VERSION.as_bytes());
        true
    }),
    variable("pid", connection::pid),
    variable("pipe", connection::pipe),
    variable("proxy_protocol_addr", connection::proxy_protocol_addr),
    variable("proxy_protocol_port", connection::proxy_protocol_port),
    variable("proxy_protocol_server_addr", connection::proxy_protocol_server_addr),
    variable("proxy_protocol_server_port", connection::proxy_protocol_server_port),
    family("proxy_protocol_tlv_", connection::proxy_protocol_tlv),
    variable("query_string", request::args),
    variable("realpath_root", request::realpath_root),
    variable("remote_addr", connection::remote_addr),
    variable("remote_port", connection::remote_port),
    variable("remote_user", headers::remote_user),
    variable("request", request::request),
    variable("request_body", request::request_body),
    variable("request_body_file", request::request_body_file),
    variable("request_completion", response::request_completion),
    variable("request_filename", request::request_filename),
    variable("request_id", request::request_id),
    variable("request_length", request::request_length),
    variable("request_method", request::request_method),
    variable("request_port", request::request_port),
    variable("request_time", request::request_time),
    variable("request_uri", request::request_uri),
    variable("scheme", connection::scheme),
    family("sent_http_", response::header),
    family("sent_trailer_", response::trailer),
    variable("server_addr", connection::server_addr),
    variable("server_name", request::server_name),
    variable("server_port", connection::server_port),
    variable("server_protocol", request::server_protocol),
    variable("status", response::status),
    variable("tcpinfo_rcv_space", |r, out| connection::tcp(r, out, |info| info.receive_space)),
    variable("tcpinfo_rtt", |r, out| connection::tcp(r, out, |info| info.round_trip)),
    variable("tcpinfo_rttvar", |r, out| connection::tcp(r, out, |info| info.variance)),
    variable("tcpinfo_snd_cwnd", |r, out| connection::tcp(r, out, |info| info.congestion_window)),
    variable("time_iso8601", connection::time_iso8601),
    variable("time_iso8601_ms", connection::time_iso8601_ms),
    variable("time_local", connection::time_local),
    variable("uri", request::uri),
];

/// Appends a value that is there, or says that it is not.
fn found(value: Option<&[u8]>, out: &mut Vec<u8>) -> bool {
    value.map(|value| out.extend_from_slice(value)).is_some()
}
/// As [`found`], for what nginx never keeps empty.
fn not_empty(value: &[u8], out: &mut Vec<u8>) -> bool {
    found(Some(value).filter(|value| !value.is_empty()), out)
}
fn number(number: u64, out: &mut Vec<u8>) -> bool {
    wire::push_decimal(out, number);
    true
}
/// Seconds with three decimals.
fn seconds(time: std::time::Duration, out: &mut Vec<u8>) -> bool {
    wire::push_decimal(out, time.as_secs());
    let milliseconds = time.subsec_millis();
    out.push(b'.');
    out.extend([100, 10, 1].map(|place| b'0' + (milliseconds / place % 10) as u8));
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn seconds_have_three_decimals() {
        for (milliseconds, text) in [(0, "0.000"), (7, "0.007"), (12_345, "12.345"), (60_090, "60.090")] {
            let mut out = Vec::new();
            assert!(seconds(Duration::from_millis(milliseconds), &mut out));
            assert_eq!(out, text.as_bytes());
        }
    }

    #[test]
    fn every_name_is_there_once() {
        for (i, row) in VARIABLES.iter().enumerate() {
            assert!(VARIABLES[..i].iter().all(|other| other.name != row.name), "{}", row.name);
        }
    }
}

//! From a parsed head to host, server, path and framing.

use wire::{BadRequest, Framing, Method, Version};

use crate::http::request::Request;

/// Until the host is known, the settings of the server count that the handshake was for, else the default server's; whether
/// those of the host's server may be others.
pub(super) fn choose_default_server(request: &mut Request) -> bool {
    let shared = &request.generation.shared;
    let listener = shared.listener(request.client.listener);
    let differ = listener.heads_differ;
    request.server = match listener.needs_local_address() {
        true => listener.names_for(request.client.local_address()).default_server,
        false => listener.default_server,
    };
    request.plan = shared.server(request.server).plan;
    // Names may be patterns, whose parts are variables.
    request.prepare_values();
    if differ {
        choose_by_handshake(request);
    }
    differ
}

/// A request whose host is not known belongs to the server that the handshake was for.
pub(super) fn choose_by_handshake(request: &mut Request) {
    let name = request.client.agreed().and_then(|agreed| agreed.server_name.clone());
    let Some(name) = name.filter(|_| request.host.is_empty()) else { return };
    request.host.extend_from_slice(name.to_ascii_lowercase().as_bytes());
    choose_server(request);
    request.host.clear();
}

/// From the parsed head to host, server, path and framing.
pub(super) fn understand(request: &mut Request) -> Result<(), BadRequest> {
    request.method = request.head.method;
    // As in nginx the request line is judged before the headers, so by the settings of the default server.
    if request.uri.is_empty() {
        take_path(request)?;
    }
    take_host(request)?;
    choose_server(request);
    let mut framing = match request.head.framing(&request.buffer) {
        Err(BadRequest::Connect) if is_for_a_tunnel(request) => connect(request)?,
        Err(bad @ (BadRequest::Trace | BadRequest::Connect)) => {
            request.body.begin(request.head.body(&request.buffer)?);
            return Err(bad);
        }
        framing => framing?,
    };
    if let Ok(stream) = request.client.stream()
        && framing == Framing::None
        && stream.has_body()
    {
        // Its length is known when it ends, as with chunks.
        framing = Framing::Chunked;
    }
    request.body.begin(framing);
    request.body.expects_continue = request.head.expects_continue(&request.buffer);
    // Whether the location allows it too is asked where that is found.
    request.keep_alive = request.method != Method::Connect && request.head.keep_alive(&request.buffer);
    Ok(())
}

/// Whether some place of the server takes CONNECT (`tunnel_pass`); only HTTP/1.1 asks for tunnels.
#[cold]
fn is_for_a_tunnel(request: &Request) -> bool {
    request.head.version == Version::Http11
        && !request.client.is_stream()
        && request.generation.shared.server(request.server).tunnels
}

/// What follows a CONNECT is the tunnel's: it has no body.
#[cold]
fn connect(request: &mut Request) -> Result<Framing, BadRequest> {
    let framing = request.head.body(&request.buffer)?;
    if matches!(framing, Framing::None | Framing::Length(0)) {
        return Ok(Framing::None);
    }
    request.body.begin(framing);
    Err(BadRequest::ConnectWithBody)
}

pub(super) fn take_path(request: &mut Request) -> Result<(), BadRequest> {
    let Request { generation, plan, head, buffer, uri, args, .. } = request;
    args.clear();
    if head.has_args {
        args.extend_from_slice(head.args.of(buffer));
    }
    let path = head.path.of(buffer);
    if head.plain_path {
        uri.extend_from_slice(path);
        return Ok(());
    }
    let merge_slashes = generation.shared.plan(*plan).core.client_header.merge_slashes;
    wire::uri::normalize(path, merge_slashes, uri).inspect_err(|_| uri.clear())
}

/// The host of the request line's URL wins over the `Host` header.
pub(super) fn take_host(request: &mut Request) -> Result<(), BadRequest> {
    let Request { head, buffer, host, .. } = request;
    head.push_host(buffer, host)
}

pub(super) fn choose_server(request: &mut Request) {
    if request.generation.shared.listener(request.client.listener).only_one_server() {
        return;
    }
    let generation = request.generation.clone();
    let listener = generation.shared.listener(request.client.listener);
    let names = listener.names_for(request.client.local_address());
    let host = std::mem::take(&mut request.host);
    let found = names.names.find(&host, Some(request)).unwrap_or(names.default_server);
    request.host = host;
    request.server = found;
    request.plan = generation.shared.server(found).plan;
}

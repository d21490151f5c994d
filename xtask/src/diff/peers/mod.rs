//! What stands behind both servers. What a peer does is in the last part of the path, or in the argument `do`.

mod answers;
mod cached;
mod gateways;

use testkit::{Exchange, Origin};

pub use self::answers::GZIPPED;
pub use self::gateways::{fastcgi, memcached, scgi, uwsgi};

/// An origin that does what it is asked to.
pub fn origin() -> Origin {
    Origin::new(|exchange| {
        let what = wanted(&exchange.request.target);
        answer(exchange, &what);
    })
}

/// An origin that always does well.
pub fn good() -> Origin {
    Origin::new(|exchange| {
        let head = "HTTP/1.1 200 OK\r\nX-Origin: good\r\nContent-Length: 4\r\n\r\n";
        exchange.send(if exchange.request.method == "HEAD" {
            head.to_owned()
        } else {
            format!("{head}good")
        });
    })
}

/// What a target asks for.
fn wanted(target: &str) -> String {
    let args = target.split_once('?').map_or("", |(_, args)| args);
    if let Some(what) = args.split('&').find_map(|arg| arg.strip_prefix("do=")) {
        return what.to_owned();
    }
    let path = target.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

fn answer(exchange: &mut Exchange<'_>, what: &str) {
    let field = exchange.request.header("if-none-match").map(str::to_owned);
    let Some((text, closes)) = cached::answer(what, field.as_deref()).or_else(|| answers::answer(what))
    else {
        return echo(exchange);
    };
    exchange.send(if exchange.request.method == "HEAD" && what != "headbody" {
        head_of(&text)
    } else {
        &text
    });
    if closes {
        exchange.close();
    }
}

fn head_of(text: &[u8]) -> &[u8] {
    let end = text.windows(4).position(|w| w == b"\r\n\r\n").map_or(text.len(), |at| at + 4);
    &text[..end]
}

/// What the server made of the request.
fn echo(exchange: &mut Exchange<'_>) {
    let mut text = host_first(&exchange.request.head).into_bytes();
    text.extend_from_slice(&exchange.request.body);
    if exchange.request.method == "HEAD" {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len());
        exchange.send(head);
        return;
    }
    exchange.ok(text);
}

/// Newer nginx sends `Host` before everything else, older where the configuration has it.
fn host_first(head: &str) -> String {
    let (line, fields) = head.split_once("\r\n").unwrap_or((head, ""));
    let (hosts, others): (Vec<&str>, Vec<&str>) =
        fields.split_inclusive("\r\n").partition(|field| field.starts_with("Host:"));
    format!("{line}\r\n{}{}", hosts.concat(), others.concat())
}

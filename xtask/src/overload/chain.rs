//! Other links of the chain bind: descriptors, accept queues.

use anyhow::Result;
use serde_json::Value;
use testkit::{App, Server};

use super::load::Outcome;
use super::stage::{Row, Stage, Wanted, measured, status, taking, watched};

pub fn descriptors(stage: &Stage) -> Result<Vec<Row>> {
    let server = stage.serve(4096, "worker_rlimit_nofile 256;", "root .; location / { }");
    server.write("x", "x".repeat(100_000));
    let few = measured("1x (50 clients)", stage.keeping(&server, 50, "/x")).wanted(Wanted::Served);
    let clients = stage.pick(500, 2000);
    let [row, page] = watched(&server, "10x and more", stage.keeping(&server, clients, "/x"));
    let after = measured("1x again", stage.keeping(&server, 50, "/x"));
    Ok(vec![few, row, page, after])
}

pub fn eaten(stage: &Stage) -> Result<Vec<Row>> {
    let origin = taking(5);
    let locations = format!(
        "root .; open_file_cache max=10000; open_file_cache_min_uses 1; location / {{ }}
         location /p {{ proxy_pass http://{}; }}",
        origin.address()
    );
    let server = stage.serve(1024, "worker_rlimit_nofile 128;", &locations);
    let eat = |server: &Server| {
        for i in 0..200 {
            let name = format!("f{i}");
            server.write(&name, "x");
            let mut client = server.client();
            let _ = client.try_send(format!("GET /{name} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
            let _ = client.try_response("GET");
        }
    };
    eat(&server);
    let files = measured("50 clients, a file", stage.load(&server, 50, "/f199"));
    eat(&server);
    let proxied = measured("50 clients, a proxy", stage.load(&server, 50, "/p"));
    Ok(vec![files, proxied])
}

pub fn backlog(stage: &Stage) -> Result<Vec<Row>> {
    let origin = taking(100);
    let locations = format!("location / {{ proxy_pass http://{}; }}", origin.address());
    let server = stage.serve_with(32, "", "access_log off;", "backlog=16", &locations);
    let before = if stage.ours() { status(&server) } else { Value::Null };
    let [mut row, page] = watched(&server, "200 clients", stage.load(&server, 200, "/"));
    if stage.ours() {
        judge_queue(&before, &status(&server), &mut row, &page);
    }
    Ok(vec![row, page])
}

/// Whom the kernel turns away the server never sees: they are not its fault, but it must know of them, and have answered
/// all others.
fn judge_queue(before: &Value, after: &Value, row: &mut Row, page: &Row) {
    let accepted = |status: &Value| status["accepted"].as_u64().unwrap_or(0);
    let pages = page.outcome.ok + 1;
    let let_in = (accepted(after) - accepted(before)).saturating_sub(pages);
    let of_queue = |link: &&Value| link["kind"] == "accept_queue" && link["ceiling"] == 16;
    let link = after["links"].as_array().and_then(|links| links.iter().find(of_queue));
    let full = link.and_then(|link| link["refused"].as_u64()).unwrap_or(0);
    row.notes.push(format!("let in: {let_in}; found the queue full, by the status page: {full}"));
    let Outcome { ok, refused, broken, silent, .. } = &mut row.outcome;
    row.fault = match (full, let_in > *ok + *refused + *silent) {
        (0, _) => Some("the status page shows no full queue".to_owned()),
        (_, true) => Some(format!("{let_in} were let in, {} answered", *ok + *refused)),
        _ => None,
    };
    row.notes.push(format!("turned away by the kernel: {broken} broken, {silent} silent"));
    (*broken, *silent) = (0, 0);
}

pub fn upstream_queue(stage: &Stage) -> Result<Vec<Row>> {
    let Some(app) = App::gunicorn_with_backlog(8) else { return Ok(Vec::new()) };
    let wait = if stage.ours() { "overload_wait 4s;" } else { "" };
    let locations = format!("location / {{ {wait} proxy_pass http://{}; }}", app.address());
    let server = stage.serve(1024, "", &locations);
    Ok(watched(&server, "40 clients", stage.load(&server, 40, "/slow?20")).into())
}

//! Slots bind, and what makes them bind.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Result;

use super::load::Load;
use super::stage::{A_BUSY_MACHINE, Row, Stage, Wanted, measured, taking, upstream, watched};

/// Requests through a proxy that so many slots have room for.
fn proxied(slots: usize) -> usize {
    (slots - 4) / 2
}

pub fn tiny(stage: &Stage) -> Result<Vec<Row>> {
    let origin = taking(0);
    // Four beside the listening sockets and the channel would be the operator's: as in the wild there is one.
    let server = stage.serve(5, "", &format!("location / {{ proxy_pass http://{}; }}", origin.address()));
    Ok(watched(&server, "100 clients", stage.load(&server, 100, "/")).into())
}

pub fn slots(stage: &Stage) -> Result<Vec<Row>> {
    let slots = stage.pick(64, 512);
    let origin = taking(stage.pick(50, 200));
    let server = stage.serve(slots, "", &format!("location / {{ proxy_pass http://{}; }}", origin.address()));
    let load = |times| stage.load(&server, times * proxied(slots), "/");
    let before = measured("1x", load(1)).wanted(Wanted::Served);
    let [during, page] = watched(&server, "10x", load(10));
    // Those who found no room come again a last time.
    std::thread::sleep(Duration::from_secs(1));
    let after = measured("1x a second later", load(1)).wanted(Wanted::Served);
    Ok(vec![before, during.at_least(stage.pick(0.3, 0.95), "1x"), page, after])
}

pub fn cpu(stage: &Stage) -> Result<Vec<Row>> {
    let server = stage.serve(64, "", "location / { return 200 x; }");
    let before = measured("1x (50 clients)", stage.keeping(&server, 50, "/"));
    let [during, page] = watched(&server, "10x (500 clients)", stage.keeping(&server, 500, "/"));
    let during = during.at_most(stage.pick(3.0, 1.25), "1x (50 clients)");
    Ok(vec![before, during.at_least(stage.pick(0.3, 0.8), "1x (50 clients)"), page])
}

pub fn slow(stage: &Stage) -> Result<Vec<Row>> {
    let delay = Arc::new(AtomicU64::new(10));
    let origin = upstream(delay.clone());
    let server = stage.serve(64, "", &format!("location / {{ proxy_pass http://{}; }}", origin.address()));
    let load = |clients| stage.load(&server, clients, "/");
    let before = measured("10 ms", load(20)).wanted(Wanted::Served);
    delay.store(stage.pick(2000, 5000), Relaxed);
    // Whoever is let in waits for its answer.
    let patient = Load { patience: A_BUSY_MACHINE, ..load(100) };
    let [during, page] = watched(&server, "slow, 100 clients", patient);
    delay.store(10, Relaxed);
    let after = measured("10 ms again", load(20)).wanted(Wanted::Served);
    Ok(vec![before, during, page, after.at_least(stage.pick(0.3, 0.8), "10 ms")])
}

pub fn fallback(stage: &Stage) -> Result<Vec<Row>> {
    let (first, second) =
        (testkit::Origin::answering("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"), taking(20));
    let locations = format!(
        "location / {{ proxy_pass http://{}; proxy_intercept_errors on; error_page 500 = @other; }}
         location @other {{ proxy_pass http://{}; }}",
        first.address(),
        second.address()
    );
    let server = stage.serve(64, "", &locations);
    Ok(watched(&server, "300 clients", stage.load(&server, 300, "/")).into())
}

pub fn retries(stage: &Stage) -> Result<Vec<Row>> {
    let origin = taking(20);
    let locations = format!(
        "location / {{ proxy_pass http://both; }} }}
         upstream both {{ server 127.0.0.1:1 max_fails=0; server {} max_fails=0; }} server {{ listen 127.0.0.1:%%PORT_2%%;",
        origin.address()
    );
    let server = stage.serve(64, "", &locations);
    Ok(watched(&server, "300 clients", stage.load(&server, 300, "/")).into())
}

pub fn proxy_loop(stage: &Stage) -> Result<Vec<Row>> {
    let locations = "location / { proxy_pass http://127.0.0.1:%%PORT%%; } location /x { return 200 x; }";
    let server = stage.serve(64, "", locations);
    let (caught, free) = std::thread::scope(|scope| {
        let caught = scope.spawn(|| watched(&server, "3 clients in the loop", stage.load(&server, 3, "/")));
        let free = measured("3 others", stage.load(&server, 3, "/x"));
        (caught.join(), free)
    });
    let [caught, page] = caught.map_err(|_| anyhow::anyhow!("a load panicked"))?;
    let again = measured("others afterwards", Load { time: Duration::ZERO, ..stage.load(&server, 10, "/x") });
    Ok(vec![caught.wanted(Wanted::Answers), page, free.wanted(Wanted::Answers), again.wanted(Wanted::Served)])
}

pub fn full_log(stage: &Stage) -> Result<Vec<Row>> {
    let origin = taking(20);
    let locations = format!("error_log /dev/full; location / {{ proxy_pass http://{}; }}", origin.address());
    let server = stage.serve_with(64, "", "access_log /dev/full;", "", &locations);
    Ok(watched(&server, "300 clients", stage.load(&server, 300, "/")).into())
}

//! `proxy_bind .. transparent`: connections from addresses that are not this machine's. The test runs itself again in a
//! network of its own, where such an address leads back; that takes root, `unshare` and `ip`, without which it is
//! skipped, loudly.
#![forbid(unsafe_code)]

use std::process::Command;

use testkit::each;

/// Set in the network of its own.
const INSIDE: &str = "PLIMSOLL_TEST_NETWORK";
/// Packets to the address come back, but it may not be bound to: it is in no table of the machine's own addresses.
const PREPARE: &str = "ip link set lo up && ip rule add to 10.7.7.7 lookup 100 \
    && ip route add local 10.7.7.7 dev lo table 100 && exec \"$@\"";

#[test]
fn an_upstream_sees_the_address_that_is_bound_to() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let apart = Command::new("unshare").args(["-n", "sh", "-c", PREPARE, "sh", "true"]).output();
    if !apart.as_ref().is_ok_and(|output| output.status.success()) {
        return eprintln!("SKIPPED: proxy_bind transparent: no network of its own can be made: {apart:?}");
    }
    let itself = std::env::current_exe().expect("a test has a file");
    let mut again = Command::new("unshare");
    again.args(["-n", "sh", "-c", PREPARE, "sh"]).arg(itself).args(["--exact", "--nocapture"]);
    let output = again.arg("an_upstream_sees_the_address_that_is_bound_to").env(INSIDE, "1").output();
    let output = output.expect("unshare runs");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn inside() {
    let text = "user root; worker_processes 1; error_log logs/error.log; events {} http { access_log off; \
        server { listen 127.0.0.1:%%PORT%%; location /peer { return 200 $remote_addr; } \
        location /fixed { proxy_bind 10.7.7.7 transparent; proxy_pass http://127.0.0.1:%%PORT%%/peer; } \
        location /named { proxy_bind $arg_from transparent; proxy_pass http://127.0.0.1:%%PORT%%/peer; } \
        location /plain { proxy_bind 10.7.7.7; proxy_pass http://127.0.0.1:%%PORT%%/peer; } } }";
    each(|binary| {
        let server = binary.serve(text);
        for (path, from) in [
            ("/fixed", "10.7.7.7"),
            ("/named?from=10.7.7.7", "10.7.7.7"),
            ("/named?from=127.0.0.9", "127.0.0.9"),
        ] {
            assert_eq!(server.get(path).text(), from, "{path}");
        }
        assert_ne!(server.get("/plain").status, 200);
    });
}

//! Temporary: runs a configuration in this process.
use std::sync::Arc;
fn main() {
    let conf = std::env::args().nth(1).expect("a configuration");
    let prefix = std::env::args().nth(2).expect("a prefix");
    let call = server::program::Call { prefix: prefix.into(), conf: Some(conf.into()), ..Default::default() };
    let program = match server::program::compile(&conf::SystemInputs, &call, &mut Vec::new()) {
        Ok(p) => p,
        Err(e) => {
            eprintln!("plimsoll: [emerg] {e}");
            std::process::exit(1)
        }
    };
    let mut sockets = server::worker::Sockets::new();
    for listen in &program.listens {
        if let server::program::Address::Tcp(a) = &listen.address {
            let l = std::net::TcpListener::bind(a).expect("bind");
            l.set_nonblocking(true).expect("nonblocking");
            sockets.insert(listen.address.clone(), vec![Arc::new(l.into())]);
        }
    }
    let worker = server::worker::Worker::start(&program, &sockets).expect("start");
    worker.join();
}

//! What is kept of a generation for those who have only their log line still to write: one place of it, and no way to others.

use std::sync::{Arc, OnceLock};

use super::Generation;
use crate::http::plan::PlanId;
use crate::http::router::{Locations, Names, Server, ServerId};
use crate::listener::{AddressNames, Listener};

impl Generation {
    /// A generation of nothing but a plan, its server and their listener; they are each the first there. `None`: there is no
    /// such listener.
    pub fn residue(&self, server: ServerId, plan: PlanId, number: u32) -> Option<Generation> {
        let listener = self.find_listener(number)?;
        let mut numbers = vec![None; number as usize];
        numbers.push(Some(0));
        Some(Generation {
            listens: Vec::new(),
            listeners: vec![residue_of_listener(listener)],
            variables: self.variables.clone(),
            wants_offers: self.wants_offers,
            error_log: self.error_log.clone(),
            temp_paths: Vec::new(),
            caches: Vec::new(),
            upstreams: Vec::new(),
            watched: false,
            shutdown_timeout: self.shutdown_timeout,
            servers: vec![residue_of_server(self.server(server))],
            server_plans: std::iter::once(0..1).collect(),
            plans: vec![Arc::clone(&self.plans[plan.0 as usize])],
            numbers: OnceLock::from(numbers),
        })
    }
}

/// Nobody looks for a server there any more.
fn residue_of_listener(listener: &Listener) -> Listener {
    let names = AddressNames { ip: None, default_server: ServerId(0), names: Names::default(), single: true };
    Listener {
        address: listener.address.clone(),
        servers: vec![0],
        default_server: ServerId(0),
        names: vec![names],
        ..*listener
    }
}

/// Nobody looks for a location there any more.
fn residue_of_server(server: &Server) -> Server {
    Server {
        name: server.name.clone(),
        plan: PlanId(0),
        tls: server.tls.clone(),
        locations: Locations::default(),
        named: Default::default(),
        ..*server
    }
}

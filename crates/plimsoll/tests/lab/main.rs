//! Incidents made on purpose, with a real nginx and real applications and tiny limits: the doctor must name the right
//! link first, must find nothing wrong with a healthy server, and what it advises must end the incident.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

mod applications;
mod bed;
mod descriptors;
mod fixes;
mod healthy;
mod processors;
mod queues;
mod slots;
mod systemd;
mod upstreams;
mod whole;

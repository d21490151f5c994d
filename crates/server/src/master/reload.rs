//! A reload: the new configuration is read, opened and sent; only when a worker has it in force does the old one go.

use crate::log::{Errno, Level};
use crate::program::Address;

use super::loaded::{self, Loaded};
use super::sockets::{self, Bound};
use super::supervise::Master;
use super::workers::Worker;

impl Master {
    /// Reads the configuration anew. Whatever is wrong with it, what runs goes on.
    pub(super) fn reload(&mut self) {
        self.voice.notice(format_args!("reconfiguring"));
        self.read_anew();
        sys::process::give_memory_back();
    }

    fn read_anew(&mut self) {
        let Some(read) = loaded::read(&self.call, &self.voice) else { return };
        let generation = self.generation + 1;
        match loaded::open(read, &self.call, generation, &self.loaded.bound, &self.voice) {
            Err(error) => self.voice.say(Level::Emerg, format_args!("{error}")),
            Ok(loaded) => {
                self.generation = generation;
                self.hand_over(loaded);
            }
        }
    }

    fn hand_over(&mut self, loaded: Loaded) {
        let serving = self.workers.iter().position(|worker| !worker.leaving);
        let changeable = self.alone || loaded.lasting == self.loaded.lasting;
        match serving {
            Some(i) if changeable => {
                if let Err(error) = self.workers[i].configure(&loaded, &self.voice) {
                    self.voice.say(Level::Emerg, format_args!("{}", Errno(&error)));
                    return self.forget(&loaded.bound);
                }
                self.pending = Some(loaded);
            }
            Some(_) => self.replace_worker(loaded),
            None => {
                self.put_in_force(loaded);
                self.retired = false;
                self.respawn.cancel();
                self.voice.notice(format_args!("start worker processes"));
                self.start_worker();
            }
        }
    }

    /// What a running worker cannot change takes another worker; the old one leaves when that one serves.
    fn replace_worker(&mut self, loaded: Loaded) {
        self.voice.notice(format_args!("start worker processes"));
        match Worker::start(&self.binary, &loaded, &self.voice) {
            Ok(worker) => {
                self.workers.push(worker);
                self.pending = Some(loaded);
            }
            Err(error) => {
                self.voice.say(Level::Alert, format_args!("fork() failed ({})", Errno(&error)));
                self.forget(&loaded.bound);
            }
        }
    }

    /// A worker has a generation in force.
    pub(super) fn ready(&mut self, i: usize, generation: u64) {
        self.workers[i].running = generation;
        if let Some(loaded) = self.pending.take_if(|pending| pending.generation == generation) {
            self.put_in_force(loaded);
            self.voice.notice(format_args!("reconfigured"));
        }
        for (j, worker) in self.workers.iter_mut().enumerate() {
            if j != i && !worker.leaving && worker.sent < generation {
                worker.quit(&self.voice);
            }
        }
    }

    /// A worker cannot run a generation: what it runs goes on.
    pub(super) fn refused(&mut self, generation: u64, why: &str) {
        self.voice.say(Level::Emerg, format_args!("{why}"));
        self.give_up_pending(generation);
    }

    /// The generation that was to come does not; whether there was one.
    pub(super) fn give_up_pending(&mut self, generation: u64) -> bool {
        let Some(loaded) = self.pending.take_if(|pending| pending.generation == generation) else {
            return false;
        };
        self.forget(&loaded.bound);
        for worker in self.workers.iter_mut().filter(|worker| worker.sent == generation) {
            // One that was started for it has nothing else to run; the others go on.
            match worker.running {
                0 => worker.quit(&self.voice),
                running => worker.sent = running,
            }
        }
        true
    }

    fn put_in_force(&mut self, loaded: Loaded) {
        let old = std::mem::replace(&mut self.loaded, loaded);
        let removed: Vec<Bound> =
            old.bound.into_iter().filter(|b| !sockets::has(&self.loaded.bound, &b.listen.address)).collect();
        self.voice.use_log(&self.loaded.error_log);
        if self.owns_paths() {
            for bound in &removed {
                if let Address::Unix(path) = &bound.listen.address {
                    self.voice.say(Level::Warn, format_args!("deleting socket {}", path.display()));
                }
            }
            sockets::release(&removed);
        }
        self.move_pid_file(&old.pid);
    }

    /// As nginx: the new file is written, the old one removed.
    fn move_pid_file(&self, old: &std::path::Path) {
        if !self.place.pid_file || old == self.loaded.pid {
            return;
        }
        match super::files::write_pid(&self.loaded.pid) {
            Err(error) => self.voice.say(Level::Emerg, format_args!("{error}")),
            Ok(()) => drop(std::fs::remove_file(old)),
        }
    }

    /// Gives up what was opened for a configuration that does not come into force.
    fn forget(&self, bound: &[Bound]) {
        let new: Vec<Bound> =
            bound.iter().filter(|b| !sockets::has(&self.loaded.bound, &b.listen.address)).cloned().collect();
        sockets::release(&new);
    }

    /// Opens all logs anew, for the master and its workers.
    pub(super) fn reopen_logs(&mut self) {
        self.voice.notice(format_args!("reopening logs"));
        for loaded in [Some(&self.loaded), self.pending.as_ref()].into_iter().flatten() {
            loaded.reopen_logs(&self.voice);
            let workers =
                self.workers.iter_mut().filter(|worker| worker.sent == loaded.generation || worker.leaving);
            for worker in workers {
                match loaded.reopened() {
                    Ok(messages) => worker.send(messages, &self.voice),
                    Err(error) => self.voice.say(Level::Alert, format_args!("{}", Errno(&error))),
                }
            }
        }
    }
}

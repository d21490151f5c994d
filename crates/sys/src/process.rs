//! The process and the machine it is on.

/// The kernel's number of this thread, as nginx's error log shows it behind the process's.
pub fn thread_id() -> i32 {
    rustix::thread::gettid().as_raw_nonzero().get()
}

/// The machine's name; empty if it has none that is text.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_str().unwrap_or("").to_owned()
}

/// Gives the system back the memory that was freed: after what took much of it for a moment.
pub fn give_memory_back() {
    crate::unsafe_calls::trim_heap();
}

//! The plimsoll program.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    server::master::main()
}

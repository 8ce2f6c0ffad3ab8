//! The spawner as a process of its own, for the tests.

use std::os::fd::AsFd;
use std::process::ExitCode;

fn main() -> ExitCode {
    match std::io::stdin().as_fd().try_clone_to_owned() {
        Ok(control) => triplane_node::spawner::run(control),
        Err(_) => ExitCode::FAILURE,
    }
}

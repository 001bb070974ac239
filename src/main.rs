//! The `grainstore` program: arguments in, exit code out. Everything it does is in the library.

// Futures of the page's handlers hold those of commits, which hold Lance's.
#![recursion_limit = "256"]

mod cli;
mod hints;
mod web;

/// Models make and drop tensors of many megabytes all the time. The system's allocator gives each back
/// and pages it in anew, which took more time than the arithmetic.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main(std::env::args_os().collect()).into()
}

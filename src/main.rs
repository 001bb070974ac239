//! The `grainstore` program: arguments in, exit code out. Everything it does is in the library.

// Futures of the page's handlers hold those of commits, which hold Lance's.
#![recursion_limit = "256"]

mod cli;
mod hints;
mod web;

#[global_allocator]
static ALLOCATOR: grainstore_allocator::MiMalloc = grainstore_allocator::MiMalloc;

fn main() -> std::process::ExitCode {
    grainstore_allocator::keep_freed_memory();
    cli::main(std::env::args_os().collect()).into()
}

//! The `grainstore` program: arguments in, exit code out. Everything it does is in the library.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}

//! The binary: everything lives in the library, so that tests reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    fleet::cli::main()
}

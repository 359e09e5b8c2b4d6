//! The front door of a Minecraft: Java Edition network.

use std::process::ExitCode;

fn main() -> ExitCode {
    passage::cli::main()
}

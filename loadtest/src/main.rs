//! `passage-loadtest`: loads a Minecraft server on this machine and measures it.

mod cli;
mod contestant;
mod duel;
mod progress;
mod run;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}

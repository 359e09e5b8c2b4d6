//! The front door of a Minecraft: Java Edition network.

mod telemetry;

fn main() {}

//! The front door of a Minecraft: Java Edition network.

fn main() {}

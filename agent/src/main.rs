//! musterd
fn main() {}

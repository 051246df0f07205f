//! musterctl
fn main() {}

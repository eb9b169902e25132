//! Fleet binary.
fn main() {}

//! The triplane binary.
fn main() {}

//! End to end harness.

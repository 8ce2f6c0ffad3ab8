//! Fakes and helpers for tests; never shipped.

//! Drives core with seeds, traces and faults.

//! The pool: which containers there are, who owns them, what is asked for, what is collected.

pub mod message;

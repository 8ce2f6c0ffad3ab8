//! Free loopback ports.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// The first port that is given.
const FIRST: u16 = 10_000;
/// Where the system's own ports begin when it does not say so.
const SYSTEMS: u16 = 32_768;
/// Spreads processes that run at the same time over the ports: a prime.
const STRIDE: u32 = 7_919;

/// A TCP port on 127.0.0.1 that nobody listens on at the moment. It is below those that the system gives to clients, one of which might have
/// it before a server listens, or between a server's end and its restart; and this process gives it once.
///
/// # Panics
/// When the machine has no free port.
#[must_use]
pub fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let ports = u32::from(systems().max(FIRST + 1) - FIRST);
    let first = std::process::id().wrapping_mul(STRIDE);
    let mut candidates = (0..ports).map(|_| {
        let number = first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % ports;
        FIRST + u16::try_from(number).expect("there are fewer ports")
    });
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    candidates.find(is_free).expect("a free port on 127.0.0.1")
}

/// The first port that the system gives to who asks for any.
fn systems() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(SYSTEMS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_port_is_given_once_and_to_no_client() {
        let ports: BTreeSet<u16> = (0..100).map(|_| free_port()).collect();
        assert_eq!(ports.len(), 100);
        assert!(ports.iter().all(|port| (FIRST..systems()).contains(port)), "{ports:?}");
    }

    #[test]
    fn a_port_on_which_somebody_listens_is_not_given() {
        let port = free_port();
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!((0..100).all(|_| free_port() != port));
    }
}

//! Ports for programs that have to be told where to listen.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process,
    sync::atomic::{AtomicU16, Ordering},
};

/// Below those that the system gives to whoever asks for any (from 32768): nobody is given one of these between its choice and its use.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;
/// How far from each other processes with successive numbers begin, so that they do not try the same ports. It has no divisor in common with
/// [`COUNT`].
const APART: u32 = 7919;

static TRIED: AtomicU16 = AtomicU16::new(0);

/// An address on loopback where nobody listens, given to nobody else in this process.
///
/// # Panics
/// When there is none left.
#[must_use]
pub fn free_address() -> SocketAddr {
    loop {
        let tried = TRIED.fetch_add(1, Ordering::Relaxed);
        assert!(tried < COUNT, "all ports of the tests were tried");
        let count = u32::from(COUNT);
        let offset = (process::id() % count * APART + u32::from(tried)) % count;
        let port = FIRST + u16::try_from(offset).expect("less than the count");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

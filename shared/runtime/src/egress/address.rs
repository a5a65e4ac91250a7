//! Which addresses a guarded client may connect to.
//!
//! Pure: an address in, its [`Reach`] out. The tables follow the special-purpose registries of IANA (RFC 6890 and
//! the RFCs named beside each row); anything in IPv6 that is not global unicast is refused without a row of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far an address reaches, and with that who may ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The internet at large.
    Public,
    /// This machine or the networks around it: only for those whom the policy trusts with them.
    Private,
    /// Nobody's: metadata services, tunnels that hide another address, multicast, documentation, reserved.
    Never,
}

/// How far `address` reaches.
#[must_use]
pub fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => {
            first_match(V4, |network| (u32::from(*network) ^ u32::from(address)).leading_zeros())
        }
        IpAddr::V6(address) => {
            first_match(V6, |network| (u128::from(*network) ^ u128::from(address)).leading_zeros())
        }
    }
}

/// The first row wins, so an exception stands above the network that it is part of; the last row matches everything.
const V4: &[(Ipv4Addr, u32, Reach)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8, Reach::Never), // "this network", RFC 791
    (Ipv4Addr::new(10, 0, 0, 0), 8, Reach::Private), // RFC 1918
    (Ipv4Addr::new(100, 100, 100, 200), 32, Reach::Never), // a cloud's metadata service
    (Ipv4Addr::new(100, 64, 0, 0), 10, Reach::Private), // carrier-grade NAT, RFC 6598
    (Ipv4Addr::new(127, 0, 0, 0), 8, Reach::Private), // loopback
    (Ipv4Addr::new(168, 63, 129, 16), 32, Reach::Never), // a cloud's metadata service
    (Ipv4Addr::new(169, 254, 0, 0), 16, Reach::Never), // link-local, metadata services
    (Ipv4Addr::new(172, 16, 0, 0), 12, Reach::Private), // RFC 1918
    (Ipv4Addr::new(192, 0, 0, 0), 24, Reach::Never), // protocol assignments, RFC 6890
    (Ipv4Addr::new(192, 0, 2, 0), 24, Reach::Never), // documentation, RFC 5737
    (Ipv4Addr::new(192, 88, 99, 0), 24, Reach::Never), // 6to4 relays, RFC 7526
    (Ipv4Addr::new(192, 168, 0, 0), 16, Reach::Private), // RFC 1918
    (Ipv4Addr::new(198, 18, 0, 0), 15, Reach::Never), // benchmarks, RFC 2544
    (Ipv4Addr::new(198, 51, 100, 0), 24, Reach::Never), // documentation, RFC 5737
    (Ipv4Addr::new(203, 0, 113, 0), 24, Reach::Never), // documentation, RFC 5737
    (Ipv4Addr::new(224, 0, 0, 0), 3, Reach::Never), // multicast, reserved, broadcast
    (Ipv4Addr::new(0, 0, 0, 0), 0, Reach::Public),
];

/// As [`V4`]. `::ffff:0:0/96` (mapped IPv4) and `64:ff9b::/96` (NAT64) lie outside `2000::/3` and so are refused:
/// no honest name has such an address.
const V6: &[(Ipv6Addr, u32, Reach)] = &[
    (Ipv6Addr::LOCALHOST, 128, Reach::Private),
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), 128, Reach::Never), // a cloud's metadata service
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128, Reach::Never),  // a cloud's metadata service
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, Reach::Private),         // unique local, RFC 4193
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, Reach::Never), // Teredo, ORCHID and the like, RFC 2928
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, Reach::Never), // documentation, RFC 3849
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, Reach::Never), // 6to4, RFC 3056
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, Reach::Never), // documentation, RFC 9637
    (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3, Reach::Public), // global unicast, RFC 4291
    (Ipv6Addr::UNSPECIFIED, 0, Reach::Never),
];

/// The reach of the first row whose network shares enough leading bits with the address.
fn first_match<A>(table: &[(A, u32, Reach)], shared_bits: impl Fn(&A) -> u32) -> Reach {
    table
        .iter()
        .find(|(network, prefix, _)| shared_bits(network) >= *prefix)
        .map_or(Reach::Never, |(_, _, reach)| *reach)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reaches(addresses: &[&str]) -> Vec<Reach> {
        addresses.iter().map(|address| reach(address.parse().expect("an address"))).collect()
    }

    #[test]
    fn ordinary_addresses_are_public() {
        let ordinary = [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.167.0.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450:4001::1",
            "2001:200::1",
        ];
        assert_eq!(reaches(&ordinary), vec![Reach::Public; ordinary.len()]);
    }

    #[test]
    fn the_machine_itself_and_the_networks_around_it_are_private() {
        let private = [
            "127.0.0.1",
            "127.255.255.254",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "100.64.0.1",
            "::1",
            "fc00::1",
            "fdff::1",
        ];
        assert_eq!(reaches(&private), vec![Reach::Private; private.len()]);
    }

    #[test]
    fn metadata_tunnels_and_reserved_addresses_are_nobodys() {
        let refused = [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.1",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:0:1::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002::1",
            "3fff::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd20:ce::254",
        ];
        assert_eq!(reaches(&refused), vec![Reach::Never; refused.len()]);
    }
}

//! `ip("…")`: addresses found in a text and compared with an address, a range or a network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::StageError;
use crate::units::quote;

/// Finds addresses in texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpFilter {
    set: IpSet,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum IpSet {
    One(IpAddr),
    Range(IpAddr, IpAddr),
    /// An address of the network, and how many bits of it count.
    Network(IpAddr, u32),
    /// An address with a zone: no text holds one that equals it.
    Nothing,
}

impl IpFilter {
    /// Reads `192.168.0.1`, `192.168.0.1-192.168.0.9` or `192.168.0.0/16`, or the same of IPv6.
    ///
    /// # Errors
    /// It is none of them.
    pub fn new(pattern: &str) -> Result<Self, StageError> {
        let set = parse_one(pattern).or_else(|| parse_network(pattern)).or_else(|| parse_range(pattern));
        set.map(|set| Self { set }).ok_or_else(|| StageError(format!("ip: invalid pattern: {}", quote(pattern))))
    }

    /// Whether a text holds an address that matches.
    ///
    /// Addresses are looked for where a digit is followed closely by `.`, or hexadecimal digits by
    /// `:`; the longest run of characters that addresses have is then one address or none.
    pub fn is_match(&self, text: &[u8]) -> bool {
        let mut at = 0;
        while at < text.len() {
            let rest = text.get(at..).unwrap_or_default();
            let length = if hints_v4(rest) {
                rest.iter().take_while(|&&byte| byte.is_ascii_digit() || byte == b'.').count()
            } else if hints_v6(rest) {
                rest.iter().take_while(|&&byte| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.').count()
            } else {
                at += 1;
                continue;
            };
            if rest.get(..length).and_then(parse_address).is_some_and(|address| self.contains(address)) {
                return true;
            }
            at += length + 1;
        }
        false
    }

    fn contains(&self, address: IpAddr) -> bool {
        match (&self.set, address) {
            (IpSet::One(one), _) => *one == address,
            (IpSet::Range(from, to), _) => from.is_ipv4() == address.is_ipv4() && *from <= address && address <= *to,
            (IpSet::Network(IpAddr::V4(network), bits), IpAddr::V4(address)) => {
                let differing = u32::from(*network) ^ u32::from(address);
                differing.checked_shr(32 - bits).unwrap_or(0) == 0
            }
            (IpSet::Network(IpAddr::V6(network), bits), IpAddr::V6(address)) => {
                let differing = u128::from(*network) ^ u128::from(address);
                differing.checked_shr(128 - bits).unwrap_or(0) == 0
            }
            (IpSet::Network(..) | IpSet::Nothing, _) => false,
        }
    }
}

fn hints_v4(text: &[u8]) -> bool {
    match text {
        [first, second, third, fourth, ..] => first.is_ascii_digit() && [second, third, fourth].contains(&&b'.'),
        _ => false,
    }
}

fn hints_v6(text: &[u8]) -> bool {
    let digits = text.iter().take(4).take_while(|byte| byte.is_ascii_hexdigit()).count();
    match digits {
        0 => matches!(text, [b':', b':', third, ..] if third.is_ascii_hexdigit()),
        _ => text.get(digits) == Some(&b':'),
    }
}

fn parse_address(text: &[u8]) -> Option<IpAddr> {
    parse_ip(std::str::from_utf8(text).ok()?)
}

fn parse_ip(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        text.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
    } else {
        text.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
    }
}

fn parse_one(pattern: &str) -> Option<IpSet> {
    if let Some((address, zone)) = pattern.split_once('%') {
        return (!zone.is_empty() && address.parse::<Ipv6Addr>().is_ok()).then_some(IpSet::Nothing);
    }
    parse_ip(pattern).map(IpSet::One)
}

fn parse_network(pattern: &str) -> Option<IpSet> {
    let (address, bits) = pattern.rsplit_once('/')?;
    let address = parse_ip(address)?;
    let plain = bits.bytes().all(|byte| byte.is_ascii_digit()) && (bits.len() == 1 || !bits.starts_with('0'));
    let bits: u32 = bits.parse().ok().filter(|_| plain)?;
    let bits_max = if address.is_ipv4() { 32 } else { 128 };
    (bits <= bits_max).then_some(IpSet::Network(address, bits))
}

fn parse_range(pattern: &str) -> Option<IpSet> {
    let (from, to) = pattern.split_once('-')?;
    let (from, to) = (parse_ip(from)?, parse_ip(to)?);
    (from.is_ipv4() == to.is_ipv4() && from <= to).then_some(IpSet::Range(from, to))
}

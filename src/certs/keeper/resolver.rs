//! The name service, asked before an order: a name without an address cannot be proved (acme.md 4.5).

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    net::{IpAddr, ToSocketAddrs},
};

use crate::domain::Domain;

/// Who knows the addresses of names.
pub trait Resolver: fmt::Debug + Send + Sync {
    /// All addresses of a name. It may block, for as long as it likes: it is called on a thread that nothing else needs.
    fn addresses(&self, domain: &Domain) -> io::Result<Vec<IpAddr>>;
}

/// That of the machine (getaddrinfo(3)).
#[derive(Debug, Clone, Copy)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn addresses(&self, domain: &Domain) -> io::Result<Vec<IpAddr>> {
        let found = (domain.as_str(), 443).to_socket_addrs()?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// Whether the name service has said what it knows: addresses, or that there are none. (getaddrinfo's errors come as texts: those
/// of EAI_NONAME and EAI_NODATA in glibc and musl.)
pub(super) fn is_answer(found: &io::Result<Vec<IpAddr>>) -> bool {
    const NONE: [&str; 3] = ["Name or service not known", "No address associated", "Name does not resolve"];
    found.as_ref().err().is_none_or(|error| {
        let text = error.to_string();
        error.kind() == io::ErrorKind::NotFound || NONE.iter().any(|none| text.contains(none))
    })
}

/// One figure for a set of addresses, whatever their order; `None` for none. To be compared within one process only.
pub(super) fn fingerprint(mut addresses: Vec<IpAddr>) -> Option<u64> {
    addresses.sort_unstable();
    addresses.dedup();
    (!addresses.is_empty()).then(|| {
        let mut hasher = DefaultHasher::new();
        addresses.hash(&mut hasher);
        hasher.finish()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_order_of_addresses_means_nothing_and_each_address_something() {
        let both = fingerprint(addresses(&["192.0.2.1", "2001:db8::1"]));
        assert_eq!(both, fingerprint(addresses(&["2001:db8::1", "192.0.2.1", "192.0.2.1"])));
        assert_ne!(both, fingerprint(addresses(&["192.0.2.1"])));
        assert_eq!(fingerprint(Vec::new()), None);
    }

    #[test]
    fn that_there_is_no_address_is_an_answer_and_trouble_is_none() {
        let failed = |text: &str| Err(io::Error::other(format!("failed to lookup address information: {text}")));
        for (found, wanted) in [
            (Ok(Vec::new()), true),
            (Err(io::ErrorKind::NotFound.into()), true),
            (failed("Name or service not known"), true),
            (failed("No address associated with hostname"), true),
            (failed("Name does not resolve"), true),
            (failed("Temporary failure in name resolution"), false),
            (Err(io::ErrorKind::TimedOut.into()), false),
        ] {
            assert_eq!(is_answer(&found), wanted, "{found:?}");
        }
    }

    #[test]
    fn the_machine_knows_its_own_name() {
        let found = SystemResolver.addresses(&Domain::parse("localhost").unwrap()).unwrap();
        assert!(found.iter().any(IpAddr::is_loopback), "{found:?}");
    }
}

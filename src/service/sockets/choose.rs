//! Which of the sockets that were passed in are used, for what, and which are bound. Nothing is opened here.

use std::net::SocketAddr;

use super::{
    Kind, SocketError, Want, Wanted, is_loopback,
    offered::{Facts, Source, What},
};

/// What to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// For each socket offered what it is used for; `None`: it is closed.
    pub(super) kinds: Vec<Option<Kind>>,
    /// Addresses to bind.
    pub(super) bind: Vec<(Kind, SocketAddr)>,
    /// Kinds whose default addresses are to be bound, and whether on loopback only.
    pub(super) bind_default: Vec<(Kind, bool)>,
}

/// Chooses by address and type, never by order (B200).
pub(super) fn choose(wanted: &Wanted, offered: &[Facts]) -> Result<Choice, SocketError> {
    refuse_twins(offered)?;
    let mut choice = Choice { kinds: vec![None; offered.len()], ..Choice::default() };
    for kind in Kind::ALL {
        match wanted.of(kind) {
            Want::Given(addresses) => {
                for address in addresses {
                    match find(offered, &choice, kind, |is, source| is_given(*address, is, source)) {
                        Some(index) => mark(&mut choice, index, kind),
                        None => choice.bind.push((kind, *address)),
                    }
                }
            }
            Want::Default { local } => {
                let mut is_there = false;
                while let Some(index) = find(offered, &choice, kind, |is, _| is_default(kind, *local, is)) {
                    mark(&mut choice, index, kind);
                    is_there = true;
                }
                if is_there {
                    continue;
                }
                if offered.iter().any(|socket| matches!(socket.source, Source::Manager(_))) {
                    let passed = offered.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                    return Err(SocketError::Missing { kind, passed });
                }
                choice.bind_default.push((kind, *local));
            }
        }
    }
    Ok(choice)
}

/// The first socket of the right type that is not used yet and whose address fits. What the service manager passed in comes
/// before what another generation has.
fn find(offered: &[Facts], choice: &Choice, kind: Kind, fits: impl Fn(SocketAddr, Source) -> bool) -> Option<usize> {
    let is_free = |index: &usize| {
        let Some(socket) = offered.get(*index) else { return false };
        choice.kinds.get(*index).is_some_and(Option::is_none)
            && (socket.source == Source::Generation(kind) || matches!(socket.source, Source::Manager(_)))
            && address(socket, kind).is_some_and(|is| {
                fits(is, socket.source)
                    && !offered.iter().zip(&choice.kinds).any(|(other, used)| {
                        used.is_some_and(|used| used.transport() == kind.transport())
                            && address(other, kind) == Some(is)
                    })
            })
    };
    let by_manager = |index: &usize| offered.get(*index).is_some_and(|s| matches!(s.source, Source::Manager(_)));
    (0..offered.len()).find(|index| by_manager(index) && is_free(index)).or_else(|| (0..offered.len()).find(is_free))
}

fn mark(choice: &mut Choice, index: usize, kind: Kind) {
    if let Some(place) = choice.kinds.get_mut(index) {
        *place = Some(kind);
    }
}

fn address(socket: &Facts, kind: Kind) -> Option<SocketAddr> {
    match (&socket.what, kind) {
        (What::Tcp(address), Kind::Http | Kind::Https) | (What::Udp(address), Kind::Control) => Some(*address),
        _ => None,
    }
}

/// Port 0 means any port: the generation before says what it has used the socket for, so its port is as good.
fn is_given(wanted: SocketAddr, is: SocketAddr, source: Source) -> bool {
    wanted == is || (wanted.port() == 0 && matches!(source, Source::Generation(_)) && wanted.ip() == is.ip())
}

fn is_default(kind: Kind, local: bool, is: SocketAddr) -> bool {
    let is_port = is.port() == kind.default_port() || (local && is.port() == kind.unprivileged_port());
    // The control sockets are filtered by sender, so whichever address the unit has is taken (invariant 6).
    is_port && (!local || kind == Kind::Control || is_loopback(is.ip()))
}

/// Two sockets with SO_REUSEPORT, or one passed in twice: part of the connections would go where nobody looks.
fn refuse_twins(offered: &[Facts]) -> Result<(), SocketError> {
    let is_manager = |socket: &&Facts| matches!(socket.source, Source::Manager(_));
    for (index, second) in offered.iter().enumerate().filter(|(_, socket)| is_manager(socket)) {
        let twin = offered.iter().take(index).filter(is_manager).find(|first| match (&first.what, &second.what) {
            (What::Tcp(a), What::Tcp(b)) | (What::Udp(a), What::Udp(b)) => a == b,
            _ => false,
        });
        if let Some(first) = twin {
            return Err(SocketError::Twice { first: first.to_string(), second: second.to_string() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn tcp(fd: i32, address: &str) -> Facts {
        Facts { source: Source::Manager(fd), what: What::Tcp(at(address)) }
    }

    fn udp(fd: i32, address: &str) -> Facts {
        Facts { source: Source::Manager(fd), what: What::Udp(at(address)) }
    }

    fn before(kind: Kind, address: &str) -> Facts {
        let what = if kind == Kind::Control { What::Udp(at(address)) } else { What::Tcp(at(address)) };
        Facts { source: Source::Generation(kind), what }
    }

    fn defaults() -> Wanted {
        let want = |local| Want::Default { local };
        Wanted { http: want(false), https: want(false), control: want(true) }
    }

    fn given(http: &str, https: &str, control: &str) -> Wanted {
        let want = |address| Want::Given(vec![at(address)]);
        Wanted { http: want(http), https: want(https), control: want(control) }
    }

    fn all() -> Vec<Facts> {
        vec![udp(3, "127.0.0.1:40608"), udp(4, "[::1]:40608"), tcp(5, "[::]:80"), tcp(6, "[::]:443")]
    }

    /// Any of the 24 orders gives the same sockets the same work (B200).
    #[test]
    fn sockets_are_told_apart_in_any_order_b200() {
        let expected = |facts: &Facts| match facts.source {
            Source::Manager(3 | 4) => Some(Kind::Control),
            Source::Manager(5) => Some(Kind::Http),
            _ => Some(Kind::Https),
        };
        for order in 0..24 {
            let (mut left, mut offered, mut rest) = (all(), Vec::new(), order);
            for size in (1..=4).rev() {
                offered.push(left.remove(rest % size));
                rest /= size;
            }
            let choice = choose(&defaults(), &offered).unwrap();
            assert_eq!(choice.kinds, offered.iter().map(expected).collect::<Vec<_>>(), "{offered:?}");
            assert!(choice.bind.is_empty() && choice.bind_default.is_empty());
        }
    }

    #[test]
    fn a_missing_socket_is_an_error_that_names_it_and_what_was_passed_b200() {
        for (missing, name) in [(2, "HTTP (TCP port 80)"), (3, "HTTPS (TCP port 443)")] {
            let mut offered = all();
            offered.remove(missing);
            let error = choose(&defaults(), &offered).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("descriptor 3, UDP 127.0.0.1:40608"), "{error}");
        }
        let error = choose(&defaults(), &all()[2..]).unwrap_err().to_string();
        assert!(error.contains("control (UDP port 40608)"), "{error}");
        assert!(choose(&defaults(), &all()[1..]).is_ok(), "one address of a kind is enough (B191)");
    }

    #[test]
    fn a_socket_of_the_wrong_type_does_not_count_and_is_named_b200() {
        let mut offered = all();
        offered[2] = udp(5, "[::]:80");
        let error = choose(&defaults(), &offered).unwrap_err().to_string();
        assert!(error.contains("HTTP (TCP port 80)") && error.contains("descriptor 5, UDP [::]:80"), "{error}");
        offered[2] = Facts { source: Source::Manager(5), what: What::Other("/dev/null".into()) };
        let error = choose(&defaults(), &offered).unwrap_err().to_string();
        assert!(error.contains("descriptor 5, /dev/null"), "{error}");
    }

    #[test]
    fn an_extra_socket_is_not_used_and_two_for_one_address_are_refused_b200() {
        let mut offered = all();
        offered.insert(0, tcp(9, "[::]:8080"));
        assert_eq!(choose(&defaults(), &offered).unwrap().kinds[0], None);
        offered.push(tcp(10, "[::]:80"));
        let error = choose(&defaults(), &offered).unwrap_err().to_string();
        assert!(error.contains("descriptor 5, TCP [::]:80 and descriptor 10, TCP [::]:80"), "{error}");
    }

    #[test]
    fn without_offers_everything_is_bound() {
        let choice = choose(&defaults(), &[]).unwrap();
        assert_eq!(choice.bind_default, [(Kind::Http, false), (Kind::Https, false), (Kind::Control, true)]);
        let choice = choose(&given("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"), &[]).unwrap();
        assert_eq!(choice.bind.len(), 3);
    }

    #[test]
    fn a_given_address_is_taken_from_the_offer_or_bound() {
        let wanted = given("127.0.0.1:8000", "127.0.0.1:8001", "127.0.0.1:8002");
        let choice = choose(&wanted, &[tcp(3, "127.0.0.1:8001"), udp(4, "127.0.0.1:8002")]).unwrap();
        assert_eq!(choice.kinds, [Some(Kind::Https), Some(Kind::Control)]);
        assert_eq!(choice.bind, [(Kind::Http, at("127.0.0.1:8000"))]);
    }

    /// Port 0 of the settings has become a real one, and the generation before says for what.
    #[test]
    fn a_hand_over_keeps_what_fits_and_binds_the_rest_b208() {
        let offered = [
            before(Kind::Http, "127.0.0.1:50001"),
            before(Kind::Https, "127.0.0.1:50002"),
            before(Kind::Control, "127.0.0.1:50003"),
        ];
        let choice = choose(&given("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"), &offered).unwrap();
        assert_eq!(choice.kinds, [Some(Kind::Http), Some(Kind::Https), Some(Kind::Control)]);
        let choice = choose(&given("127.0.0.1:0", "127.0.0.1:9", "127.0.0.1:50003"), &offered).unwrap();
        assert_eq!(choice.kinds, [Some(Kind::Http), None, Some(Kind::Control)]);
        assert_eq!(choice.bind, [(Kind::Https, at("127.0.0.1:9"))]);
        // Where no address is given, only sockets on the default ports fit.
        let choice = choose(&defaults(), &offered).unwrap();
        assert_eq!(choice.kinds, [None, None, None]);
        assert_eq!(choice.bind_default.len(), 3);
    }

    #[test]
    fn the_service_manager_comes_before_the_generation_before() {
        let offered = [before(Kind::Http, "[::]:80"), tcp(3, "[::]:80"), tcp(4, "[::]:443"), udp(5, "127.0.0.1:40608")];
        assert_eq!(choose(&defaults(), &offered).unwrap().kinds[..2], [None, Some(Kind::Http)]);
    }

    #[test]
    fn local_takes_loopback_alone_on_either_port_b222() {
        let want = || Want::Default { local: true };
        let wanted = Wanted { http: want(), https: want(), control: want() };
        let mut offered = vec![tcp(3, "[::1]:8080"), tcp(4, "127.0.0.1:443"), udp(5, "127.0.0.1:40608")];
        assert_eq!(
            choose(&wanted, &offered).unwrap().kinds,
            [Some(Kind::Http), Some(Kind::Https), Some(Kind::Control)]
        );
        offered[0] = tcp(3, "[::]:80");
        assert!(choose(&wanted, &offered).is_err(), "others could reach it");
    }
}

//! What is made next, and when, in a time of the tests' own; against a stand-in for mkcert.

use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::certs::{schedule::Origin, store::Certificate};

const START: Now = Now { wall: 1_800_000_000, steady: 5_000 };
const DAY: u64 = 24 * 3600;
const LIFE: u64 = 825 * DAY;

/// Signs in the year of its name, in a manner of speaking: its certificates begin in that second.
#[derive(Debug)]
struct Stand(u64);

impl Authority for Stand {
    fn has_made(&self, certificate: &Kept) -> bool {
        certificate.not_before % 10 == self.0
    }
}

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

fn later(seconds: u64) -> Now {
    Now { wall: START.wall + seconds, steady: START.steady + seconds }
}

/// A certificate of that stand-in, begun at about that time.
fn certificate(name: &str, stand: u64, now: Now) -> Certificate {
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    let pem = format!("{}{}", key.serialize_pem(), leaf.pem());
    let mut certificate = Certificate::parse(&domain(name), Origin::Issued, pem.as_bytes()).unwrap();
    certificate.not_before = now.wall / 10 * 10 + stand;
    certificate.not_after = certificate.not_before + LIFE;
    certificate
}

fn made(name: &str, stand: u64, now: Now) -> Result<Made, MkcertError> {
    Ok(Made { certificate: certificate(name, stand, now), untrusted_by: Vec::new() })
}

/// Names of which none has a certificate, at a machine with mkcert.
fn found(names: &[&str]) -> LocalNames<Stand> {
    let mut local = LocalNames::default();
    names.iter().for_each(|name| local.mapped(&domain(name), None));
    assert!(matches!(local.next(START), Some(Decision::Look)));
    local.looked(Ok(Stand(0)), START);
    local
}

fn next(local: &mut LocalNames<Stand>, now: Now) -> Option<String> {
    match local.next(now)? {
        Decision::Look => Some("look".to_owned()),
        Decision::Make(domain, _) => Some(domain.to_string()),
    }
}

fn reason(local: &LocalNames<Stand>, name: &str, now: Now) -> String {
    local.standing(&domain(name), now).unwrap().reason
}

#[test]
fn without_a_local_name_nobody_looks_for_mkcert() {
    let mut local = LocalNames::<Stand>::default();
    assert!(local.next(START).is_none() && local.wait(START).is_none());
    local.mapped(&domain("a.test"), None);
    assert_eq!((local.wait(START), next(&mut local, START).as_deref()), (Some(0), Some("look")));
    local.unmapped(&domain("a.test"));
    local.looked(Ok(Stand(0)), START);
    assert!(local.next(later(100_000)).is_none() && local.standing(&domain("a.test"), START).is_none());
}

#[test]
fn b224_names_get_their_certificates_one_at_a_time() {
    let mut local = found(&["b.test", "a.test"]);
    assert_eq!(reason(&local, "a.test", START), "plain HTTP until mkcert has made a certificate");
    assert_eq!(next(&mut local, START).as_deref(), Some("a.test"));
    assert_eq!((next(&mut local, START), local.wait(START)), (None, None), "one is under way");
    local.made(&domain("a.test"), made("a.test", 0, START), START);
    let standing = local.standing(&domain("a.test"), START).unwrap();
    assert_eq!(
        (standing.state, standing.until, standing.reason),
        (State::Local, Some(START.wall + LIFE), String::new())
    );
    assert_eq!(standing.next, Some(START.wall + LIFE - LIFE / 3));
    assert_eq!(next(&mut local, START).as_deref(), Some("b.test"));
    local.made(&domain("b.test"), made("b.test", 0, START), START);
    assert_eq!((next(&mut local, START), local.wait(START)), (None, Some(3600)), "but for a look now and then");
    assert_eq!(local.count(), 2);
}

#[test]
fn a_certificate_that_is_there_is_kept_until_a_third_of_its_life_is_left() {
    let mut local = LocalNames::default();
    let held = certificate("a.test", 0, START);
    local.mapped(&domain("a.test"), Some((&held).into()));
    local.mapped(&domain("a.test"), None);
    assert_eq!(next(&mut local, START).as_deref(), Some("look"));
    local.looked(Ok(Stand(0)), START);
    let due = Now { wall: held.not_after - LIFE / 3, steady: START.steady + 3599 };
    assert_eq!(next(&mut local, Now { wall: due.wall - 1, ..due }), None);
    assert_eq!(next(&mut local, due).as_deref(), Some("a.test"));
    local.made(&domain("a.test"), Err(MkcertError::TimedOut), due);
    let standing = local.standing(&domain("a.test"), due).unwrap();
    assert_eq!((standing.until, standing.next), (Some(held.not_after), Some(due.wall + 60)));
    assert_eq!(standing.reason, "no new certificate: mkcert was not done within 20 s");
}

#[test]
fn another_authority_makes_new_certificates() {
    let mut local = LocalNames::default();
    local.mapped(&domain("a.test"), Some((&certificate("a.test", 1, START)).into()));
    local.next(START);
    local.looked(Ok(Stand(2)), START);
    assert_eq!(reason(&local, "a.test", START), "no new certificate: mkcert has another CA than before");
    // A name without any comes first.
    local.mapped(&domain("b.test"), None);
    local.mapped(&domain("c.test"), Some((&certificate("c.test", 2, START)).into()));
    for name in ["b.test", "a.test"] {
        assert_eq!(next(&mut local, START).as_deref(), Some(name));
        local.made(&domain(name), made(name, 2, START), START);
    }
    assert_eq!(next(&mut local, START), None);
    // It became another one while hotcore runs.
    let hour = later(3600);
    assert_eq!(next(&mut local, hour).as_deref(), Some("look"));
    local.looked(Ok(Stand(3)), hour);
    assert_eq!(next(&mut local, hour).as_deref(), Some("a.test"));
    local.made(&domain("a.test"), Err(MkcertError::OtherAuthority), hour);
    assert_eq!(next(&mut local, hour).as_deref(), Some("look"), "at once");
}

#[test]
fn b225_without_mkcert_it_is_plain_http_with_the_remedy_and_looked_for_again() {
    let mut local = LocalNames::<Stand>::default();
    local.mapped(&domain("a.test"), None);
    let mut now = START;
    for pause in [60, 600, 3600, 3600] {
        assert_eq!(next(&mut local, now).as_deref(), Some("look"));
        local.looked(Err(Absent::NoProgram), now);
        let standing = local.standing(&domain("a.test"), now).unwrap();
        assert_eq!((standing.until, standing.next), (None, Some(now.wall + pause)));
        assert!(standing.reason.starts_with("plain HTTP: mkcert is not installed: "), "{}", standing.reason);
        assert!(standing.reason.contains("`mkcert -install` as yourself"), "{}", standing.reason);
        assert_eq!(local.wait(now), Some(pause));
        now = Now { wall: now.wall + pause, steady: now.steady + pause };
        assert_eq!(next(&mut local, Now { steady: now.steady - 1, ..now }), None);
    }
    next(&mut local, now);
    local.looked(Err(Absent::NoProgram), now);
    local.retry(&domain("a.test"));
    assert_eq!(next(&mut local, now).as_deref(), Some("look"), "a person asked for it");
    local.looked(Ok(Stand(0)), now);
    assert_eq!(next(&mut local, now).as_deref(), Some("a.test"));
}

#[test]
fn a_failing_name_waits_longer_each_time_and_holds_up_no_other() {
    let mut local = found(&["a.test", "b.test"]);
    let mut now = START;
    for pause in [60, 600, 3600, 3600] {
        let mut tried = next(&mut local, now);
        if tried.as_deref() == Some("look") {
            local.looked(Ok(Stand(0)), now);
            tried = next(&mut local, now);
        }
        assert_eq!(tried.as_deref(), Some("a.test"));
        local.made(&domain("a.test"), Err(MkcertError::Refused("no\nspace".to_owned())), now);
        assert_eq!(reason(&local, "a.test", now), "plain HTTP: mkcert failed: no space");
        if now == START {
            assert_eq!(next(&mut local, now).as_deref(), Some("b.test"));
            local.made(&domain("b.test"), made("b.test", 0, now), now);
        }
        let early = Now { steady: now.steady + pause - 1, ..now };
        assert!(next(&mut local, early).is_none_or(|what| what == "look"));
        if local.wait(early).is_none() {
            local.looked(Ok(Stand(0)), early);
        }
        now = Now { wall: now.wall + pause, steady: now.steady + pause };
    }
    local.retry(&domain("a.test"));
    assert_eq!(next(&mut local, now).as_deref(), Some("look"));
    local.looked(Ok(Stand(0)), now);
    assert_eq!(next(&mut local, now).as_deref(), Some("a.test"));
    local.made(&domain("a.test"), made("a.test", 0, now), now);
    assert_eq!(reason(&local, "a.test", now), "");
}

/// A clock that is set forward by years makes each certificate look old at once.
#[test]
fn a_wrong_clock_does_not_make_certificates_in_a_circle() {
    let mut local = found(&["a.test"]);
    let wrong = Now { wall: START.wall + 10 * LIFE, steady: START.steady };
    assert_eq!(next(&mut local, wrong).as_deref(), Some("a.test"));
    local.made(&domain("a.test"), made("a.test", 0, START), wrong);
    assert_eq!((next(&mut local, wrong), local.wait(wrong)), (None, Some(60)));
}

/// B225: the line names the store.
#[test]
fn an_authority_that_is_not_trusted_is_said_beside_the_certificate() {
    let mut local = found(&["a.test"]);
    local.next(START);
    let certificate = certificate("a.test", 0, START);
    local.made(&domain("a.test"), Ok(Made { certificate, untrusted_by: vec!["system".to_owned()] }), START);
    let wanted = "mkcert's CA is not in the trust store of system: run `mkcert -install` as yourself";
    assert_eq!(reason(&local, "a.test", START), wanted);
}

#[test]
fn a_name_that_was_removed_while_its_certificate_was_made_is_forgotten() {
    let mut local = found(&["a.test"]);
    local.next(START);
    local.unmapped(&domain("a.test"));
    local.made(&domain("a.test"), made("a.test", 0, START), START);
    assert!(local.standing(&domain("a.test"), START).is_none());
    local.mapped(&domain("a.test"), Some((&certificate("a.test", 0, START)).into()));
    assert_eq!(next(&mut local, START), None, "and is known again with what was kept");
}

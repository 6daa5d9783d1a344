//! From a rule to a certificate that serves.

use super::*;
use crate::certs::issuer::{Answer, Cause, ChallengeKind, Problem, Step};

#[test]
fn a_name_gets_its_certificate_and_is_https_only_from_then_on() {
    run(async {
        let mut rig = Rig::started(&[]);
        rig.pass(1).await;
        rig.add("a.example");
        rig.until("ordering", |rig| rig.state("a.example") == Some(State::Ordering)).await;
        assert!(!rig.certificates.is_https_only(&domain("a.example")));
        rig.until("served", |rig| rig.is_served("a.example")).await;
        assert!(rig.certificates.is_https_only(&domain("a.example")));
        rig.until("valid", |rig| rig.state("a.example") == Some(State::Valid)).await;
        let standing = rig.standing("a.example").unwrap();
        assert!(standing.until.unwrap() > START + 89 * 86_400 && standing.next.unwrap() > START + 50 * 86_400);
        assert_eq!(rig.script.orders(), ["a.example"]);
        assert!(rig.board.problems().is_empty(), "{rig:?}");
        assert!(rig.stop().await < Duration::from_secs(1));
        assert!(rig.is_served("a.example"), "a keeper at rest serves on");
    });
}

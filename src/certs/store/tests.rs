//! What the store promises: after each crash, beside each damage, and on a real disk.

mod crashes;

use std::time::Instant;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256, date_time_ymd};

use super::*;
use crate::testing::folder::Model;

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

/// Key and chain for these names, the first year of which tells it from others.
fn pem_for(names: &[&str], year: i32) -> String {
    let issuer_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let mut issuer = CertificateParams::new(Vec::new()).unwrap();
    issuer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = issuer.self_signed(&issuer_key).unwrap();
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let mut leaf = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    (leaf.not_before, leaf.not_after) = (date_time_ymd(year, 1, 1), date_time_ymd(year + 1, 1, 1));
    let leaf = leaf.signed_by(&key, &issuer, &issuer_key).unwrap();
    format!("{}{}{}", key.serialize_pem(), leaf.pem(), issuer.pem())
}

fn certificate(name: &str, year: i32) -> Certificate {
    Certificate::parse(&domain(name), Origin::Issued, pem_for(&[name], year).as_bytes()).unwrap()
}

fn load<S: Storage>(store: &Store<S>, name: &str) -> Found {
    all(store).remove(&domain(name)).unwrap_or_default()
}

fn all<S: Storage>(store: &Store<S>) -> BTreeMap<Domain, Found> {
    let mut all = BTreeMap::new();
    store.load_each(|domain, found| _ = all.insert(domain, found)).unwrap();
    all
}

fn serves<S: Storage>(store: &Store<S>, name: &str) -> Option<u64> {
    load(store, name).certificate.map(|certificate| certificate.not_before)
}

/// Seconds since 1970 at the beginning of a year.
fn year(year: i32) -> u64 {
    u64::try_from(date_time_ymd(year, 1, 1).unix_timestamp()).unwrap()
}

#[test]
fn a_certificate_comes_back_with_its_key_and_dates() {
    let mut store = Store::new(Model::new());
    let saved = certificate("a.example", 2026);
    store.save(&saved).unwrap();
    let found = load(&store, "a.example");
    let loaded = found.certificate.unwrap();
    assert_eq!((loaded.not_before, loaded.not_after, loaded.origin), (year(2026), year(2027), Origin::Issued));
    assert_eq!(loaded.key.cert, saved.key.cert);
    assert!(found.had_one && found.problems.is_empty());
    assert_eq!(all(&store).len(), 1);
    assert!(!format!("{saved:?}").contains("key"), "B218");
}

#[test]
fn b172_what_cannot_be_shown_to_be_right_is_refused() {
    let name = domain("a.example");
    let (good, other) = (pem_for(&["a.example"], 2026), pem_for(&["a.example"], 2026));
    let parse = |pem: &str| Certificate::parse(&name, Origin::Own, pem.as_bytes()).map(|_| ());
    let (key, chain) = good.split_at(good.find("-----BEGIN CERTIFICATE").unwrap());
    let (_, other_chain) = other.split_at(other.find("-----BEGIN CERTIFICATE").unwrap());
    assert_eq!(parse(&good), Ok(()));
    assert_eq!(parse(&format!("{chain}{key}")), Ok(()), "in any order");
    assert_eq!(parse(key), Err(CertificateError::NoCertificate));
    assert_eq!(parse(chain), Err(CertificateError::NoKey));
    assert_eq!(parse(&format!("{key}{other_chain}")), Err(CertificateError::OtherKey));
    assert_eq!(parse(&pem_for(&["b.example"], 2026)), Err(CertificateError::OtherName));
    let wide = pem_for(&["*.b.example", "c.example"], 2026);
    let wide = Certificate::parse(&domain("a.b.example"), Origin::Own, wide.as_bytes());
    assert!(wide.is_ok(), "a person's may cover more");
    assert_eq!(parse(&pem_for(&["*.a.example"], 2026)), Err(CertificateError::OtherName));
    assert_eq!(parse(&chain.repeat(5).replacen("", key, 1)), Ok(()), "ten certificates");
    assert_eq!(parse(&format!("{good}{}", chain.repeat(5))), Err(CertificateError::TooLarge), "and more");
    let large = "\n".repeat(limits::CERTIFICATE_FILE_BYTES_MAX - good.len());
    assert_eq!(parse(&format!("{large}{good}")), Ok(()));
    assert_eq!(parse(&format!("{large}\n{good}")), Err(CertificateError::TooLarge));
    assert_eq!(parse(""), Err(CertificateError::NoKey));
}

#[test]
fn a_fresh_certificate_is_for_its_name_alone_valid_now_and_has_its_chain() {
    let fresh = certificate("a.example", 2026);
    let begin = year(2026);
    for (now, wanted) in [
        (begin - 300, Ok(())),
        (begin - 301, Err(CertificateError::NotValidNow)),
        (year(2027) - 1, Ok(())),
        (year(2027), Err(CertificateError::NotValidNow)),
    ] {
        assert_eq!(fresh.check_fresh(now), wanted, "{now}");
    }
    for names in [&["a.b.example", "b.example"][..], &["*.b.example"]] {
        let pem = pem_for(names, 2026);
        let more = Certificate::parse(&domain("a.b.example"), Origin::Issued, pem.as_bytes()).unwrap();
        assert_eq!(more.check_fresh(begin), Err(CertificateError::OtherName));
    }
    let pem = pem_for(&["a.example"], 2026);
    let alone = &pem[..pem.rfind("-----BEGIN").unwrap()];
    let alone = Certificate::parse(&domain("a.example"), Origin::Issued, alone.as_bytes()).unwrap();
    assert_eq!(alone.check_fresh(begin), Err(CertificateError::NoChain));
}

/// B164, B172.
#[test]
fn a_damaged_certificate_falls_back_to_the_previous_one_and_is_never_forgotten() {
    let mut store = Store::new(Model::new());
    store.save(&certificate("a.example", 2026)).unwrap();
    store.save(&certificate("a.example", 2027)).unwrap();
    let contents = store.storage.contents();
    let current = &contents["a.example.pem"];
    let seed = crate::testing::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..200 {
        let mut damaged = contents.clone();
        let at = random.usize(..current.len());
        damaged.get_mut("a.example.pem").unwrap()[at] ^= 1 << random.u8(..8);
        let mut store = Store::new(Model::with(damaged));
        let found = load(&store, "a.example");
        assert_eq!(found.certificate.unwrap().not_before, year(2026), "byte {at}, seed {seed}");
        assert!(found.had_one && found.problems.len() == 1);
        // The damaged one does not push the good one out.
        store.save(&certificate("a.example", 2028)).unwrap();
        store.storage.create("a.example.pem").unwrap();
        assert_eq!(serves(&store, "a.example"), Some(year(2026)));
    }
    let mut gone = contents.clone();
    gone.remove("a.example.pem");
    gone.remove("a.example_previous.pem");
    let found = load(&Store::new(Model::with(gone)), "a.example");
    assert!(found.had_one && found.certificate.is_none());
}

#[test]
fn a_save_that_is_repeated_keeps_the_previous_generation() {
    let mut store = Store::new(Model::new());
    store.save(&certificate("a.example", 2026)).unwrap();
    let new = certificate("a.example", 2027);
    store.save(&new).unwrap();
    store.save(&new).unwrap();
    store.storage.remove("a.example.pem").unwrap();
    assert_eq!(serves(&store, "a.example"), Some(year(2026)));
}

#[test]
fn an_own_certificate_is_never_replaced_by_one_of_the_ca() {
    let mut store = Store::new(Model::new());
    let own = Certificate { origin: Origin::Own, ..certificate("a.example", 2026) };
    store.save(&certificate("a.example", 2025)).unwrap();
    store.save(&own).unwrap();
    assert!(matches!(store.save(&certificate("a.example", 2027)), Err(SaveError::Own)));
    assert_eq!(load(&store, "a.example").certificate.unwrap().origin, Origin::Own);
    store.save(&Certificate { origin: Origin::Own, ..certificate("a.example", 2028) }).unwrap();
    assert_eq!(serves(&store, "a.example"), Some(year(2028)));
}

/// B164.
#[test]
fn a_certificate_that_is_taken_away_is_gone_with_the_previous_one_and_not_forgotten() {
    let mut store = Store::new(Model::new());
    assert!(!store.remove(&domain("a.example")).unwrap());
    assert!(store.storage.contents().is_empty(), "a name that never had one is not marked");
    for year in [2026, 2027] {
        store.save(&certificate("a.example", year)).unwrap();
        store.save(&certificate("b.example", year)).unwrap();
    }
    store.storage.remove("a.example_once").unwrap();
    assert!(store.remove(&domain("a.example")).unwrap());
    let found = load(&store, "a.example");
    assert!(found.certificate.is_none() && found.had_one && found.problems.is_empty());
    let contents = store.storage.contents();
    let left: Vec<_> = contents.keys().filter(|name| name.starts_with("a.")).collect();
    assert_eq!(left, ["a.example_once"]);
    assert_eq!(serves(&store, "b.example"), Some(year(2027)), "another name's stays");
    assert!(!store.remove(&domain("a.example")).unwrap());
    store.save(&certificate("a.example", 2028)).unwrap();
    assert_eq!(serves(&store, "a.example"), Some(year(2028)));
}

/// An interrupted removal never brings an older certificate back, and can be repeated.
#[test]
fn a_removal_that_fails_at_any_call_leaves_the_current_one_or_none() {
    for call in 0.. {
        let mut store = Store::new(Model::new());
        store.save(&certificate("a.example", 2026)).unwrap();
        store.save(&certificate("a.example", 2027)).unwrap();
        let calls = store.storage.calls();
        store.storage.fail(calls + call, calls + call + 1, io::ErrorKind::PermissionDenied);
        let result = store.remove(&domain("a.example"));
        if store.storage.calls() <= calls + call {
            assert!(result.is_ok() && call > 6, "{call} calls");
            break;
        }
        assert!(result.is_err(), "call {call}");
        let now = serves(&store, "a.example");
        assert!([Some(year(2027)), None].contains(&now), "call {call}: {now:?}");
        store.remove(&domain("a.example")).unwrap();
        assert_eq!(serves(&store, "a.example"), None, "call {call}");
    }
}

#[test]
fn files_of_one_name_are_no_use_for_another() {
    let mut store = Store::new(Model::new());
    store.save(&certificate("a.example", 2026)).unwrap();
    let mut contents = store.storage.contents();
    let bytes = contents["a.example.pem"].clone();
    contents.insert("b.example.pem".to_owned(), bytes);
    assert_eq!(serves(&Store::new(Model::with(contents)), "b.example"), None);
}

#[test]
fn the_longest_name_is_kept_like_any_other() {
    let name = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path()).unwrap();
    store.save(&certificate(&name, 2026)).unwrap();
    store.save_records(&[(RecordOf::Name(domain(&name)), Some("text".to_owned()))]).unwrap();
    store.save_pending(&domain(&name), b"order").unwrap();
    let found = load(&store, &name);
    assert!(found.certificate.is_some() && found.had_one);
    assert_eq!((found.record, found.pending), (Record::Text(b"text".to_vec()), Some(b"order".to_vec())));
}

/// Invariant 5: no private key is ever in a file others can read.
#[test]
fn every_file_is_for_its_owner_alone() {
    let outer = tempfile::tempdir().unwrap();
    let path = outer.path().join("certs");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    let mut store = Store::open(&path).unwrap();
    for year in [2026, 2027] {
        store.save(&certificate("a.example", year)).unwrap();
    }
    store.save_records(&[(RecordOf::Budget, Some("text".to_owned()))]).unwrap();
    store.save_pending(&domain("a.example"), b"order").unwrap();
    let account = Account { directory: "https://ca.example/dir".to_owned(), key: vec![1, 2, 255], url: None };
    store.save_account(&account).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    let mut files = 0;
    for entry in fs::read_dir(&path).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        files += 1;
    }
    assert_eq!(files, 7);
}

/// B199.
#[test]
fn an_account_is_made_once_and_one_that_cannot_be_read_is_not_one_that_does_not_exist() {
    const CA: &str = "https://ca.example/dir";
    let mut store = Store::new(Model::new());
    assert!(store.account(CA).unwrap().is_none());
    let mut account = Account { directory: CA.to_owned(), key: vec![0, 7, 255], url: None };
    store.save_account(&account).unwrap();
    account.url = Some("https://ca.example/acct/1".to_owned());
    store.save_account(&account).unwrap();
    assert_eq!(store.account(CA).unwrap(), Some(account.clone()));
    assert!(matches!(store.account("https://other.example"), Err(AccountError::OtherDirectory(_))));
    let other = Account { key: vec![9], ..account.clone() };
    assert!(matches!(store.save_account(&other), Err(AccountError::Exists)));

    let contents = store.storage.contents();
    for at in 0..contents["_account"].len() {
        let mut damaged = contents.clone();
        damaged.get_mut("_account").unwrap()[at] ^= 1;
        let mut store = Store::new(Model::with(damaged));
        assert!(matches!(store.account(CA), Err(AccountError::Damaged)), "byte {at}");
        assert!(matches!(store.save_account(&account), Err(AccountError::Damaged)), "byte {at}");
    }
    let mut lost = contents.clone();
    lost.remove("_account");
    assert!(matches!(Store::new(Model::with(lost)).account(CA), Err(AccountError::Lost)));
    store.storage.fail(0, u64::MAX, io::ErrorKind::PermissionDenied);
    assert!(matches!(store.account(CA), Err(AccountError::Io(_))));
    assert!(matches!(store.save_account(&account), Err(AccountError::Io(_))));
}

#[test]
fn records_come_and_go() {
    let mut store = Store::new(Model::new());
    let of = RecordOf::Name(domain("a.example"));
    assert_eq!(store.budget(), Record::Never);
    store.save_records(&[(RecordOf::Budget, Some("b".to_owned())), (of.clone(), Some("a".to_owned()))]).unwrap();
    assert_eq!(store.budget(), Record::Text(b"b".to_vec()));
    let found = load(&store, "a.example");
    assert_eq!(found.record, Record::Text(b"a".to_vec()));
    assert!(!found.had_one && found.certificate.is_none(), "a record is no certificate");
    store.save_records(&[(of.clone(), None), (of, None)]).unwrap();
    assert!(all(&store).is_empty());
    store.save_pending(&domain("a.example"), b"x").unwrap();
    store.remove_pending(&domain("a.example")).unwrap();
    store.remove_pending(&domain("a.example")).unwrap();
    assert!(all(&store).is_empty());
}

#[test]
fn a_failure_at_any_call_is_reported_and_the_next_save_works() {
    for call in 0.. {
        let mut store = Store::new(Model::new());
        store.save(&certificate("a.example", 2026)).unwrap();
        let calls = store.storage.calls();
        store.storage.fail(calls + call, calls + call + 1, io::ErrorKind::StorageFull);
        let new = certificate("a.example", 2027);
        let result = store.save(&new);
        if store.storage.calls() <= calls + call {
            assert!(result.is_ok() && call > 6, "{call} calls");
            break;
        }
        assert!(result.is_err(), "call {call}");
        let now = serves(&store, "a.example");
        assert!([Some(year(2026)), Some(year(2027))].contains(&now), "call {call}: {now:?}");
        store.save(&new).unwrap();
        assert_eq!(serves(&store, "a.example"), Some(year(2027)), "call {call}");
    }
}

#[test]
#[expect(clippy::disallowed_macros, reason = "a figure to look at")]
fn ten_thousand_names_are_loaded_in_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path()).unwrap();
    // One key for all: what is measured is the reading.
    let names: Vec<_> = (0..10_000).map(|i| domain(&format!("n{i}.many.example"))).collect();
    let pem = pem_for(&["*.many.example"], 2026);
    let sample = Certificate::parse(&names[0], Origin::Own, pem.as_bytes()).unwrap();
    for name in &names {
        let bytes = file(&Certificate { domain: name.clone(), ..sample.clone() });
        fs::write(folder.path().join(format!("{name}.pem")), bytes).unwrap();
        fs::write(folder.path().join(format!("{name}_schedule")), "x".repeat(400)).unwrap();
    }
    store.save(&certificate("other.example", 2026)).unwrap();
    let begin = Instant::now();
    let all = all(&store);
    let took = begin.elapsed();
    println!("10,001 names in {took:?}");
    assert!(all.len() == 10_001 && all.values().all(|found| found.certificate.is_some()));
    assert!(took.as_secs() < 60, "{took:?}");
}

//! Whatever is taken for a name has the form of one, and is the same when it is parsed again: as a text and as a `Host`.

#![no_main]

use hotcore::domain::{Authority, Domain, REPLY_WORDS};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Authority { domain: Some(domain), .. }) = Authority::parse(bytes) {
        check(&domain);
    }
    match Domain::parse(&String::from_utf8_lossy(bytes)) {
        Ok(domain) => check(&domain),
        Err(error) => assert!(error.to_string().len() < 1_000),
    }
});

fn check(domain: &Domain) {
    let name = domain.as_str();
    assert_eq!(Domain::parse(name).as_ref(), Ok(domain));
    let authority = Authority::parse(name.as_bytes());
    assert_eq!(authority, Ok(Authority { domain: Some(domain.clone()), port: None }));
    assert!((1..=253).contains(&name.len()));
    assert!(name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.')));
    assert!(
        name.split('.')
            .all(|label| { (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-') })
    );
    assert!(!name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())));
    assert!(!REPLY_WORDS.contains(&name));
}

//! The text of an interrupted order on disk, key and all.

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};

use crate::{certs::issuer::PendingOrder, domain::Domain};

/// For the store, which says whose it is and closes it to others.
pub(super) fn write(pending: &PendingOrder) -> Vec<u8> {
    let csr = BASE64_STANDARD.encode(&pending.csr);
    json!({ "version": 1, "url": pending.url, "key": pending.key_pem, "csr": csr }).to_string().into_bytes()
}

/// `None`: damaged, or of a version that this one does not know.
pub(super) fn read(domain: &Domain, bytes: &[u8]) -> Option<PendingOrder> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    (value.get("version") == Some(&Value::from(1))).then_some(())?;
    Some(PendingOrder {
        domain: domain.clone(),
        url: text("url")?.to_owned(),
        key_pem: text("key")?.to_owned(),
        csr: BASE64_STANDARD.decode(text("csr")?).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_comes_back_as_it_was_and_damage_as_nothing() {
        let domain = Domain::parse("a.example").unwrap();
        let pending = PendingOrder {
            domain: domain.clone(),
            url: "https://ca.example/order/1".into(),
            key_pem: "-----BEGIN PRIVATE KEY-----\n".into(),
            csr: vec![0, 255, 7],
        };
        let bytes = write(&pending);
        assert_eq!(read(&domain, &bytes), Some(pending));
        for end in 0..bytes.len() {
            assert_eq!(read(&domain, &bytes[..end]), None);
        }
        let other = String::from_utf8(bytes).unwrap().replace("\"version\":1", "\"version\":2");
        assert_eq!(read(&domain, other.as_bytes()), None);
    }
}

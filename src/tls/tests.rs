//! Certificates and names for the tests of this room.

use std::sync::Arc;

use rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};

use crate::domain::Domain;

pub(super) fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

/// Self-signed, for this name.
pub(super) fn certificate(name: &str) -> Arc<CertifiedKey> {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.key_pair.serialize_der()));
    Arc::new(CertifiedKey::new(vec![made.cert.der().clone()], any_supported_type(&key).unwrap()))
}

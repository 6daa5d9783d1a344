//! One key of session tickets: AES-256-GCM with a random nonce, and a name that a ticket begins with.
//!
//! A key seals for half a day: even a million tickets a minute stay far below the 2^32 messages that random nonces of 96 bits
//! allow (NIST SP 800-38D, 8.3).

use std::{fmt::Write as _, time::Duration};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    rand,
};

use super::TicketError;

const NAME_BYTES: usize = 16;
const SECRET_BYTES: usize = 32;

/// Seals the state of sessions, and opens what it has sealed.
pub(super) struct Key {
    /// Seconds since 1970.
    drawn: u64,
    /// Tells which key a ticket is for; no secret.
    name: [u8; NAME_BYTES],
    secret: [u8; SECRET_BYTES],
    cipher: RandomizedNonceKey,
}

impl Key {
    /// A new key.
    pub(super) fn draw(now: u64) -> Result<Self, TicketError> {
        let (mut name, mut secret) = ([0; NAME_BYTES], [0; SECRET_BYTES]);
        rand::fill(&mut name).and_then(|()| rand::fill(&mut secret)).map_err(|_| TicketError::Random)?;
        Self::new(now, name, secret).ok_or(TicketError::Random)
    }

    fn new(drawn: u64, name: [u8; NAME_BYTES], secret: [u8; SECRET_BYTES]) -> Option<Self> {
        let cipher = RandomizedNonceKey::new(&AES_256_GCM, &secret).ok()?;
        Some(Self { drawn, name, secret, cipher })
    }

    /// How long it has been in use; a clock that was set back counts as much as one that went on.
    pub(super) fn age(&self, now: u64) -> Duration {
        Duration::from_secs(now.abs_diff(self.drawn))
    }

    /// A ticket: name, nonce, sealed state and tag.
    pub(super) fn seal(&self, state: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = state.to_vec();
        let nonce = self.cipher.seal_in_place_append_tag(Aad::from(&self.name), &mut sealed).ok()?;
        Some([&self.name[..], nonce.as_ref(), &sealed].concat())
    }

    /// The state in a ticket that this key has sealed.
    pub(super) fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let ticket = ticket.strip_prefix(&self.name)?;
        let (nonce, sealed) = ticket.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let state = self.cipher.open_in_place(nonce, Aad::from(&self.name), &mut sealed).ok()?;
        let length = state.len();
        sealed.truncate(length);
        Some(sealed)
    }

    /// One line of the file: when, name, secret.
    pub(super) fn written(&self) -> String {
        format!("{} {} {}\n", self.drawn, hex(&self.name), hex(&self.secret))
    }

    /// The key of one line, without its end.
    pub(super) fn read(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let (drawn, name, secret) = (words.next()?.parse().ok()?, unhex(words.next()?)?, unhex(words.next()?)?);
        words.next().is_none().then(|| Self::new(drawn, name, secret))?
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(bytes)
}

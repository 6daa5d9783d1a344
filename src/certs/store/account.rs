//! The key of the account at the CA: made once, on disk before it is used, and never made again by mistake (B199).

use std::{error, fmt, io};

use super::{
    Store,
    names::{ACCOUNT, ACCOUNT_MADE},
};
use crate::{
    certs::record::{Reader, Writer},
    routes::storage::Storage,
};

const TITLE: &str = "hotcore-account 1";

/// An account at one CA.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// The URL of the CA's directory: the account is nobody's elsewhere.
    pub directory: String,
    /// The private key, PKCS#8 in DER.
    pub key: Vec<u8>,
    /// The account's own URL, once the CA has told it.
    pub url: Option<String>,
}

/// Without the key (B218).
impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("directory", &self.directory).field("url", &self.url).finish_non_exhaustive()
    }
}

/// Why there is no account to use. In each case nothing is ordered, and no new key is made.
#[derive(Debug)]
pub enum AccountError {
    /// The file cannot be read or written.
    Io(io::Error),
    /// The file is not as it was written.
    Damaged,
    /// There was an account, and its file is gone.
    Lost,
    /// It is an account of another CA, the one with this directory.
    OtherDirectory(String),
    /// There is an account with another key.
    Exists,
}

impl fmt::Display for AccountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(cause) => write!(f, "cannot read or write the key of the account: {cause}"),
            Self::Damaged => write!(
                f,
                "the file with the key of the account ({ACCOUNT}) is damaged: restore it, or remove it and {ACCOUNT_MADE} to \
                 begin a new account"
            ),
            Self::Lost => write!(
                f,
                "the file with the key of the account ({ACCOUNT}) is gone: restore it, or remove {ACCOUNT_MADE} to begin \
                 a new account"
            ),
            Self::OtherDirectory(directory) => write!(f, "the account in this folder is one of {directory}"),
            Self::Exists => write!(f, "there is an account already: it is never replaced"),
        }
    }
}

impl error::Error for AccountError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Io(cause) => Some(cause),
            _ => None,
        }
    }
}

impl<S: Storage> Store<S> {
    /// The account at the CA with this directory; `None`: there never was one in this folder, and one may be made.
    pub fn account(&self, directory: &str) -> Result<Option<Account>, AccountError> {
        let Some(bytes) = self.read(ACCOUNT).map_err(AccountError::Io)? else {
            let was_made = self.read(ACCOUNT_MADE).map_err(AccountError::Io)?.is_some();
            return if was_made { Err(AccountError::Lost) } else { Ok(None) };
        };
        let account = Account::read(&bytes).ok_or(AccountError::Damaged)?;
        if account.directory != directory {
            return Err(AccountError::OtherDirectory(account.directory));
        }
        Ok(Some(account))
    }

    /// Keeps a new account, or what has become known of it. When this returns well, a crash does not take it back: only then
    /// the key may be used.
    pub fn save_account(&mut self, account: &Account) -> Result<(), AccountError> {
        if self.account(&account.directory)?.is_some_and(|known| known.key != account.key) {
            return Err(AccountError::Exists);
        }
        self.replace(&[(ACCOUNT.to_owned(), Some(account.write().into_bytes()))]).map_err(AccountError::Io)?;
        if self.read(ACCOUNT_MADE).map_err(AccountError::Io)?.is_none() {
            // After the account itself is safe: the mark alone means that it was lost.
            self.replace(&[(ACCOUNT_MADE.to_owned(), Some(Vec::new()))]).map_err(AccountError::Io)?;
        }
        Ok(())
    }
}

impl Account {
    fn write(&self) -> String {
        let key: String = self.key.iter().map(|byte| format!("{byte:02x}")).collect();
        Writer::new(format_args!("{TITLE}"))
            .line("directory", &self.directory)
            .line("url", self.url.as_deref().unwrap_or(""))
            .line("key", key)
            .finish()
    }

    fn read(text: &[u8]) -> Option<Self> {
        let mut reader = Reader::open(text, format_args!("{TITLE}"))?;
        let directory = reader.text("directory")?.to_owned();
        let url = Some(reader.text("url")?.to_owned()).filter(|url| !url.is_empty());
        let digits = reader.text("key")?.as_bytes().chunks(2);
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?, 16).ok();
        let key = digits.map(byte).collect::<Option<Vec<_>>>()?;
        (reader.is_at_end() && !key.is_empty()).then_some(Self { directory, key, url })
    }
}

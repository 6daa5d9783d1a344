//! The account at the CA, as it is on disk: made once, durable before its first use, never made again by mistake (B199).

use std::fmt;

use crate::{
    certs::{
        issuer::AccountKey,
        store::{Account, AccountError, Store},
    },
    routes::storage::Storage,
};

/// Why there is no account to order with. Certificates serve all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The disk: it may get better by itself.
    Disk(String),
    /// A person has to look.
    Person(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Disk(why) | Self::Person(why)) = self;
        f.write_str(why)
    }
}

/// The account of this folder at the CA with this directory; made now if there never was one.
pub(super) fn find_or_make<S: Storage>(
    store: &mut Store<S>,
    directory: &str,
) -> Result<(Account, AccountKey), Trouble> {
    let trouble = |error: AccountError| match error {
        AccountError::Io(_) => Trouble::Disk(error.to_string()),
        _ => Trouble::Person(error.to_string()),
    };
    if let Some(account) = store.account(directory).map_err(trouble)? {
        let key = AccountKey::from_pkcs8(&account.key);
        return Ok((account, key.map_err(|error| Trouble::Person(format!("the key of the account: {error}")))?));
    }
    let key = AccountKey::generate().map_err(|_| Trouble::Person("no key for the account can be made".to_owned()))?;
    let account = Account { directory: directory.to_owned(), key: key.as_pkcs8().to_vec(), url: None };
    store.save_account(&account).map_err(trouble)?;
    Ok((account, key))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::routes::Disk;

    const DIRECTORY: &str = "https://ca.example/dir";

    fn open(folder: &std::path::Path) -> Store<Disk> {
        Store::open(folder).unwrap()
    }

    #[test]
    fn b199_an_account_is_made_once_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let (made, _) = find_or_make(&mut open(folder.path()), DIRECTORY).unwrap();
        let (found, key) = find_or_make(&mut open(folder.path()), DIRECTORY).unwrap();
        assert!(made == found && key.as_pkcs8() == made.key);
    }

    #[test]
    fn b199_a_damaged_or_lost_account_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        find_or_make(&mut open(folder.path()), DIRECTORY).unwrap();
        let file = folder.path().join("_account");
        let whole = fs::read(&file).unwrap();
        let mut damaged = whole.clone();
        damaged[40] ^= 1;
        fs::write(&file, &damaged).unwrap();
        let trouble = find_or_make(&mut open(folder.path()), DIRECTORY).map(drop).unwrap_err();
        assert!(matches!(&trouble, Trouble::Person(why) if why.contains("damaged")), "{trouble}");
        assert_eq!(fs::read(&file).unwrap(), damaged);
        fs::remove_file(&file).unwrap();
        let trouble = find_or_make(&mut open(folder.path()), DIRECTORY).map(drop).unwrap_err();
        assert!(matches!(&trouble, Trouble::Person(why) if why.contains("gone")), "{trouble}");
        assert!(!file.exists());
        fs::write(&file, whole).unwrap();
        assert!(find_or_make(&mut open(folder.path()), DIRECTORY).is_ok(), "put back by a person");
        let trouble = find_or_make(&mut open(folder.path()), "https://other.example/dir").map(drop).unwrap_err();
        assert!(matches!(trouble, Trouble::Person(_)));
    }

    #[test]
    fn a_key_that_cannot_be_made_durable_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("_account~")).unwrap();
        let trouble = find_or_make(&mut open(folder.path()), DIRECTORY).map(drop).unwrap_err();
        assert!(matches!(trouble, Trouble::Disk(_)), "{trouble}");
    }
}

//! Certificates of local names: the one place where they come from (B223), and how they are made off the loop.
//!
//! Never here: a decision about which name is next ([`LocalNames`](crate::certs::LocalNames) has it), a name that has no rule.

use std::{fmt, io, path::Path, pin::Pin};

use tokio::{runtime::Handle, select, sync::oneshot, task::spawn_blocking};

use crate::{
    certs::{
        local::Authority,
        mkcert::{Absent, Environment, Made, Mkcert, MkcertError},
        store::{Kept, Store},
    },
    domain::Domain,
};

/// What is under way, wherever it runs.
pub type Doing<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who knows where the CA of local names is: mkcert's environment, or a test's stand-in.
pub trait LocalIssuer: fmt::Debug + Send + Sync {
    /// As [`Mkcert::look`].
    fn look<'a>(&'a self, folder: &'a Path) -> Doing<'a, Result<Box<dyn LocalSigner>, Absent>>;
}

/// A CA of local names that can sign.
pub trait LocalSigner: Authority + fmt::Debug + Send + Sync {
    /// As [`Mkcert::certificate`].
    fn certificate<'a>(&'a self, domain: &'a Domain) -> Doing<'a, Result<Made, MkcertError>>;
}

impl LocalIssuer for Environment {
    fn look<'a>(&'a self, folder: &'a Path) -> Doing<'a, Result<Box<dyn LocalSigner>, Absent>> {
        Box::pin(async move {
            let found = Mkcert::look(self, folder).await?;
            Ok(Box::new(found) as Box<dyn LocalSigner>)
        })
    }
}

impl LocalSigner for Mkcert {
    fn certificate<'a>(&'a self, domain: &'a Domain) -> Doing<'a, Result<Made, MkcertError>> {
        Box::pin(self.certificate(domain))
    }
}

impl Authority for Box<dyn LocalSigner> {
    fn has_made(&self, certificate: &Kept) -> bool {
        (**self).has_made(certificate)
    }
}

/// Has a certificate made and keeps it (B172).
pub(super) async fn make(signer: &dyn LocalSigner, domain: &Domain, folder: &Path) -> Result<Made, MkcertError> {
    let made = signer.certificate(domain).await?;
    let mut store = Store::open(folder).map_err(MkcertError::Io)?;
    store.save(&made.certificate).map_err(MkcertError::Save)?;
    Ok(made)
}

/// Does this on a thread that may block, as looking into a person's home may. Cancel safe: dropped, it ends at its next pause, and
/// so does the program that it runs. The error says that it panicked.
pub(super) async fn aside<T: Send + 'static>(act: impl Future<Output = T> + Send + 'static) -> io::Result<T> {
    let (wanted, unwanted) = oneshot::channel::<()>();
    let runtime = Handle::current();
    let doing = spawn_blocking(move || {
        runtime.block_on(async {
            select! {
                result = act => Some(result),
                _ = unwanted => None,
            }
        })
    });
    let done = doing.await;
    drop(wanted);
    done.map_err(io::Error::other)?.ok_or_else(|| io::ErrorKind::Interrupted.into())
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_ends() {
        /// Says when it is dropped.
        struct Held(Option<oneshot::Sender<()>>);
        impl Drop for Held {
            fn drop(&mut self) {
                let _ = self.0.take().unwrap().send(());
            }
        }
        let (held, ended) = oneshot::channel();
        let (begun, begins) = oneshot::channel();
        let held = Held(Some(held));
        let doing = aside(async move {
            let _held = held;
            begun.send(()).unwrap();
            pending::<()>().await;
        });
        let doing = timeout(Duration::from_secs(60), async {
            select! {
                _ = doing => panic!("it never ends by itself"),
                _ = begins => {}
            }
        });
        doing.await.unwrap();
        timeout(Duration::from_secs(60), ended).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_bug_is_an_error_of_its_own_work_alone() {
        assert!(aside(async { panic!("a bug, made for this test") }).await.is_err());
        assert_eq!(aside(async { 7 }).await.unwrap(), 7);
    }
}

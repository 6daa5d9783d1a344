//! The claim to a state folder: its lock, or the promise of the process that has it (B198).

use std::{path::Path, thread, time::Instant};

use super::{
    ServiceError,
    handover::{AskError, New},
    sockets::Offered,
};
use crate::{
    limits,
    routes::{Lock, LockError},
};

/// By what right this process uses the state folder.
#[derive(Debug)]
pub enum Claim {
    /// Nobody else does.
    Alone(Lock),
    /// Another process does, and is about to hand it over.
    After(New),
}

impl Claim {
    /// Takes the lock, or asks who has it for the sockets, which are the second part of the answer. One that is just ending,
    /// or just starting, is waited for, [`limits::HANDOVER_REACH`] at most.
    pub fn make(folder: &Path) -> Result<(Self, Vec<Offered>), ServiceError> {
        let deadline = Instant::now() + limits::HANDOVER_REACH;
        loop {
            let process = match Lock::try_take(folder) {
                Ok(lock) => return Ok((Self::Alone(lock), Vec::new())),
                Err(LockError::Held { by, .. }) => by,
                Err(error) => return Err(ServiceError::Lock(error)),
            };
            match New::ask(folder) {
                Ok((new, offered)) => return Ok((Self::After(new), offered)),
                Err(AskError::Nobody(_)) if Instant::now() < deadline => thread::sleep(limits::LOCK_RETRY),
                Err(source) => return Err(ServiceError::Handover { process, source }),
            }
        }
    }

    /// Tells the process that would have handed over why it must go on.
    pub fn abandon(self, why: &ServiceError) {
        if let Self::After(new) = self {
            new.fail(&why.to_string());
        }
    }
}

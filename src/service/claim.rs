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
    /// Asks who serves on the folder for the sockets, which are the second part of the answer; takes the lock where nobody
    /// does. One that is just ending, or just starting, is waited for, [`limits::HANDOVER_REACH`] at most.
    ///
    /// The door comes before the lock: while a hand-over is under way the lock is free for a moment, and not for a third one.
    pub fn make(folder: &Path) -> Result<(Self, Vec<Offered>), ServiceError> {
        let deadline = Instant::now() + limits::HANDOVER_REACH;
        loop {
            let nobody = match New::connect(folder) {
                Ok(mut new) => match new.ask() {
                    Ok(offered) => return Ok((Self::After(new), offered)),
                    Err(nobody @ AskError::Nobody(_)) => nobody,
                    Err(source) => return Err(ServiceError::Handover { process: Some(new.process()), source }),
                },
                Err(nobody @ AskError::Nobody(_)) => nobody,
                Err(source) => return Err(ServiceError::Handover { process: None, source }),
            };
            match Lock::try_take(folder) {
                Ok(lock) => return Ok((Self::Alone(lock), Vec::new())),
                Err(LockError::Held { .. }) if Instant::now() < deadline => thread::sleep(limits::LOCK_RETRY),
                Err(LockError::Held { by, .. }) => {
                    return Err(ServiceError::Handover { process: by, source: nobody });
                }
                Err(error) => return Err(ServiceError::Lock(error)),
            }
        }
    }

    /// The same for one that was started to take over: the channel is there. If the old one has died before it answered, the folder
    /// is claimed as by any other; but not where a service manager starts it again.
    pub fn inherit(mut new: New, folder: &Path, is_managed: bool) -> Result<(Self, Vec<Offered>), ServiceError> {
        match new.ask() {
            Ok(offered) => Ok((Self::After(new), offered)),
            Err(AskError::Nobody(_)) if !is_managed => Self::make(folder),
            Err(source) => Err(ServiceError::Handover { process: Some(new.process()), source }),
        }
    }

    /// Tells the process that would have handed over why it must go on.
    pub fn abandon(self, why: &ServiceError) {
        if let Self::After(new) = self {
            new.fail(&why.to_string());
        }
    }
}

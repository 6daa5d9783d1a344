//! The signals of a service.

use std::{io, sync::Arc};

use nix::sys::signal::Signal;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};

/// A write beyond the file size limit becomes an error instead of the end of the process: a handler is in place from now on.
/// (SIGPIPE is ignored by Rust's runtime.)
pub(super) fn keep_file_limits_from_killing() -> io::Result<()> {
    signal(SignalKind::from_raw(Signal::SIGXFSZ as i32)).map(drop)
}

/// From the call on, SIGHUP does not end the process any more.
pub(super) fn keep_hang_up_from_killing() -> io::Result<()> {
    signal(SignalKind::hangup()).map(drop)
}

/// From the call on, SIGTERM and SIGINT are caught; the future resolves with the first of them. Each SIGHUP is passed on to
/// `hang_up`; several at once may become one.
pub(super) fn stop(hang_up: Arc<Notify>) -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_ups = signal(SignalKind::hangup())?;
    Ok(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
                _ = hang_ups.recv() => hang_up.notify_one(),
            }
        }
    })
}

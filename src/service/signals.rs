//! The signals of a service.

use std::io;

use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};

/// A write beyond the file size limit becomes an error instead of the end of the process: a handler is in place from now on.
/// (SIGPIPE is ignored by Rust's runtime.)
pub(super) fn keep_file_limits_from_killing() -> io::Result<()> {
    signal(SignalKind::from_raw(Signal::SIGXFSZ as i32)).map(drop)
}

/// From the call on, SIGTERM and SIGINT are caught; the future resolves with the first of them.
pub(super) fn stop() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
                _ = hang_up.recv() => {
                    tracing::info!(target: "hotcore::service", "SIGHUP means nothing yet: rules need no reload");
                }
            }
        }
    })
}

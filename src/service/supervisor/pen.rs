//! The pen: the right to read datagrams and to write rules, which one process has at any moment (B206).

use tokio::time::sleep;

use crate::{
    control::Server,
    limits,
    routes::journal::Recovery,
    service::{ServiceError, control_loop::ControlLoop, sockets::Sockets},
};

/// Who has the right to read datagrams and to write rules (B206).
#[derive(Debug)]
pub(super) enum Pen {
    /// This process: the control loop runs.
    Ours(ControlLoop),
    /// Another one, or about to be.
    Passed(Box<Server>),
    /// It failed, and its lock is not free yet.
    Awaited(Box<Server>),
    /// Between two of the others.
    Moving,
}

/// What happens to the pen by itself.
pub(super) enum Turn {
    /// The control loop has ended.
    Ended(Box<Result<Server, String>>),
    /// The lock may be free by now.
    Retry,
}

impl Pen {
    pub(super) async fn turn(&mut self) -> Turn {
        match self {
            Self::Ours(control) => Turn::Ended(Box::new(control.ended().await)),
            Self::Awaited(_) => {
                sleep(limits::LOCK_RETRY).await;
                Turn::Retry
            }
            Self::Passed(_) | Self::Moving => std::future::pending().await,
        }
    }
}

pub(super) fn start_control(server: Server, sockets: &Sockets) -> Result<ControlLoop, ServiceError> {
    let failed = |source| ServiceError::Start { what: "the control loop", source };
    let Sockets { control, .. } = sockets.try_clone().map_err(failed)?;
    ControlLoop::start(server, control).map_err(failed)
}

pub(super) fn report(recovery: &Recovery) {
    for note in &recovery.notes {
        tracing::info!(target: "hotcore::service", "{note}");
    }
    for problem in &recovery.problems {
        tracing::error!(target: "hotcore::service", "{problem}");
    }
}

//! `hotcore serve`: the edges of the process, in the one order in which they work. Environment, signals, limits and privileges
//! are touched here and nowhere else; what serves is the [`Supervisor`], which gets everything as values.

use std::{any::Any, env, io, io::IsTerminal as _, panic, sync::Arc};

use nix::{
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        stat::{Mode, umask},
    },
    unistd::{User, geteuid},
};
use tokio::{runtime::Builder, sync::Notify};
use tracing_subscriber::layer::SubscriberExt as _;

use super::{
    ServiceError, Settings, Start, Supervisor,
    claim::Claim,
    handover::{New, Successor},
    log::{Log, Place, Sinks},
    notify::{Notifier, Watchdog},
    privileges, signals,
    sockets::{Offered, Sockets, Wanted},
};
use crate::{certs::mkcert, limits, routes::Disk};

/// Serves until told to stop, or until another process has taken over and what was in flight is done. `channel` leads to the process
/// that has started this one to take over; `successor` is how this program is started again.
///
/// To be called by the first thread, while it is the only one.
pub fn run(settings: Settings, successor: Successor, channel: Option<New>) -> Result<(), ServiceError> {
    // Before anything else is opened: the numbers of the descriptors are what was announced.
    let offered = Offered::from_environment();
    umask(Mode::from_bits_truncate(0o077));
    let open_limits = bound_resources();
    let (wanted, disk) = match open(&settings) {
        Ok(opened) => opened,
        Err(error) => {
            if let Some(channel) = channel {
                channel.fail(&error.to_string());
            }
            return Err(error);
        }
    };
    let place = Place::choose(variable("JOURNAL_STREAM").as_deref(), &settings.state);
    let mut log = Log::new(Sinks::open(&place));
    let subscriber = tracing_subscriber::registry().with(log.layer(level()));
    // A process that has one already keeps it.
    let _ = tracing::subscriber::set_global_default(subscriber);
    log_panics();
    if let Err(error) = open_limits {
        tracing::warn!(target: "hotcore::service", %error, "cannot raise the limit of open files");
    }
    let result = serve(settings, successor, channel, disk, &wanted, offered, &place, &mut log);
    if let Err(error) = &result
        && matches!(place, Place::File(_))
        && !io::stderr().is_terminal()
    {
        // Under systemd, and on a terminal, the words of the command itself are seen.
        tracing::error!(target: "hotcore::service", "{error}");
    }
    log.flush(limits::LOG_FLUSH);
    result
}

fn open(settings: &Settings) -> Result<(Wanted, Disk), ServiceError> {
    let wanted = Wanted::from_settings(settings)?;
    let disk = Disk::open(&settings.state);
    Ok((wanted, disk.map_err(|source| ServiceError::State { path: settings.state.clone(), source })?))
}

#[expect(clippy::too_many_arguments, reason = "what the edges have gathered, named one by one")]
fn serve(
    settings: Settings,
    successor: Successor,
    channel: Option<New>,
    disk: Disk,
    wanted: &Wanted,
    mut offered: Vec<Offered>,
    place: &Place,
    log: &mut Log,
) -> Result<(), ServiceError> {
    let is_managed = variable("NOTIFY_SOCKET").is_some();
    let (claim, from_before) = match channel {
        Some(new) => Claim::inherit(new, &settings.state, is_managed)?,
        None => Claim::make(&settings.state)?,
    };
    offered.extend(from_before);
    let was_root = geteuid().is_root();
    let prepared = prepare(&settings, wanted, offered, log);
    let (sockets, runtime) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            claim.abandon(&error);
            return Err(error);
        }
    };
    let hang_up = Arc::new(Notify::new());
    let start = Start {
        successor: Some(with_surroundings(successor, &settings, was_root)),
        settings,
        disk,
        claim,
        sockets,
        notifier: Notifier::from_environment(),
        watchdog: Watchdog::from_environment(),
        mkcert: mkcert_environment(was_root),
        log: place.to_string(),
        is_managed,
        hang_up: Arc::clone(&hang_up),
        handover_wait: limits::HANDOVER_WAIT,
    };
    let stop =
        || signals::stop(hang_up).map_err(|source| ServiceError::Start { what: "the handling of signals", source });
    runtime.block_on(async { Supervisor::start(start)?.run(stop()?).await })
}

/// Sockets, then privileges, then the first thread: the log's.
fn prepare(
    settings: &Settings,
    wanted: &Wanted,
    offered: Vec<Offered>,
    log: &mut Log,
) -> Result<(Sockets, tokio::runtime::Runtime), ServiceError> {
    let (sockets, mut remarks) = Sockets::open(wanted, offered)?;
    remarks.extend(privileges::drop_all(&settings.state, settings.local)?);
    let failed = |what| move |source| ServiceError::Start { what, source };
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed("the runtime"))?;
    let entered = runtime.enter();
    signals::keep_file_limits_from_killing().map_err(failed("the handling of signals"))?;
    signals::keep_hang_up_from_killing().map_err(failed("the handling of signals"))?;
    drop(entered);
    log.start().map_err(failed("the log's thread"))?;
    for remark in remarks {
        tracing::info!(target: "hotcore::service", "{remark}");
    }
    Ok((sockets, runtime))
}

/// As many descriptors as allowed (two for each request, B154), and no core file: it would hold keys (B220).
fn bound_resources() -> io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(())
}

/// A panic is a bug: it is logged with its place, whichever thread it ends (B212). Who has found one can repeat it, so each time
/// gives the same line, which the log counts instead of writing it again (B219).
fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let what = text(info.payload());
        tracing::error!(target: "hotcore::panic", place, what, "a bug: please report this line");
    }));
}

fn text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("")
}

/// `HOTCORE_LOG`: error, warn, info (the default), debug or trace.
fn level() -> tracing::Level {
    variable("HOTCORE_LOG").and_then(|text| text.parse().ok()).unwrap_or(tracing::Level::INFO)
}

/// What mkcert is given; to be read once the process is whom it stays.
fn mkcert_environment(was_root: bool) -> mkcert::Environment {
    #[expect(clippy::disallowed_methods, reason = "the edge where the service reads the environment")]
    let mut environment = mkcert::Environment::new(|name| env::var_os(name), geteuid().as_raw());
    if was_root && !geteuid().is_root() {
        // These were root's.
        environment.home = User::from_uid(geteuid()).ok().flatten().map(|user| user.dir.into_os_string());
        environment.data_home = None;
    }
    environment
}

/// The folder is named, as the user who starts the next generation may be another one than started this: then its home is told, too.
fn with_surroundings(mut successor: Successor, settings: &Settings, was_root: bool) -> Successor {
    successor.variables.push(("HOTCORE_STATE".into(), Some(settings.state.clone().into())));
    if was_root && !geteuid().is_root() {
        let home = User::from_uid(geteuid()).ok().flatten().map(|user| user.dir.into_os_string());
        successor.variables.extend([("HOME".into(), home), ("XDG_DATA_HOME".into(), None)]);
    }
    successor
}

#[expect(clippy::disallowed_methods, reason = "the edge where the service reads the environment")]
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// B219: a stranger who has found a bug cannot fill the log with it.
    #[test]
    fn a_bug_met_again_is_the_same_line_again() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::File(folder.path().join("x.log"));
        let mut log = Log::new(Sinks::open(&place));
        let layer = log.layer(tracing::Level::INFO);
        // Other tests may panic meanwhile: that is heard by their threads.
        let before = panic::take_hook();
        log_panics();
        let met = thread::Builder::new().spawn(move || {
            let subscriber = tracing_subscriber::registry().with(layer);
            tracing::subscriber::with_default(subscriber, || {
                for _ in 0..100 {
                    panic::catch_unwind(|| panic!("a bug, made for this test")).unwrap_err();
                }
            });
        });
        met.unwrap().join().unwrap();
        panic::set_hook(before);
        log.flush(limits::LOG_FLUSH);
        let text = std::fs::read_to_string(folder.path().join("x.log")).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].contains("src/service/run.rs") && lines[0].contains("a bug, made for this test"), "{text}");
        assert!(lines[1].ends_with("(again, 99 times)"), "{text}");
    }
}

//! The command `serve`: options and environment become settings, then the service takes over.

use std::{
    env,
    ffi::OsString,
    net::SocketAddr,
    path::{self, Path, PathBuf},
};

use super::{arguments::Serve, failure::Failure};
use crate::service::{self, Settings};

/// Serves until told to stop.
pub(super) fn serve(typed: Serve, control: Vec<SocketAddr>) -> Result<(), Failure> {
    #[expect(clippy::disallowed_methods, reason = "the edge where the environment is read")]
    let settings = settings(typed, control, |name| env::var_os(name), nix::unistd::geteuid().is_root())?;
    service::run(settings).map_err(Failure::refused)
}

fn settings(
    typed: Serve,
    control: Vec<SocketAddr>,
    environment: impl Fn(&str) -> Option<OsString>,
    root: bool,
) -> Result<Settings, Failure> {
    let Serve { http, https, state, local, workers, access_log } = typed;
    if local && let Some(address) = http.iter().chain(&https).find(|address| !address.ip().is_loopback()) {
        let port = address.port();
        return Err(Failure::usage(format_args!("--local listens on loopback only, and {address} is not loopback"))
            .hint(format_args!("write 127.0.0.1:{port} or [::1]:{port}, or leave --local out")));
    }
    let state = match state {
        Some(state) => state,
        None => state_folder(environment, root)?,
    };
    // A successor is started from another working folder.
    let state = path::absolute(&state)
        .map_err(|cause| Failure::usage(format_args!("cannot use the state folder {}: {cause}", state.display())))?;
    Ok(Settings { http, https, control, state, local, workers, access_log })
}

/// Where the rules are kept unless told otherwise.
pub(super) fn state_folder(environment: impl Fn(&str) -> Option<OsString>, root: bool) -> Result<PathBuf, Failure> {
    let value = |name| environment(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // systemd.exec(5), StateDirectory=: one path or several, parted by colons.
    if let Some(folders) = environment("STATE_DIRECTORY")
        && let Some(first) = env::split_paths(&folders).find(|path| path.is_absolute())
    {
        return Ok(first);
    }
    if root {
        return Ok(PathBuf::from("/var/lib/hotcore"));
    }
    // XDG Base Directory Specification: a relative path there counts for nothing.
    let base = value("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let base = base.or_else(|| value("HOME").filter(|path| path.is_absolute()).map(|home| home.join(".local/state")));
    base.map(|base| base.join("hotcore")).ok_or_else(|| {
        Failure::usage("there is no folder for the rules: HOME is not set")
            .hint(format_args!("give one: hotcore serve --state {}", Path::new("/path/to/folder").display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(environment: &[(&str, &str)], root: bool) -> Option<String> {
        let find = |name: &str| environment.iter().find(|pair| pair.0 == name).map(|pair| OsString::from(pair.1));
        state_folder(find, root).ok().map(|path| path.display().to_string())
    }

    #[test]
    fn the_state_folder_is_where_the_system_expects_it() {
        let home = ("HOME", "/home/ann");
        let xdg = ("XDG_STATE_HOME", "/xdg");
        let systemd = ("STATE_DIRECTORY", "/var/lib/hotcore:/var/lib/other");
        for (environment, root, expected) in [
            (&[systemd, xdg, home][..], false, Some("/var/lib/hotcore")),
            (&[systemd][..], true, Some("/var/lib/hotcore")),
            (&[("STATE_DIRECTORY", ""), xdg, home], false, Some("/xdg/hotcore")),
            (&[xdg, home], true, Some("/var/lib/hotcore")),
            (&[xdg, home], false, Some("/xdg/hotcore")),
            (&[home], false, Some("/home/ann/.local/state/hotcore")),
            (&[("XDG_STATE_HOME", "relative"), home], false, Some("/home/ann/.local/state/hotcore")),
            (&[("XDG_STATE_HOME", ""), ("HOME", "")], false, None),
            (&[], false, None),
        ] {
            assert_eq!(folder(environment, root).as_deref(), expected, "{environment:?} {root}");
        }
    }

    fn typed(line: &str) -> Serve {
        use clap::Parser;

        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            serve: Serve,
        }
        Line::try_parse_from(line.split(' ')).unwrap().serve
    }

    #[test]
    fn options_become_settings() {
        let line = "serve --http 127.0.0.1:80 --https [::1]:443 --state there --local --workers 3 --access-log";
        let control = vec!["127.0.0.1:5".parse().unwrap()];
        let settings = settings(typed(line), control.clone(), |_| None, false).unwrap();
        assert!(settings.state.is_absolute() && settings.state.ends_with("there"));
        let expected = Settings {
            http: vec!["127.0.0.1:80".parse().unwrap()],
            https: vec!["[::1]:443".parse().unwrap()],
            control,
            state: settings.state.clone(),
            local: true,
            workers: Some(3),
            access_log: true,
        };
        assert_eq!(settings, expected);
    }

    /// B222.
    #[test]
    fn local_is_loopback_only() {
        for line in ["serve --local --http 0.0.0.0:80", "serve --local --https [::]:443"] {
            assert!(settings(typed(line), Vec::new(), |_| None, true).is_err(), "{line}");
        }
    }
}

//! The command `serve`: options and environment become settings, then the service takes over.

use std::{
    env,
    ffi::OsString,
    fs::File,
    io::{self, Read as _},
    net::SocketAddr,
    path::{self, Path, PathBuf},
};

use super::{arguments::Serve, failure::Failure};
use crate::{
    limits::{CA_ROOT_BYTES_MAX, RELOAD_WAIT},
    service::{
        self, Authority, AuthorityError, Settings,
        handover::{self, New, Role, Successor},
    },
};

/// Serves until told to stop; or takes its part in a hand-over.
pub(super) fn serve(typed: Serve, control: Vec<SocketAddr>) -> Result<(), Failure> {
    #[expect(clippy::disallowed_methods, reason = "the edge where the environment is read")]
    let variable = |name: &str| env::var_os(name);
    let is_root = nix::unistd::geteuid().is_root();
    if let Some(process) = typed.hand_over {
        let folder = folder(typed.state, variable, is_root)?;
        return handover::reload(&folder, process, RELOAD_WAIT).map_err(Failure::refused);
    }
    let role = Role::from_variable(variable(handover::successor::VARIABLE).as_deref()).map_err(Failure::usage)?;
    let successor = Successor::of_this_process(env::args_os())
        .map_err(|cause| Failure::refused(format_args!("cannot find the file of this program: {cause}")))?;
    let channel = match role {
        None => None,
        Some(Role::Start) => {
            return handover::successor::start_new(&successor).map_err(Failure::refused);
        }
        Some(Role::Take) => Some(New::from_stdin().map_err(Failure::refused)?),
    };
    match settings(typed, control, variable, is_root) {
        Ok(settings) => service::run(settings, successor, channel).map_err(Failure::refused),
        Err(failure) => {
            if let Some(channel) = channel {
                channel.fail(&failure.summary());
            }
            Err(failure)
        }
    }
}

fn settings(
    typed: Serve,
    control: Vec<SocketAddr>,
    environment: impl Fn(&str) -> Option<OsString>,
    root: bool,
) -> Result<Settings, Failure> {
    let Serve { http, https, state, local, acme_directory, acme_root, acme_contact, workers, access_log, hand_over: _ } =
        typed;
    if local && let Some(address) = http.iter().chain(&https).find(|address| !address.ip().is_loopback()) {
        let port = address.port();
        return Err(Failure::usage(format_args!("--local listens on loopback only, and {address} is not loopback"))
            .hint(format_args!("write 127.0.0.1:{port} or [::1]:{port}, or leave --local out")));
    }
    let authority = if local { None } else { Some(authority(acme_directory, acme_root.as_deref(), acme_contact)?) };
    let state = folder(state, environment, root)?;
    Ok(Settings { http, https, control, state, local, authority, workers, access_log })
}

/// The state folder, as it is called from anywhere.
fn folder(
    typed: Option<PathBuf>,
    environment: impl Fn(&str) -> Option<OsString>,
    root: bool,
) -> Result<PathBuf, Failure> {
    let state = match typed {
        Some(state) => state,
        None => state_folder(environment, root)?,
    };
    path::absolute(&state)
        .map_err(|cause| Failure::usage(format_args!("cannot use the state folder {}: {cause}", state.display())))
}

/// Who is asked for certificates. What is wrong here would show only with the first order, so it is refused at the start.
fn authority(directory: Option<String>, root: Option<&Path>, contact: Option<String>) -> Result<Authority, Failure> {
    let default = Authority::default();
    let pem = root.map(|path| read_root(path).map_err(|cause| unreadable_root(path, &cause))).transpose()?;
    let authority = Authority { directory: directory.unwrap_or(default.directory), root: pem, contact };
    authority.check().map_err(|error| match &error {
        AuthorityError::Directory(_) => Failure::usage(format_args!("--acme-directory: {error}"))
            .hint("write it like https://ca.example/directory, or leave it out for Let's Encrypt"),
        AuthorityError::Root(_) => {
            let path = root.unwrap_or_else(|| Path::new("")).display();
            Failure::usage(format_args!("--acme-root {path}: {error}"))
                .hint("give the file with the root certificate of the server at --acme-directory")
        }
        AuthorityError::Contact(_) => Failure::usage(format_args!("--acme-contact: {error}"))
            .hint("write it like ann@a.com, or leave it out: no account needs one"),
        AuthorityError::Tls(_) => Failure::refused(&error),
    })?;
    Ok(authority)
}

/// The bytes of a small file: one that is too large, or has no end, is no file of certificates.
fn read_root(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(CA_ROOT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > CA_ROOT_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {CA_ROOT_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

fn unreadable_root(path: &Path, cause: &io::Error) -> Failure {
    Failure::usage(format_args!("--acme-root: cannot read {}: {cause}", path.display()))
        .hint("give the file with the root certificate of the server at --acme-directory, or leave it out")
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
            authority: None,
            workers: Some(3),
            access_log: true,
        };
        assert_eq!(settings, expected);
    }

    fn authority_of(line: &str) -> Result<Option<Authority>, String> {
        let (mut output, streams) = crate::cli::output::Output::captured(false);
        settings(typed(line), Vec::new(), |_| None, true).map(|settings| settings.authority).map_err(|failure| {
            failure.report(&mut output);
            streams.talk()
        })
    }

    #[test]
    fn lets_encrypt_signs_unless_told_otherwise() {
        let production = "https://acme-v02.api.letsencrypt.org/directory";
        assert_eq!(authority_of("serve").unwrap().unwrap().directory, production);
        let told = authority_of("serve --acme-directory https://ca.example/dir --acme-contact ann@a.com").unwrap();
        let expected =
            Authority { directory: "https://ca.example/dir".into(), root: None, contact: Some("ann@a.com".into()) };
        assert_eq!(told, Some(expected));
    }

    /// B222.
    #[test]
    fn local_asks_no_authority() {
        assert_eq!(authority_of("serve --local"), Ok(None));
        assert_eq!(authority_of("serve --local --acme-directory https://ca.example/dir"), Ok(None));
    }

    #[test]
    fn a_wrong_authority_is_refused_with_the_option_and_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path.display().to_string()
        };
        let missing = folder.path().join("missing").display().to_string();
        let limit = usize::try_from(CA_ROOT_BYTES_MAX).unwrap();
        for (words, expected) in [
            ("--acme-directory http://ca.example", ["--acme-directory", "http://ca.example", "https://ca.example/"]),
            ("--acme-directory ca.example", ["--acme-directory", "\"ca.example\"", "https://ca.example/"]),
            ("--acme-contact ann", ["--acme-contact", "\"ann\" is not a mail address", "ann@a.com"]),
            (&format!("--acme-root {missing}"), ["--acme-root", &missing, "give the file"]),
            (&format!("--acme-root {}", file("empty", b"")), ["--acme-root", "empty", "give the file"]),
            (&format!("--acme-root {}", file("words", b"no PEM")), ["--acme-root", "words", "give the file"]),
            (
                &format!("--acme-root {}", file("at", &vec![b' '; limit])),
                ["--acme-root", "at", "no certificate in PEM"],
            ),
            (&format!("--acme-root {}", file("past", &vec![b' '; limit + 1])), ["--acme-root", "past", "more than"]),
            ("--acme-root /dev/zero", ["--acme-root", "/dev/zero", "more than"]),
        ] {
            let told = authority_of(&format!("serve {words}")).unwrap_err();
            assert!(expected.iter().all(|part| told.contains(part)), "{words}: {told}");
        }
    }

    #[test]
    fn the_root_of_an_authority_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let root = rcgen::CertificateParams::new(vec!["ca.example".to_owned()]).unwrap().self_signed(&key).unwrap();
        let path = folder.path().join("root.pem");
        std::fs::write(&path, root.pem()).unwrap();
        let authority = authority_of(&format!("serve --acme-root {}", path.display())).unwrap().unwrap();
        assert_eq!(authority.root.unwrap(), root.pem().into_bytes());
    }

    /// B222.
    #[test]
    fn local_is_loopback_only() {
        for line in ["serve --local --http 0.0.0.0:80", "serve --local --https [::]:443"] {
            assert!(settings(typed(line), Vec::new(), |_| None, true).is_err(), "{line}");
        }
    }
}

//! What can be typed: the one definition behind the parser and the help.
//!
//! Never here: what a command does. Options of `serve` have their twins in the environment, read by the parser.

use std::{
    ffi::{OsStr, OsString},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::{Arg, Args, CommandFactory, FromArgMatches, Parser, Subcommand, builder::Resettable};

use super::failure::Failure;
use crate::{
    control::client::{Client, DEFAULT_ADDRESS},
    limits::{CONTROL_PORT, WORKERS_MAX},
};

/// The messages, for the help of the program. The daemon's own `help` tells those of the running version.
const MESSAGES: &str = "\
Messages you can send over the UDP port 40608 of 127.0.0.1 or [::1]
(or by hand, with the \"msg\" command):

  add <domain> <port>
      Map the domain to the port on this machine.
      Replies \"ok <domain> <port>\" when the rule is on disk and in use

  remove <domain>
      Remove the domain.
      Replies \"ok <domain> removed\" or \"ok <domain> was not mapped\"

  list
      Replies with sorted lines \"<domain> <port>\". If not all of them
      fit, the last line is \"more <domain>\"

  list after <domain>
      The next part of the list

  certs
      Replies with sorted lines \"<domain> <state> <until> <next> <reason>\"
      about certificates

  certs after <domain>
      The next part of them

  retry <domain>
      Try now to get the domain's certificate.
      Replies \"ok <domain> is tried now\"

  status
      Replies with lines \"<key> <value>\" about the daemon

  check
      Health check. Replies \"kcehc\"

  version
      Replies with the version number

  help
      Replies with the messages, one a line

What cannot be done is answered with \"error <reason>\". A reply has
1,024 bytes at most.

Exit codes: 0 done, 1 refused, 2 wrong command line, 3 daemon not reachable";

/// Routes HTTP and HTTPS by domain name to ports on the same machine. Run without a command to see the status.
#[derive(Debug, Parser)]
#[command(name = "hotcore", version, after_help = MESSAGES, disable_help_subcommand = true, max_term_width = 120)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) control: Control,
    /// Print the status as JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

impl Arguments {
    /// Reads a command line, and the environment for what it does not say. A variable that is set to nothing is as good as one
    /// that is not set: a unit or a container is told so to leave the default.
    #[expect(clippy::disallowed_methods, reason = "the edge where the environment is read")]
    pub(super) fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
        let without_empty = |arg: Arg| match arg.get_env() {
            Some(name) if is_empty(name) => arg.env(Resettable::Reset),
            _ => arg,
        };
        let command = Self::command().mut_args(without_empty);
        let command = command.mut_subcommands(|command| command.mut_args(without_empty));
        Self::from_arg_matches(&command.try_get_matches_from(words)?)
    }
}

/// Where the daemon is.
#[derive(Debug, Args)]
pub(super) struct Control {
    /// Where the daemon takes commands, on loopback [default: 127.0.0.1:40608]
    #[arg(
        long = "control",
        value_name = "ADDR",
        env = "HOTCORE_CONTROL",
        global = true,
        hide_env_values = true,
        value_delimiter = ',',
        value_parser = control_address
    )]
    pub(super) addresses: Vec<SocketAddr>,
}

impl Control {
    /// A client of the daemon: of the first address, where several are given.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        let address = self.addresses.first().copied().unwrap_or(DEFAULT_ADDRESS);
        if address.port() == 0 {
            return Err(Failure::usage(format_args!("{address} cannot be asked: port 0 is none"))
                .hint(format_args!("give the port that the daemon listens on, which is {CONTROL_PORT} unless set")));
        }
        Ok(Client::new(address))
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Add(Add),
    /// Remove a domain name; its certificate is kept
    #[command(override_usage = "hotcore remove <DOMAIN>")]
    Remove(Name),
    Cert(Cert),
    /// List the rules, sorted by name, and on a terminal their certificates
    List(Form),
    Msg(Words),
    /// Follow the log of the daemon
    Log,
    /// Show the status of the daemon; the same as no command
    Status(Form),
    /// Try now to get the certificate of a domain name
    #[command(override_usage = "hotcore retry <DOMAIN>")]
    Retry(Name),
    Check(Check),
    /// Print the version number
    Version(Form),
    /// Print the licence
    License,
    /// List the libraries in this program and their licences
    Credits(Form),
    /// Print this help, or that of a command
    Help {
        /// The command
        command: Option<String>,
    },
    Serve(Serve),
    Install(Install),
}

/// Data for people, or for programs.
#[derive(Debug, Args)]
pub(super) struct Form {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Map a domain name to a port on this machine
#[derive(Debug, Args)]
#[command(override_usage = "hotcore add <DOMAIN> <PORT>")]
pub(super) struct Add {
    /// The name, such as a.com or app.localhost
    pub(super) domain: Option<String>,
    /// The port that the app listens on, 1 to 65535
    #[arg(allow_negative_numbers = true)]
    pub(super) port: Option<String>,
    #[arg(hide = true)]
    pub(super) surplus: Vec<String>,
}

/// A domain name, for commands that take nothing else.
#[derive(Debug, Args)]
pub(super) struct Name {
    /// The name
    pub(super) domain: Option<String>,
    #[arg(hide = true)]
    pub(super) surplus: Vec<String>,
}

/// Install a certificate of your own for a domain, or take it away
///
/// Key and certificates are PEM, in one file or in two, as certbot's fullchain.pem and privkey.pem; `-` is standard input. hotcore
/// then asks no certificate authority for this name. Run it as root, or as the user that hotcore runs as. If hotcore is not running,
/// it takes effect at the next start.
#[derive(Debug, Args)]
#[command(override_usage = "hotcore cert <DOMAIN> <CHAIN.PEM> [KEY.PEM]\n       hotcore cert <DOMAIN> --remove")]
pub(super) struct Cert {
    /// The name; it need not be mapped yet
    pub(super) domain: Option<String>,
    /// The certificate, those that lead to a root, and the key, unless it is in a second file
    #[arg(value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// Take the domain's own certificate away
    #[arg(long)]
    pub(super) remove: bool,
    /// The folder for the rules [default: the one that the daemon uses]
    #[arg(long, value_name = "DIR", env = "HOTCORE_STATE", hide_env_values = true)]
    pub(super) state: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Ask whether the daemon answers, whether its certificates are well, or who has its ports
///
/// With --certs a line is printed for each domain whose certificate has ended or is not renewed, that waits for its first one, or
/// whose own certificate ends within 14 days; then the exit code is 1. With --ports the daemon is not asked: it is told which other
/// program has port 80 or 443, as far as this user may see it; then the exit code is 1 as well.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Look at the certificates
    #[arg(long)]
    pub(super) certs: bool,
    /// Look who has ports 80 and 443; as root, to see other users' programs
    #[arg(long, conflicts_with = "certs")]
    pub(super) ports: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Send a message to the daemon and print the reply
///
/// The words are joined by one blank each. A reply that begins with "error" goes to stderr, and the exit code is 1.
#[derive(Debug, Args)]
#[command(override_usage = "hotcore msg <MESSAGE>...")]
pub(super) struct Words {
    /// The message, such as: list after a.com
    #[arg(value_name = "MESSAGE", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(super) words: Vec<String>,
}

/// Route requests, until told to stop; meant for systemd, and for trying out
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Where plain HTTP is served; may be given several times, or comma-separated [default: port 80 of all addresses]
    #[arg(long, value_name = "ADDR", env = "HOTCORE_HTTP", hide_env_values = true, value_delimiter = ',', value_parser = address)]
    pub(super) http: Vec<SocketAddr>,
    /// Where HTTPS is served; likewise [default: port 443 of all addresses]
    #[arg(long, value_name = "ADDR", env = "HOTCORE_HTTPS", hide_env_values = true, value_delimiter = ',', value_parser = address)]
    pub(super) https: Vec<SocketAddr>,
    /// The folder for the rules [default: /var/lib/hotcore for root, else ~/.local/state/hotcore]
    #[arg(long, value_name = "DIR", env = "HOTCORE_STATE", hide_env_values = true)]
    pub(super) state: Option<PathBuf>,
    /// For development: listen on loopback only, on 8080 where 80 is not allowed, and let nobody sign certificates
    #[arg(long, env = "HOTCORE_LOCAL", hide_env_values = true, value_parser = clap::builder::BoolishValueParser::new())]
    pub(super) local: bool,
    /// Who signs certificates: the directory of an ACME server [default: Let's Encrypt]
    #[arg(long, value_name = "URL", env = "HOTCORE_ACME_DIRECTORY", hide_env_values = true)]
    pub(super) acme_directory: Option<String>,
    /// Trust that server if one of the certificates in this file has signed its own [default: as browsers do]
    #[arg(long, value_name = "FILE", env = "HOTCORE_ACME_ROOT", hide_env_values = true)]
    pub(super) acme_root: Option<PathBuf>,
    /// Your mail address, for whoever signs certificates
    #[arg(long, value_name = "MAIL", env = "HOTCORE_ACME_CONTACT", hide_env_values = true)]
    pub(super) acme_contact: Option<String>,
    /// Threads that route [default: one for each processor]
    #[arg(long, value_name = "N", env = "HOTCORE_WORKERS", hide_env_values = true, value_parser = workers)]
    pub(super) workers: Option<usize>,
    /// Log each request
    #[arg(long, env = "HOTCORE_ACCESS_LOG", hide_env_values = true, value_parser = clap::builder::BoolishValueParser::new())]
    pub(super) access_log: bool,
    /// Serve nothing: have the process with this number start its successor (a reload), and wait until that serves
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) hand_over: Option<u32>,
}

/// Make this program a service of the machine, and start it; needs root
///
/// The program goes to /opt/hotcore/bin, its user is hotcore, its rules are in /var/lib/hotcore. systemd starts it, now, at boot and after a
/// crash; a firewall (ufw, firewalld) is opened for ports 80 and 443. Run it again to continue, or with another version of the program to
/// upgrade: what is so already stays as it is. With apt or dnf use the packages instead.
#[derive(Debug, Args)]
pub(super) struct Install {
    /// For development: a service of your own, on this machine's loopback alone; run it by sudo, as yourself
    #[arg(long, conflicts_with = "remove")]
    pub(super) local: bool,
    /// Undo it; rules, certificates and keys are kept
    #[arg(long)]
    pub(super) remove: bool,
    /// Show what would be done, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// Reads an address to listen on, or says how to write it.
fn address(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Err(format!("the port is missing: write {}", SocketAddr::new(address, 8080)));
    }
    match text.rsplit_once(':').map_or((text, text), |(host, port)| (host, port)) {
        (host, port) if port.parse::<u16>().is_ok() => Err(match host {
            "localhost" => format!("give the address as a number: 127.0.0.1:{port} or [::1]:{port}"),
            "*" => format!("write [::]:{port} to listen on all addresses"),
            host if host.contains(|letter: char| letter.is_alphabetic()) && !host.contains(':') => {
                format!("give the address as a number, not as a name: 127.0.0.1:{port} or [::]:{port}")
            }
            _ => format!("write 127.0.0.1:{port} for this machine alone, or [::]:{port} for all addresses"),
        }),
        _ => Err("write an address and a port, such as 127.0.0.1:8080 or [::1]:8080".to_owned()),
    }
}

/// The same for commands, which are taken from this machine alone.
fn control_address(text: &str) -> Result<SocketAddr, String> {
    let address = address(text)?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(format!("commands are taken from this machine alone: write 127.0.0.1:{}", address.port()))
    }
}

fn workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=WORKERS_MAX).contains(&number) => Ok(number),
        _ => Err(format!("give a number from 1 to {WORKERS_MAX}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_help_names_the_port_of_the_protocol_and_its_reply_limit() {
        assert!(MESSAGES.contains(&format!("UDP port {CONTROL_PORT} ")));
        assert_eq!(crate::limits::REPLY_BYTES_MAX, 1024);
        assert!(MESSAGES.contains("1,024 bytes"));
    }

    #[test]
    fn addresses_may_be_repeated_or_comma_separated() {
        for line in [
            "hotcore serve --http 127.0.0.1:1,[::1]:2 --control 127.0.0.1:3,[::1]:4",
            "hotcore serve --http 127.0.0.1:1 --http [::1]:2 --control 127.0.0.1:3 --control [::1]:4",
        ] {
            let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(arguments.control.addresses.iter().map(SocketAddr::port).collect::<Vec<_>>(), [3, 4]);
            let Some(Command::Serve(serve)) = arguments.command else { panic!("{line}") };
            assert_eq!(serve.http.iter().map(SocketAddr::port).collect::<Vec<_>>(), [1, 2]);
        }
    }

    #[test]
    fn the_client_asks_the_first_address() {
        let port = |line: &str| {
            let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
            arguments.control.client().map(|client| client.address().port()).ok()
        };
        assert_eq!(port("hotcore list --control 127.0.0.1:7,[::1]:8"), Some(7));
        assert_eq!(port("hotcore --control [::1]:8 list"), Some(8));
        assert_eq!(port("hotcore list --control 127.0.0.1:0"), None);
    }

    #[test]
    fn a_wrong_address_is_answered_with_the_right_one() {
        for (text, instead) in [
            ("8080", "127.0.0.1:8080"),
            (":8080", "127.0.0.1:8080"),
            ("localhost:8080", "127.0.0.1:8080"),
            ("example.com:8080", "127.0.0.1:8080"),
            ("*:8080", "[::]:8080"),
            ("127.0.0.1", "127.0.0.1:8080"),
            ("::1", "[::1]:8080"),
            ("[::1]", "[::1]:8080"),
            ("::1:x", "127.0.0.1:8080"),
            ("", "127.0.0.1:8080"),
        ] {
            let error = address(text).unwrap_err();
            assert!(error.contains(instead), "{text:?}: {error}");
        }
    }

    /// Invariant 6.
    #[test]
    fn commands_are_not_taken_from_elsewhere() {
        assert!(control_address("127.0.0.1:1").is_ok() && control_address("[::1]:1").is_ok());
        for text in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1"] {
            assert!(control_address(text).unwrap_err().contains("127.0.0.1:1"), "{text}");
        }
    }

    #[test]
    fn workers_are_counted_within_the_limit() {
        assert_eq!(workers("1"), Ok(1));
        assert_eq!(workers(&WORKERS_MAX.to_string()), Ok(WORKERS_MAX));
        for text in ["0", "-1", "two", &(WORKERS_MAX + 1).to_string()] {
            assert!(workers(text).is_err(), "{text}");
        }
    }
}

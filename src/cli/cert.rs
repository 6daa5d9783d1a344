//! The command `cert`: installs a certificate that a person has, or takes it away.
//!
//! It writes to the state folder itself: no private key ever goes over UDP, and the file system says who may do it. The daemon is
//! told afterwards. Nothing is written before all that was given has been looked at.

mod material;
mod place;
mod telling;

use std::time::SystemTime;

use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use self::{
    material::Material,
    place::{Daemon, Place},
    telling::Reaction,
};
use super::{
    arguments::Cert,
    failure::{Exit, Failure},
    output::{Escaped, Mark, Output},
    typed, unanswered,
};
use crate::{
    certs::own::{Given, Own, OwnError},
    control::client::Client,
    domain::Domain,
};

/// Installs it, or takes it away, and says what came of it.
pub(super) fn cert(typed: &Cert, client: Client, output: &mut Output) -> Result<(), Failure> {
    let domain = domain(typed)?;
    if typed.remove {
        return remove(&domain, typed, client, output);
    }
    let material = Material::read(&domain, &typed.files)?;
    let given = material.judge(&domain, now())?;
    let place = Place::find(typed.state.as_deref(), client)?;
    place.become_its_owner()?;
    Own::open(&place.folder).and_then(|mut own| own.install(&given)).map_err(|cause| failed(&cause, &place))?;
    let until = date(given.certificate.not_after);
    let reaction = match place.daemon {
        Daemon::Serves => telling::installed(client, &domain, &until),
        _ => Reaction::NotTold,
    };
    if typed.json {
        output.json(&json!({
            "domain": domain.as_str(),
            "installed": true,
            "not_before": date(given.certificate.not_before),
            "not_after": until,
            "warnings": given.warnings.iter().map(|warning| warning.text()).collect::<Vec<_>>(),
            "serving": matches!(reaction, Reaction::Serves),
        }));
    } else {
        output.data(format_args!("ok {domain} has its own certificate, valid until {until}"));
    }
    warn(&given, output);
    say(reaction, &place, &domain, client, "the certificate is installed", output)
}

/// One that is not there is no error (B227): the answer says so.
fn remove(domain: &Domain, typed: &Cert, client: Client, output: &mut Output) -> Result<(), Failure> {
    let place = Place::find(typed.state.as_deref(), client)?;
    place.become_its_owner()?;
    let was_there =
        Own::open(&place.folder).and_then(|mut own| own.remove(domain)).map_err(|cause| failed(&cause, &place))?;
    let reaction = match place.daemon {
        Daemon::Serves if was_there => telling::removed(client, domain),
        _ => Reaction::NotTold,
    };
    if typed.json {
        output.json(&json!({"domain": domain.as_str(), "removed": was_there}));
    } else if was_there {
        output.data(format_args!("ok {domain} has no certificate of its own any more"));
    } else {
        output.data(format_args!("ok {domain} had no certificate of its own"));
    }
    if was_there { say(reaction, &place, domain, client, "the certificate is gone", output) } else { Ok(()) }
}

/// Of the words, the domain; all words are looked at.
fn domain(typed: &Cert) -> Result<Domain, Failure> {
    let Some(word) = &typed.domain else {
        return Err(Failure::usage("cert needs a domain name and a file")
            .hint("type: hotcore cert a.com fullchain.pem privkey.pem"));
    };
    let domain = typed::name(word);
    let name = match &domain {
        Ok(name) => name.to_string(),
        Err(wrong) => wrong.instead.clone().unwrap_or_else(|| "<domain>".to_owned()),
    };
    let usage = |wrong: &str| {
        Err(Failure::usage(wrong)
            .hint(format_args!("to install one: hotcore cert {name} <chain.pem> [key.pem]"))
            .hint(format_args!("to take it away: hotcore cert {name} --remove")))
    };
    match (typed.files.len(), typed.remove) {
        (0, false) => usage("cert needs the file of the certificate"),
        (1.., true) => usage("--remove takes no file"),
        (3.., false) => {
            usage("cert takes two files at most: the certificates, and their key if it is in a file of its own")
        }
        _ => domain.map_err(|wrong| {
            Failure::refused(wrong.reason).hint(format_args!("type: hotcore cert {name} <chain.pem> [key.pem]"))
        }),
    }
}

fn warn(given: &Given, output: &mut Output) {
    for warning in &given.warnings {
        output.talk_marked(Mark::Bad, "warning:", warning.text());
    }
}

/// What is done is durable, so only a daemon that should have answered makes it a failure.
fn say(
    reaction: Reaction,
    place: &Place,
    domain: &Domain,
    client: Client,
    done: &str,
    output: &mut Output,
) -> Result<(), Failure> {
    match (reaction, &place.daemon) {
        (_, Daemon::Stopped) => output.talk("hotcore is not running: this takes effect at its next start"),
        (_, Daemon::Elsewhere(folder)) => output.talk(format_args!(
            "the hotcore that answers at {} uses another folder, {}, and was not told",
            client.address(),
            Escaped(folder)
        )),
        (_, Daemon::Unknown(cause)) => {
            return Err(Failure::new(Exit::NotReachable, format_args!("{done}, but {cause}"))
                .hint(format_args!("when it answers again: hotcore msg retry {domain}")));
        }
        (Reaction::Serves | Reaction::Noted | Reaction::NotTold, Daemon::Serves) => {}
        (Reaction::Slow, Daemon::Serves) => {
            output.talk("the daemon has not taken it up yet; see: hotcore msg certs");
        }
        (Reaction::NotMapped, Daemon::Serves) => {
            output.talk(format_args!("{domain} is not mapped: hotcore add {domain} <port>"));
        }
        (Reaction::Older, Daemon::Serves) => {
            output.talk("the daemon is of a version that looks at certificates at its start only");
            let daemon = client.ask("version").ok();
            if let Some(difference) = daemon.as_deref().and_then(unanswered::difference) {
                output.talk(difference);
            }
        }
        (Reaction::Refused(reason), Daemon::Serves) => {
            return Err(Failure::refused(format_args!("{done}, but the daemon says: {}", Escaped(&reason)))
                .hint(format_args!("try again: hotcore msg retry {domain}")));
        }
        (Reaction::Failed(cause), Daemon::Serves) => {
            return Err(Failure::new(Exit::NotReachable, format_args!("{done}, but {cause}"))
                .hint(format_args!("when it answers again: hotcore msg retry {domain}")));
        }
    }
    Ok(())
}

fn failed(cause: &OwnError, place: &Place) -> Failure {
    let failure = Failure::refused(Escaped(&cause.to_string()));
    if cause.is_of_rights() { failure.hint(place.who_may()) } else { failure }
}

/// Seconds since 1970.
fn now() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the edge where the clock is read")]
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// RFC 3339, UTC, as the daemon shows times.
fn date(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| "-".to_owned())
}

//! The command `install`: looks at the machine, shows the plan or carries it out, and sees that the service answers.

use std::{env, thread, time::Instant};

use super::{
    arguments::Install,
    daemon,
    failure::{Exit, Failure},
    output::{Escaped, Mark, Output},
    rules::FIRST_STEP,
    unanswered::VERSION,
};
use crate::{
    control::client::{Client, DEFAULT_ADDRESS},
    install::{self, Host, Need, Person, Step, Wanted},
    limits::{INSTALL_ANSWER_PAUSE, INSTALL_ANSWER_WAIT},
};

/// The width of the first column.
const WIDTH: usize = "already so".len();

/// Makes hotcore a service of this machine, or undoes it.
pub(super) fn install(typed: &Install, output: &mut Output) -> Result<(), Failure> {
    let wanted = wanted(typed)?;
    let mut host = Host::look();
    let needs_root = !host.is_root && typed.dry_run;
    // What root would do is what is asked.
    host.is_root |= typed.dry_run;
    let steps = install::plan(&host, &wanted).map_err(|refusal| {
        let failure = Failure::refused(&refusal);
        refusal.remedies().iter().fold(failure, Failure::hint).hint("nothing was changed")
    })?;
    if typed.dry_run {
        steps.iter().for_each(|step| show(step, "to do", output));
        output.talk("nothing was changed: this is the plan");
        if needs_root {
            output.talk("as root it looks closer, and carries it out: sudo hotcore install");
        }
        return Ok(());
    }
    for step in &steps {
        if step.need != Need::Due {
            show(step, "", output);
            continue;
        }
        let remark = step.carry_out().map_err(|failed| {
            let failure = Failure::refused(Escaped(&failed.to_string()));
            let failure = failed.remedy().into_iter().fold(failure, Failure::hint);
            failure.hint("put it right and run this again: it continues where it stopped")
        })?;
        show(step, "done", output);
        if let Some(remark) = remark {
            output.talk(format_args!("{:WIDTH$}  {}", "", Escaped(&remark)));
        }
        output.flush();
    }
    match &wanted {
        Wanted::Removal => {
            tell_what_stays(&host, output);
            Ok(())
        }
        Wanted::Server => {
            answers("ports 80 and 443 of all addresses", output)?;
            if host.firewall.is_none() {
                output.talk("is there a firewall before it? TCP 80 and 443 have to come in");
            }
            Ok(())
        }
        Wanted::Local(person) => {
            answers("ports 80 and 443 of 127.0.0.1 and [::1]", output)?;
            tell_of_mkcert(person, output);
            Ok(())
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the edge where the environment is read")]
fn wanted(typed: &Install) -> Result<Wanted, Failure> {
    if typed.remove {
        return Ok(Wanted::Removal);
    }
    if !typed.local {
        return Ok(Wanted::Server);
    }
    let person = Person::find(|name| env::var_os(name));
    person.map(Wanted::Local).map_err(|error| Failure::refused(&error).hint(error.remedy()))
}

fn show(step: &Step, due: &str, output: &mut Output) {
    let action = &step.action;
    match &step.need {
        Need::Due => output.data_marked(Mark::Good, format_args!("{due:WIDTH$}"), format_args!("  {action}")),
        Need::AlreadySo => output.data(format_args!("{:WIDTH$}  {action}", "already so")),
        Need::Left(why) => output.data(format_args!("{:WIDTH$}  {action}: {}", "left", Escaped(why))),
    }
}

/// Waits, for a bounded time, until the service answers; says where, and what comes next.
fn answers(ports: &str, output: &mut Output) -> Result<(), Failure> {
    let (client, deadline) = (Client::new(DEFAULT_ADDRESS), Instant::now() + INSTALL_ANSWER_WAIT);
    while !client.ask("check").is_ok_and(|reply| reply.trim_end() == "kcehc") {
        if Instant::now() >= deadline {
            let wrong = format!("installed, but it does not answer at {DEFAULT_ADDRESS}");
            return Err(Failure::new(Exit::NotReachable, wrong).hint("see why: hotcore log"));
        }
        thread::sleep(INSTALL_ANSWER_PAUSE);
    }
    output.data_marked(Mark::Good, format_args!("hotcore {VERSION} answers"), format_args!(" and listens on {ports}"));
    if daemon::report(client).is_ok_and(|report| report.value("rules") == Some("0")) {
        output.talk(FIRST_STEP);
    }
    output.talk("its log: hotcore log");
    Ok(())
}

fn tell_of_mkcert(person: &Person, output: &mut Output) {
    match &person.ca_root {
        Some(folder) => output.talk(format_args!("HTTPS by the CA of mkcert in {}", Escaped(folder))),
        None => output.talk(format_args!(
            "plain HTTP only, as {} has no CA of mkcert: install mkcert, run `mkcert -install`, then this again",
            Escaped(&person.user)
        )),
    }
}

fn tell_what_stays(host: &Host, output: &mut Output) {
    if host.has_state {
        output.talk(format_args!("kept: rules, certificates and keys; delete them by: sudo rm -r {}", install::STATE));
    }
    if host.user.is_some() && host.package.is_none() {
        output.talk("kept: the user hotcore, whose they are; delete it by: sudo userdel hotcore");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::{Action, Firewall};

    fn typed(local: bool, remove: bool) -> Install {
        Install { local, remove, dry_run: true }
    }

    #[test]
    fn a_dry_run_shows_a_plan_or_why_there_is_none() {
        let (mut output, streams) = Output::captured(false);
        // Whatever machine this is: the same look, and nothing is changed.
        match install(&typed(false, false), &mut output) {
            Ok(()) => {
                output.finish().unwrap();
                assert!(streams.data().contains("program /opt/hotcore/bin/hotcore"), "{}", streams.data());
                assert!(!streams.data().contains("done"), "{}", streams.data());
            }
            Err(failure) => {
                failure.report(&mut output);
                assert_eq!(failure.exit(), Exit::Refused);
            }
        }
        output.finish().unwrap();
        assert!(streams.talk().contains("nothing was changed"), "{}", streams.talk());
    }

    #[test]
    fn each_step_is_one_line() {
        let (mut output, streams) = Output::captured(false);
        let step = |need: Need| Step { action: Action::OpenFirewall(Firewall::Ufw), need };
        for need in [Need::Due, Need::AlreadySo, Need::Left("it is closed\n".to_owned())] {
            show(&step(need), "done", &mut output);
        }
        output.finish().unwrap();
        let lines: Vec<_> = streams.data().lines().map(str::to_owned).collect();
        assert_eq!(
            lines,
            [
                "done        ports 80 and 443 opened in ufw",
                "already so  ports 80 and 443 opened in ufw",
                "left        ports 80 and 443 opened in ufw: it is closed\\n",
            ]
        );
    }
}

//! The plan of an install. Pure: facts in, steps or a refusal out.

use super::{
    Wanted,
    host::{Folder, Host, Link, Program},
    layout,
    refusal::Refusal,
    step::{Action, Launch, Need, Owner, Runner, Step},
    units::{self, Unit},
};

/// The plan for `wanted`, which is no removal.
pub(super) fn plan(host: &Host, wanted: &Wanted) -> Result<Vec<Step>, Refusal> {
    let runner = match wanted {
        Wanted::Local(person) => Runner::Person(person),
        Wanted::Server | Wanted::Removal => Runner::Service,
    };
    refuse(host, runner)?;
    let mut steps = Vec::new();
    let owner = match runner {
        Runner::Service => {
            steps.push(Step::unless(host.user.is_some(), Action::User));
            Owner::Service
        }
        Runner::Person(_) => Owner::Root,
    };
    steps.push(folder(host, layout::HOME, host.home, owner));
    steps.push(folder(host, layout::BIN, host.bin, Owner::Root));
    steps.push(Step::unless(matches!(host.program, Program::Same { .. }), Action::Program));
    steps.push(capability(host));
    // What the administrator has closed since stays closed (systemd.md, 9).
    if let (Runner::Service, false, Some(firewall)) = (runner, host.is_installed(), host.firewall) {
        steps.push(Step::unless(false, Action::OpenFirewall(firewall)));
    }
    steps.push(link(host));
    let mut is_any_due = false;
    for unit in Unit::ALL {
        let text = unit.text(runner);
        let is_so = host.units.get(&unit) == Some(&text);
        is_any_due |= !is_so;
        steps.push(Step::unless(is_so, Action::Unit(unit, text)));
    }
    steps.push(Step::unless(!is_any_due && !host.needs_reading, Action::ReadUnits));
    // Before it is enabled: should this fail, the next run finds it undone.
    let launch = launch(host, runner);
    steps.push(Step::unless(launch.is_none(), Action::Launch(launch.unwrap_or(Launch::Start))));
    steps.push(Step::unless(host.is_enabled, Action::Enable));
    Ok(steps)
}

/// One look at everything that could go wrong, so that nothing is half done.
fn refuse(host: &Host, runner: Runner<'_>) -> Result<(), Refusal> {
    if let Some(package) = &host.package {
        return Err(Refusal::Packaged(package.clone()));
    }
    match host.systemd {
        None => return Err(Refusal::NoSystemd),
        Some(version) if !host.has_new_systemd() => return Err(Refusal::OldSystemd(version)),
        Some(_) => {}
    }
    if !host.is_root {
        return Err(Refusal::NotRoot);
    }
    if let Some((unit, _)) = host.units.iter().find(|(_, text)| !units::is_ours(text)) {
        return Err(Refusal::ForeignUnit(*unit));
    }
    let was_local = host.units.get(&Unit::Service).map(|text| units::is_local(text));
    match (was_local, runner) {
        (Some(true), Runner::Service) => return Err(Refusal::IsLocal),
        (Some(false), Runner::Person(_)) => return Err(Refusal::IsForEverybody),
        _ => {}
    }
    if let Some(seal) = &host.seal {
        return Err(Refusal::Sealed(seal.clone()));
    }
    for (path, folder) in [(layout::HOME, host.home), (layout::BIN, host.bin)] {
        if folder == Folder::Strange {
            return Err(Refusal::Strange(path));
        }
    }
    if matches!(runner, Runner::Service) && host.user.is_none() && !host.has_sysusers && !host.has_useradd {
        return Err(Refusal::NoMeansForUser);
    }
    if host.held.is_empty() { Ok(()) } else { Err(Refusal::Held(host.held.clone())) }
}

fn folder(host: &Host, path: &'static str, is: Folder, owner: Owner) -> Step {
    let wanted = match owner {
        Owner::Root => Some(0),
        Owner::Service => host.user,
    };
    let is_so = wanted.is_some_and(|user| is == Folder::Of(user));
    Step::unless(is_so, Action::Folder(path, owner))
}

/// systemd passes the ports in, so the service works without.
fn capability(host: &Host) -> Step {
    if host.program == (Program::Same { is_capable: true }) {
        Step::unless(true, Action::Capability)
    } else if host.has_setcap {
        Step::unless(false, Action::Capability)
    } else {
        Step::left(Action::Capability, "setcap is missing (package libcap2-bin, or libcap); the service works without")
    }
}

fn link(host: &Host) -> Step {
    match &host.link {
        Link::Ours => Step::unless(true, Action::Link),
        Link::Foreign(what) => {
            Step::left(Action::Link, format!("{what} is there, and not replaced; hotcore's own is {}", layout::PROGRAM))
        }
        Link::Absent if host.is_link_folder_sealed => {
            Step::left(Action::Link, format!("its folder is read-only; the program is {}", layout::PROGRAM))
        }
        Link::Absent => Step { action: Action::Link, need: Need::Due },
    }
}

/// What brings the installed program and units into effect with the least disturbance; `None`: they are.
fn launch(host: &Host, runner: Runner<'_>) -> Option<Launch> {
    let means_the_same =
        |unit: Unit| host.units.get(&unit).is_none_or(|text| units::means_the_same(text, &unit.text(runner)));
    let (service, sockets) =
        (means_the_same(Unit::Service), means_the_same(Unit::Web) && means_the_same(Unit::Control));
    // systemd starts no socket under a service that runs (systemd.md, 3).
    if (host.has_sockets && !sockets) || (host.running.is_some() && !host.has_sockets) {
        return Some(Launch::Reopen);
    }
    let Some(running) = host.running else { return Some(Launch::Start) };
    // What systemd has not read yet, the service does not run with.
    if !service || host.needs_reading {
        return Some(Launch::Restart);
    }
    let is_current = matches!(host.program, Program::Same { .. }) && running.is_installed_file;
    (!is_current).then_some(Launch::Reload)
}

#[cfg(test)]
pub(super) mod tests;

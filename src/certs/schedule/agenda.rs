//! Who is ready, and who becomes so when: sorted sets of places in the table of names.

use std::collections::BTreeSet;

use super::{Phase, Place, Schedule};

#[derive(Debug, Default)]
pub(super) struct Agenda {
    /// Class, rank, name.
    ready: BTreeSet<(u8, u64, usize)>,
    /// By the budget's clock.
    tries: BTreeSet<(u64, usize)>,
    /// By the wall clock.
    dues: BTreeSet<(u64, usize)>,
    looks: Times,
    windows: Times,
}

/// At most one time a name, by the budget's clock.
#[derive(Debug, Default)]
struct Times {
    sorted: BTreeSet<(u64, usize)>,
    of: Vec<Option<u64>>,
}

impl Times {
    fn set(&mut self, at: usize, time: Option<u64>) {
        if self.of.len() <= at {
            self.of.resize(at + 1, None);
        }
        if self.of[at] == time {
            return;
        }
        if let Some(before) = std::mem::replace(&mut self.of[at], time) {
            self.sorted.remove(&(before, at));
        }
        if let Some(time) = time {
            self.sorted.insert((time, at));
        }
    }

    fn first_until(&self, now: u64) -> Option<usize> {
        self.sorted.first().filter(|(time, _)| *time <= now).map(|(_, at)| *at)
    }
}

impl Agenda {
    pub(super) fn first_ready(&self) -> Option<(u8, usize)> {
        self.ready.first().map(|&(class, _, at)| (class, at))
    }

    /// How many come before this place.
    pub(super) fn position(&self, place: Place, at: usize) -> usize {
        match place {
            Place::Ready(class, rank) => self.ready.range(..(class, rank, at)).count(),
            Place::Nowhere | Place::Try(_) | Place::Due(_) => 0,
        }
    }

    /// Those that are ready, in their order.
    pub(super) fn queue(&self) -> impl Iterator<Item = usize> {
        self.ready.iter().map(|(_, _, at)| *at)
    }

    /// Those whose time has come.
    pub(super) fn due(&self, budget: u64, wall: u64) -> Vec<usize> {
        let tries = self.tries.range(..=(budget, usize::MAX)).map(|(_, at)| *at);
        tries.chain(self.dues.range(..=(wall, usize::MAX)).map(|(_, at)| *at)).collect()
    }

    pub(super) fn next_try(&self) -> Option<u64> {
        self.tries.first().map(|(time, _)| *time)
    }

    pub(super) fn next_due(&self) -> Option<u64> {
        self.dues.first().map(|(time, _)| *time)
    }

    pub(super) fn next_look(&self) -> Option<u64> {
        self.looks.sorted.first().map(|(time, _)| *time)
    }

    pub(super) fn next_window(&self) -> Option<u64> {
        self.windows.sorted.first().map(|(time, _)| *time)
    }

    pub(super) fn look_due(&self, now: u64) -> Option<usize> {
        self.looks.first_until(now)
    }

    pub(super) fn window_due(&self, now: u64) -> Option<usize> {
        self.windows.first_until(now)
    }

    pub(super) fn look(&mut self, at: usize, time: Option<u64>) {
        self.looks.set(at, time);
    }

    pub(super) fn window(&mut self, at: usize, time: Option<u64>) {
        self.windows.set(at, time);
    }

    fn replace(&mut self, at: usize, before: Place, after: Place) {
        match before {
            Place::Nowhere => {}
            Place::Ready(class, rank) => _ = self.ready.remove(&(class, rank, at)),
            Place::Try(time) => _ = self.tries.remove(&(time, at)),
            Place::Due(time) => _ = self.dues.remove(&(time, at)),
        }
        match after {
            Place::Nowhere => {}
            Place::Ready(class, rank) => _ = self.ready.insert((class, rank, at)),
            Place::Try(time) => _ = self.tries.insert((time, at)),
            Place::Due(time) => _ = self.dues.insert((time, at)),
        }
    }
}

impl Schedule {
    /// Puts a name where it belongs now; to be called after each change of it.
    pub(super) fn place(&mut self, at: usize) {
        let (budget, wall) = (self.clock.budget(), self.clock.wall());
        let entry = &mut self.entries[at];
        let is_wanted = entry.is_wanted();
        if std::mem::replace(&mut entry.is_counted, is_wanted) != is_wanted {
            self.wanted = if is_wanted { self.wanted + 1 } else { self.wanted - 1 };
        }
        let place = match entry.due(self.seed) {
            _ if !is_wanted || entry.phase != Phase::Idle || !self.clock.is_set() => Place::Nowhere,
            due if due > wall => Place::Due(due),
            _ if entry.earliest() > budget => Place::Try(entry.earliest()),
            // Its class is that of its arrival there, but for a name that someone begins to wait for.
            _ => entry.ready(wall),
        };
        if entry.place != place {
            let before = std::mem::replace(&mut entry.place, place);
            self.agenda.replace(at, before, place);
        }
        let entry = &self.entries[at];
        let looks = is_wanted && !entry.is_looking && entry.phase == Phase::Idle;
        self.agenda.look(at, entry.next_look.filter(|_| looks));
        let reads = is_wanted && entry.reads_for.is_none() && entry.held.is_some();
        self.agenda.window(at, entry.next_window.filter(|_| reads));
    }
}

//! The generations before this one that still drain: one channel to each, which ends when it does.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    os::unix::net::UnixStream,
};

use super::message::FromNew;
use crate::limits;

/// Channels to processes that drain. Each says nothing more, so anything but silence is its end.
#[derive(Debug, Default)]
pub struct Generations {
    /// The oldest first.
    draining: Vec<UnixStream>,
    /// Those that were told to end.
    ending: Vec<UnixStream>,
    /// The one that has told this process to serve, until it hears that it does.
    predecessor: Option<UnixStream>,
}

impl Generations {
    /// Those that drained before, the oldest first, and the one that has just handed over, if it still lives. All must be
    /// non-blocking.
    pub(super) fn new(draining: Vec<UnixStream>, predecessor: Option<UnixStream>) -> Self {
        Self { draining, ending: Vec::new(), predecessor }
    }

    /// Tells the one that has handed over that its successor serves. The oldest of those that now are too many is told to end.
    pub fn ready(&mut self) {
        if let Some(channel) = self.predecessor.take() {
            say(&channel, &FromNew::Ready);
            self.draining.push(channel);
        }
        self.prune();
        // This process is one of them.
        while self.draining.len() >= limits::GENERATIONS_MAX {
            let oldest = self.draining.remove(0);
            tracing::info!(target: "hotcore::service", "too many older processes drain: the oldest is told to end");
            say(&oldest, &FromNew::End);
            self.ending.push(oldest);
        }
    }

    /// Forgets those that have ended.
    pub fn prune(&mut self) {
        self.draining.retain(is_open);
        self.ending.retain(is_open);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.draining.len() + self.ending.len() + usize::from(self.predecessor.is_some())
    }

    /// Channels to those that drain and were not told to end, the oldest first.
    pub fn draining(&self) -> impl Iterator<Item = &UnixStream> {
        self.draining.iter()
    }
}

/// One that does not take the word is gone.
fn say(mut channel: &UnixStream, word: &FromNew) {
    let _ = channel.write_all(format!("{word}\n").as_bytes());
}

fn is_open(mut channel: &UnixStream) -> bool {
    matches!(channel.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use std::io::BufRead as _;

    use super::*;

    fn pairs(count: usize) -> (Vec<UnixStream>, Vec<UnixStream>) {
        let pair = || {
            let (ours, theirs) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            (ours, theirs)
        };
        (0..count).map(|_| pair()).unzip()
    }

    fn said(channel: &UnixStream) -> String {
        channel.set_nonblocking(true).unwrap();
        let mut line = String::new();
        let _ = std::io::BufReader::new(channel).read_line(&mut line);
        line
    }

    /// B207: a reload never waits for an older generation; the fifth of them ends the first.
    #[test]
    fn beyond_the_limit_the_oldest_is_told_to_end() {
        for before in 0..limits::GENERATIONS_MAX {
            let (mut ours, theirs) = pairs(before + 1);
            let predecessor = ours.pop();
            let mut generations = Generations::new(ours, predecessor);
            assert_eq!(generations.count(), before + 1);
            generations.ready();
            let said: Vec<_> = theirs.iter().map(said).collect();
            assert_eq!(said[before], "ready\n");
            // This one, its predecessor, and those before.
            let is_past = 2 + before > limits::GENERATIONS_MAX;
            assert_eq!(said.iter().filter(|word| *word == "end\n").count(), usize::from(is_past), "{said:?}");
            assert_eq!(said[0] == "end\n", is_past, "the oldest: {said:?}");
            assert_eq!(generations.draining().count(), (before + 1).min(limits::GENERATIONS_MAX - 1));
            assert_eq!(generations.count(), before + 1, "it counts until it has ended");
            drop(theirs);
            generations.prune();
            assert_eq!(generations.count(), 0);
        }
    }

    #[test]
    fn one_that_has_ended_meanwhile_is_not_in_the_way() {
        let (ours, mut theirs) = pairs(limits::GENERATIONS_MAX - 1);
        let (mut predecessor, its) = pairs(1);
        let mut generations = Generations::new(ours, predecessor.pop());
        drop(theirs.remove(1));
        generations.ready();
        assert_eq!(generations.draining().count(), limits::GENERATIONS_MAX - 1);
        assert!(theirs.iter().all(|channel| said(channel).is_empty()), "nobody is told to end");
        assert_eq!(said(&its[0]), "ready\n");
    }
}

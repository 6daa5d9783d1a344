//! The old one's side of a channel to a new one.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::fd::{AsFd as _, BorrowedFd},
    task::{Context, Poll, ready},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::{io::Interest, net::UnixStream, time::timeout};

use super::{
    generations::Generations,
    machine::Heard,
    message::{FromNew, FromOld, VERSION},
    successor::Starter,
};
use crate::{
    limits,
    service::sockets::{Kind, Sockets},
};

/// Who wants to take over, or wants something else of the running process.
#[derive(Debug)]
pub struct Peer {
    channel: Channel,
    process: u32,
    /// What starts it, where this process does; `None`: it came by itself.
    starter: Option<Starter>,
}

#[derive(Debug)]
struct Channel {
    stream: UnixStream,
    unread: Vec<u8>,
}

impl Peer {
    /// One that has come by itself; the kernel says which process it is.
    pub(super) fn from_door(stream: UnixStream, process: u32) -> Self {
        Self { channel: Channel { stream, unread: Vec::new() }, process, starter: None }
    }

    /// One that this process starts. It says itself which process it has become.
    pub(super) fn started(stream: UnixStream, starter: Starter) -> Self {
        Self { channel: Channel { stream, unread: Vec::new() }, process: 0, starter: Some(starter) }
    }

    /// Its process id; 0: not known yet.
    pub fn process(&self) -> u32 {
        self.process
    }

    /// Whether this process has started it.
    pub fn is_ours(&self) -> bool {
        self.starter.is_some()
    }

    /// The next line, or that there will be none. Nothing is lost if it is dropped half-way.
    pub async fn hear(&mut self) -> Heard {
        let Self { channel, process, starter } = self;
        let heard = tokio::select! {
            biased;
            heard = channel.line() => heard,
            how = failure(starter) => match channel.try_line() {
                // It has said itself what is wrong.
                Some(heard @ Heard::Word(_)) => heard,
                _ => Heard::Unstarted(how),
            },
        };
        match heard {
            // It ends after its channel has, if only a little.
            Heard::Gone if *process == 0 => {
                timeout(limits::STARTER_WAIT, failure(starter)).await.map_or(Heard::Gone, Heard::Unstarted)
            }
            Heard::Word(Some(FromNew::Ask { process: its, version })) if starter.is_some() => {
                // systemd is told this number.
                if version == VERSION && (its <= 1 || its == std::process::id()) {
                    return Heard::Word(None);
                }
                *process = its;
                heard
            }
            heard => heard,
        }
    }

    /// The same for one that came by itself, as a poll.
    pub(super) fn poll_hear(&mut self, context: &mut Context<'_>) -> Poll<Heard> {
        self.channel.poll_line(context)
    }

    /// Says a word. One that the other does not take is lost; that it is gone shows in [`Peer::hear`].
    pub fn say(&mut self, word: &FromOld) {
        let _ = self.channel.stream.try_write(format!("{word}\n").as_bytes());
    }

    /// Sends the listening sockets, and the channels to generations that drain, with what they are for.
    pub fn send(&mut self, sockets: &Sockets, generations: &Generations) -> io::Result<()> {
        let mut kinds = Vec::new();
        let mut fds: Vec<BorrowedFd<'_>> = Vec::new();
        for (kind, listeners) in [(Kind::Http, &sockets.http), (Kind::Https, &sockets.https)] {
            kinds.extend(listeners.iter().map(|_| kind));
            fds.extend(listeners.iter().map(|socket| socket.as_fd()));
        }
        kinds.extend(sockets.control.iter().map(|_| Kind::Control));
        fds.extend(sockets.control.iter().map(|socket| socket.as_fd()));
        let before = fds.len();
        fds.extend(generations.draining().map(|channel| channel.as_fd()));
        let line = format!("{}\n", FromOld::Sockets { kinds, draining: fds.len() - before });
        let mut room = [MaybeUninit::uninit(); super::new::RIGHTS_BYTES];
        let mut rights = SendAncillaryBuffer::new(&mut room);
        if !rights.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let stream = &self.channel.stream;
        let sent = stream.try_io(Interest::WRITABLE, || {
            Ok(sendmsg(stream, &[IoSlice::new(line.as_bytes())], &mut rights, SendFlags::NOSIGNAL)?)
        })?;
        if sent == line.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Resolves when it has ended, and with it what started it.
    pub async fn gone(&mut self) {
        while self.channel.line().await != Heard::Gone {}
        if let Some(starter) = &mut self.starter {
            starter.ended().await;
        }
    }

    /// Ends one that this process has started, if it lives still.
    pub async fn discard(&mut self) {
        if self.is_ours() && timeout(Duration::ZERO, self.gone()).await.is_err() {
            self.kill();
        }
    }

    /// Ends one that was told "no" and holds on. To be called only while it is not [gone](Self::gone): its number may be
    /// another's then.
    pub fn kill(&self) {
        if let Some(starter) = &self.starter {
            starter.kill();
        } else if let Ok(process) = i32::try_from(self.process)
            && process > 1
            && self.process != std::process::id()
        {
            let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
        }
    }
}

/// How the starter failed, if it does.
async fn failure(starter: &mut Option<Starter>) -> String {
    match starter {
        Some(starter) => starter.failure().await,
        None => std::future::pending().await,
    }
}

impl Channel {
    async fn line(&mut self) -> Heard {
        std::future::poll_fn(|context| self.poll_line(context)).await
    }

    fn poll_line(&mut self, context: &mut Context<'_>) -> Poll<Heard> {
        loop {
            if let Some(heard) = self.try_line() {
                return Poll::Ready(heard);
            }
            if ready!(self.stream.poll_read_ready(context)).is_err() {
                return Poll::Ready(Heard::Gone);
            }
        }
    }

    /// A line, or the end, if it is there.
    fn try_line(&mut self) -> Option<Heard> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                let text = line.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
                return Some(Heard::Word(text.and_then(FromNew::parse)));
            }
            if self.unread.len() >= limits::HANDOVER_LINE_BYTES_MAX {
                self.unread.clear();
                return Some(Heard::Word(None));
            }
            let mut room = [0; limits::HANDOVER_LINE_BYTES_MAX];
            match self.stream.try_read(&mut room) {
                Ok(0) => return Some(Heard::Gone),
                Ok(count) => self.unread.extend(room.iter().take(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(_) => return Some(Heard::Gone),
            }
        }
    }
}
